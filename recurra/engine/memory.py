"""Whether the numbers of a tensor stand where machine code looks for them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["has_memory", "in_memory"]


def has_memory(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor stand in one memory, unlike those of sparse ones and of many of other classes."""
    return tensor.layout is torch.strided and type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__


def in_memory(tensor: Tensor) -> Tensor:
    """The tensor itself where its numbers stand in its memory, as they almost always do; else a copy.

    Of some views, the imaginary part of a conjugate say, torch keeps the sign apart; some zeros have no memory at all.
    """
    return tensor.clone() if tensor.is_neg() or tensor._is_zerotensor() else tensor
