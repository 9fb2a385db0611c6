"""Functions of torch that are written in another way while a step is traced: torch's own look at values, or write into
what they have just made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Rewriting"]


class Rewriting(TorchFunctionMode):
    """A few functions of torch are written in another way here, `_REWRITTEN`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _REWRITTEN:
            return _REWRITTEN[func](*args, **kwargs)
        return func(*args, **kwargs)


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Classes compared with all numbers of one: torch looks for the largest and the smallest first."""
    if num_classes < 1:  # as many as there are is a look at the values
        return nn.functional.one_hot(tensor, num_classes)
    return (tensor[..., None] == torch.arange(num_classes, device=tensor.device)).to(torch.int64)


def _bilinear(left: Tensor, right: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    made = torch.einsum("...i,oij,...j->...o", left, weight, right)  # of products, which torch's call is not
    return made if bias is None else made + bias


# Torch's own cells write into what they have just made, and such a step is traced three times.


def _of_both(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    return nn.functional.linear(x, w_ih, b_ih), nn.functional.linear(h, w_hh, b_hh)


def _rnn_cell(activation: Callable[[Tensor], Tensor], x: Tensor, h: Tensor, *weights: Any, **named: Any) -> Tensor:
    of_x, of_h = _of_both(x, h, *weights, **named)
    return activation(of_x + of_h)


def _gru_cell(x: Tensor, h: Tensor, *weights: Any, **named: Any) -> Tensor:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (rows.chunk(3, -1) for rows in _of_both(x, h, *weights, **named))
    n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)
    return n + torch.sigmoid(x_z + h_z) * (h - n)


def _lstm_cell(x: Tensor, state: Sequence[Tensor], *weights: Any, **named: Any) -> tuple[Tensor, Tensor]:
    h, c = state
    of_x, of_h = _of_both(x, h, *weights, **named)
    i, f, g, o = (of_x + of_h).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


_REWRITTEN: dict[Any, Callable[..., Any]] = {
    nn.functional.one_hot: _one_hot,
    nn.functional.bilinear: _bilinear,
    torch.rnn_tanh_cell: functools.partial(_rnn_cell, torch.tanh),
    torch.rnn_relu_cell: functools.partial(_rnn_cell, torch.relu),
    torch.gru_cell: _gru_cell,
    torch.lstm_cell: _lstm_cell,
}
