"""Convolutions with a stride, as such with steps of one place.

With a stride of s the places of an image fall into s phases along each axis, those with the same remainder. A tap sees
one of them alone: so the phases become channels of a smaller image, which a smaller kernel goes over place by place.
Transposed, the phases of the result are channels of what is computed, and are put together in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.convolution import has_steps_of_one
from recurra.engine.taken_apart import padded

__all__ = ["convolution_in_phases"]

aten = torch.ops.aten

_Sizes = Sequence[int]


def convolution_in_phases(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: _Sizes,
    padding: _Sizes,
    dilation: _Sizes,
    transposed: bool,
    output_padding: _Sizes,
    groups: int,
) -> Any:
    """As `aten.convolution`; not for one that goes on place by place as it is."""
    if not transposed:
        if has_steps_of_one(stride, output_padding):
            return NotImplemented
        return _read_in_phases(x, _filled(weight, dilation), bias, stride, padding, groups)
    reaches = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    is_narrow = all(p <= reach for p, reach in zip(padding, reaches, strict=True))
    if has_steps_of_one(stride, output_padding) and is_narrow:
        return NotImplemented
    steps = zip(x.shape[2:], stride, padding, reaches, output_padding, strict=True)
    sizes = [(n - 1) * s - 2 * p + reach + 1 + more for n, s, p, reach, more in steps]
    made = _written_in_phases(x, _filled(weight, dilation), stride, padding, sizes, groups)
    return made if bias is None else made + bias.reshape(-1, *[1] * len(stride))


def _filled(weight: Tensor, dilation: _Sizes) -> Tensor:
    """A kernel with zeros between its taps in place of a dilation."""
    for axis, each in enumerate(dilation, 2):
        size = weight.shape[axis]
        taps = aten.constant_pad_nd(weight.unsqueeze(axis + 1), [0, 0] * (weight.dim() - axis - 1) + [0, each - 1])
        weight = taps.flatten(axis, axis + 1).narrow(axis, 0, each * (size - 1) + 1)
    return weight


def _phases(x: Tensor, stride: _Sizes, seen: _Sizes) -> Tensor:
    """[B, C, n s, ..] as [B, C s .., n, ..], of those phases alone that a kernel sees: the first ones."""
    axes = range(len(stride))
    for a in axes:
        axis = 2 + 2 * a
        x = x.unflatten(axis, (x.shape[axis] // stride[a], stride[a])).narrow(axis + 1, 0, seen[a])
    sizes = x.shape[2::2]
    apart = x.permute(0, 1, *(3 + 2 * a for a in axes), *(2 + 2 * a for a in axes))
    return apart.reshape(x.shape[0], -1, *sizes)


def _joined(x: Tensor, stride: _Sizes, seen: _Sizes) -> Tensor:
    """What `_phases` took apart; phases that no kernel sees are zeros."""
    rank = len(stride)
    apart = x.reshape(x.shape[0], -1, *seen, *x.shape[2:])
    apart = apart.permute(0, 1, *(axis for a in range(rank) for axis in (2 + rank + a, 2 + a)))
    pads = [pad for s, some in zip(reversed(stride), reversed(seen), strict=True) for pad in (0, s - some, 0, 0)]
    sizes = (n * s for n, s in zip(x.shape[2:], stride, strict=True))
    return aten.constant_pad_nd(apart, pads).reshape(*apart.shape[:2], *sizes)


def _of_kernel(weight: Tensor, stride: _Sizes) -> tuple[Tensor, list[int], list[int]]:
    """The phases of a kernel, how many of them there are along each axis, and its taps in each."""
    pairs = list(zip(weight.shape[2:], stride, strict=True))
    seen, taps = [min(k, s) for k, s in pairs], [-(-k // s) for k, s in pairs]
    whole = padded(weight, [0 for _ in pairs], [some * tap for some, tap in zip(seen, taps, strict=True)])
    return _phases(whole, seen, seen), seen, taps


def _read_in_phases(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: _Sizes, padding: _Sizes, groups: int
) -> Tensor:
    steps = zip(x.shape[2:], weight.shape[2:], stride, padding, strict=True)
    results = [(n + 2 * p - k) // s + 1 for n, k, s, p in steps]
    weight, seen, taps = _of_kernel(weight, stride)
    images = padded(x, padding, [s * (r + tap - 1) for s, r, tap in zip(stride, results, taps, strict=True)])
    return _plain(_phases(images, stride, seen), weight, bias, len(stride), False, groups)


def _written_in_phases(
    x: Tensor, weight: Tensor, stride: _Sizes, padding: _Sizes, sizes: _Sizes, groups: int
) -> Tensor:
    weight, seen, _ = _of_kernel(weight, stride)
    made = _plain(x, weight, None, len(stride), True, groups)
    return padded(_joined(made, stride, seen), [-each for each in padding], sizes)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, axes: int, transposed: bool, groups: int) -> Tensor:
    once, none = [1] * axes, [0] * axes
    return aten.convolution(x, weight, bias, once, none, once, transposed, none, groups)
