"""torch's own kernels (oneDNN, cuDNN, ATen) behind the door of `engine.kernel`.

One layer, one direction, forward in time: everything else (resets, reverse, stacks) is arranged around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.backends.cudnn.rnn import get_cudnn_mode
from torch.nn.utils.rnn import PackedSequence

from recurra.engine.block import AnyBatch, Block
from recurra.engine.dense_lstm import dense_lstm, has_dense_lstm, is_dense_enough
from recurra.engine.products import is_autocast, outruns_mkl
from recurra.errors import ShapeError
from recurra.ragged import Ragged

__all__ = ["TorchKernel"]


@dataclass
class TorchKernel:
    """One of torch's recurrent kernels with the weights of one layer and direction.

    Under autocast it computes in autocast's type and gives back the type of the state, as the reference engine does.

    Args:
        mode: which of torch's recurrences.
        find: gives the weights: weight_ih [G*H, I], weight_hh [G*H, H], with `bias` bias_ih and bias_hh [G*H], and
            weight_hr [P, H] where an LSTM projects; in torch's gate order. Asked when they are needed: at every call of
            a cell a kernel says whether it is the faster way, and mostly it is not.
        bias: whether the two biases are among the weights.
    """

    mode: Literal["rnn_tanh", "rnn_relu", "lstm", "gru"]
    find: Callable[[], Sequence[Tensor]]
    bias: bool
    _found: tuple[Tensor, ...] | None = field(default=None, init=False, repr=False, compare=False)

    takes_blocks: ClassVar[bool] = True

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """See `find`."""
        if self._found is None:  # no cached property: torch.compile cannot trace the lock of one
            self._found = tuple(self.find())
        return self._found

    @property
    def projects(self) -> bool:
        """Whether a projection weight_hr is among the weights."""
        return len(self.weights) % 2 == 1

    def supports(self, values: Tensor) -> bool:
        """Whether inputs of this type and on this device can be run: floating, of the type of the weights.

        Under `torch.func` transforms the answer is no: these kernels know no forward mode and no batching.
        """
        if torch._C._are_functorch_transforms_active() or not values.is_floating_point():
            return False
        if any(weight.device != values.device for weight in self.weights):
            return False
        return _autocast_type(values) is not None or all(weight.dtype == values.dtype for weight in self.weights)

    def has_dense(self, values: Tensor) -> bool:
        """Whether the fused LSTM over full blocks can run inputs of this type and on this device."""
        plain = self.mode == "lstm" and not self.projects
        return plain and has_dense_lstm(_autocast_type(values) or values.dtype, values.device)

    def prefers_dense(self, x: AnyBatch) -> bool:
        """Whether these sequences are best padded into one block for the fused LSTM."""
        return self.has_dense(x.values) and is_dense_enough(x.num_steps, x.max_length, x.batch_size)

    def is_fast(self, x: AnyBatch) -> bool:
        """Whether torch has a fused kernel here: cuDNN, or oneDNN's LSTM where there is not much padding.

        Elsewhere torch goes step by step; then the compiled engine is faster, in float32 even under autocast. So it is
        where its products are its own: in the mean of 80 shapes of 4 to 100 steps 1.3 times as fast as oneDNN, trained
        or not, and never slower by more than 2 %.
        """
        if x.values.device.type != "cpu":
            return True
        kind = _autocast_type(x.values) or x.values.dtype
        if self.mode != "lstm" or kind not in (torch.float16, torch.bfloat16, torch.float32):
            return False
        return (kind is torch.float16 or not outruns_mkl()) and self.prefers_dense(x)

    def run(self, x: Ragged | Block, state: Any) -> tuple[Tensor, Any]:
        """Run every sequence from its first step to its last.

        Shapes: x.values [N, I] without resets, or [T, B, I] of a Block, fields of state [B, ...] -> outputs [N, O] or
            [T, B, O], state after the last steps.
        """
        if x.num_steps == 0:
            return x.values.new_zeros(*x.values.shape[:-1], state[0].shape[1]), state
        kind = _autocast_type(x.values)
        if kind is None:
            for field in state:  # ATen's kernels read memory without asking
                if field.dtype != x.values.dtype or field.device != x.values.device:
                    raise ShapeError(
                        f"`state` must be {x.values.dtype} on {x.values.device} as the inputs are, "
                        f"got {field.dtype} on {field.device}."
                    )
            outputs, after = self._run(x, tuple(state))
            return outputs, type(state)(*after)
        lowered = TorchKernel(self.mode, lambda: [weight.to(kind) for weight in self.weights], self.bias)
        with torch.autocast(x.values.device.type, enabled=False):
            outputs, after = lowered._run(
                x.map(lambda values: values.to(kind)), tuple(field.to(kind) for field in state)
            )
        return outputs.to(state[0].dtype), type(state)(
            *(new.to(old.dtype) for new, old in zip(after, state, strict=True))
        )

    def _run(self, x: Ragged | Block, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        if isinstance(x, Block):
            # torch warns when a projection meets oneDNN, which it does in a full block only
            return self._run_projected(x, state) if self.projects else self._run_padded(x, state)
        if x.num_steps == x.batch_size * x.max_length and not self.projects:
            return self._run_even(x, state)
        if self.prefers_dense(x):
            h, c = state
            outputs, *last = dense_lstm(x, h, c, self.weights)
            return outputs, tuple(last)
        present = (x.lengths > 0).nonzero().flatten()
        if len(present) == x.batch_size:
            return self._run_packed(x, state)
        # torch cannot pack a sequence of no steps: its state is what came in
        longer = Ragged(x.values, torch.cat([x.offsets[:-1][present], x.offsets[-1:]]))
        outputs, fields = self._run_packed(longer, tuple(field.index_select(0, present) for field in state))
        return outputs, tuple(old.index_copy(0, present, new) for old, new in zip(state, fields, strict=True))

    def _run_projected(self, x: Block, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, fields = self._run(x.to_ragged(), state)
        return x.from_ragged(outputs), fields

    def _run_padded(self, x: Block, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        outputs, fields = self._call((x.turned(x.values),), state, batch_first=(False,))
        return x.turned(outputs), fields

    def _run_even(self, x: Ragged, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        block = x.values.reshape(x.batch_size, x.max_length, -1)
        outputs, fields = self._call((block,), state, batch_first=(True,))
        return outputs.reshape(x.num_steps, -1), fields

    def _run_packed(self, x: Ragged, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        packed = x.to_packed()
        order, rank = packed.sorted_indices, packed.unsorted_indices
        assert order is not None, "Ragged.to_packed sorts"
        assert rank is not None, "Ragged.to_packed sorts"
        begin = tuple(field.index_select(0, order) for field in state)
        data, fields = self._call((packed.data, packed.batch_sizes), begin)
        outputs = Ragged.from_packed(PackedSequence(data, packed.batch_sizes, order, rank)).values
        return outputs, tuple(field.index_select(0, rank) for field in fields)

    def _call(
        self, data: tuple[Tensor, ...], state: tuple[Tensor, ...], batch_first: tuple[bool, ...] = ()
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        layers = tuple(field[None].contiguous() for field in state)  # [1, B, H]: one layer
        begin = layers if self.mode == "lstm" else layers[0]
        # cuDNN keeps what its backward needs only when told so; `torch.jit.trace` looks twice, once without gradients
        train = torch.is_grad_enabled() or torch._C._get_tracing_state() is not None
        outputs, *fields = getattr(torch._VF, self.mode)(
            *data, begin, self._weights(), self.bias, 1, 0.0, train, False, *batch_first
        )
        return outputs, tuple(field[0] for field in fields)

    def _weights(self) -> list[Tensor]:
        """The weights, side by side in one stretch of memory where cuDNN would warn at every call if they were not."""
        if (
            self.weights[0].device.type != "cuda"
            or torch.compiler.is_compiling()
            or not (torch.backends.cudnn.enabled and torch._use_cudnn_rnn_flatten_weight())
        ):
            return list(self.weights)
        return list(_Flat.apply(self.mode, self.bias, *self.weights))


class _Flat(torch.autograd.Function):
    """Weights of one layer copied to where cuDNN wants them: in its own order, with its own gaps."""

    @staticmethod
    def forward(ctx: Any, mode: str, bias: bool, *weights: Tensor) -> tuple[Tensor, ...]:
        copies = [weight.detach().clone() for weight in weights]
        projected = weights[-1].shape[0] if len(weights) % 2 else 0
        count = (4 if bias else 2) + (1 if projected else 0)
        number = get_cudnn_mode(mode.upper())
        input_size, hidden_size = weights[0].shape[1], weights[-1].shape[1] if projected else weights[1].shape[1]
        torch._cudnn_rnn_flatten_weight(copies, count, input_size, number, hidden_size, projected, 1, False, False)
        return tuple(copies)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        return (None, None, *gradients)


def _autocast_type(values: Tensor) -> torch.dtype | None:
    """The type that autocast computes in on the device of these values; None where it is off or not for this type."""
    device = values.device.type
    if not is_autocast(device) or values.dtype == torch.float64:
        return None
    return torch.get_autocast_dtype(device)
