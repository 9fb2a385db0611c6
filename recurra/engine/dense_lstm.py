"""A ragged batch through the fused LSTM of oneDNN, which knows full blocks [T, B, I] only.

The batch is padded, and one more input feature, 1 on padding and 0 elsewhere, closes the input gate (weight -HOLD) and
opens the forget gate (weight +HOLD) there. `sigmoid` of that is 0 and 1 exactly, and its slope is 0 exactly: c passes
the padding untouched, and so does its gradient. h does not pass, so the last h of each sequence is gathered at its own
last step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from recurra.ragged import Ragged, take_rows

__all__ = ["dense_lstm", "has_dense_lstm", "is_dense_enough"]

HOLD = 1e9  # beyond any sum of products, and far from overflow when multiplied by a gradient
FILL = 0.8  # below this share of real steps the padding costs more than oneDNN gains (Zen 4, torch 2.13, 2026-11)


def has_dense_lstm(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN computes an LSTM on tensors of this type and device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available() or not torch._C._get_mkldnn_enabled():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def is_dense_enough(num_steps: int, max_length: int, batch_size: int) -> bool:
    """Whether so few steps of the block would be padding that the dense kernel is the faster one."""
    return num_steps >= FILL * max_length * batch_size


def dense_lstm(x: Ragged, h: Tensor, c: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Run every sequence from its first step to its last.

    Shapes: x.values [N, I] with N > 0, h, c [B, H]; weights: weight_ih [4H, I], weight_hh [4H, H] and, or not, the two
        biases [4H], gates in the order i, f, g, o -> outputs [N, H], h, c after the last steps.
    """
    weight_ih, *others = weights
    # the padding is full of ones, but only the last column counts there
    block = x.replace(functional.pad(x.values, (0, 1))).to_padded(value=1.0)
    held = [torch.cat([weight_ih, _hold_column(weight_ih)], dim=1), *others]
    begin = (h[None].contiguous(), c[None].contiguous())
    y, _, last_c = torch._VF.lstm(block, begin, held, len(others) > 1, 1, 0.0, torch.is_grad_enabled(), False, False)
    y = y.flatten(0, 1)  # [T * B, H]
    sequences = torch.arange(x.batch_size, device=x.values.device)
    outputs = take_rows(y, x.position * x.batch_size + x.sequence_index)
    last_h = take_rows(y, (x.lengths - 1).clamp(min=0) * x.batch_size + sequences)
    return outputs, torch.where((x.lengths > 0)[:, None], last_h, h), last_c[0]


def _hold_column(weight_ih: Tensor) -> Tensor:
    """Weights [4H, 1] of the feature that marks padding."""
    column = weight_ih.new_zeros(4, len(weight_ih) // 4)
    column[0], column[1] = -HOLD, HOLD
    return column.reshape(-1, 1)
