"""Convolutions with a stride, as such with steps of one place.

With a stride of s the places of an image fall into s phases along each axis, those with the same remainder. A tap sees
one of them alone: so the phases become channels of a smaller image, which a smaller kernel goes over place by place.
Transposed, the phases of the result are channels of what is computed, and are put together in the end.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from recurra.engine.convolution import has_steps_of_one

__all__ = ["convolution_in_phases"]

aten = torch.ops.aten

_Sizes = list[int]


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


def _padded(x: Tensor, before: _Sizes, sizes: _Sizes) -> Tensor:
    """Zeros before each axis of an image and behind it, up to these sizes; what is beyond is cut off."""
    pads: _Sizes = []
    for n, left, size in zip(x.shape[2:], before, sizes, strict=True):
        pads = [left, size - left - n, *pads]
    return aten.constant_pad_nd(x, pads)


def _phases(x: Tensor, stride: _Sizes) -> Tensor:
    """[B, C, n s, ..] as [B, C s .., n, ..]."""
    axes = range(len(stride))
    places = [n for size, s in zip(x.shape[2:], stride, strict=True) for n in (size // s, s)]
    apart = x.reshape(*x.shape[:2], *places).permute(0, 1, *(3 + 2 * a for a in axes), *(2 + 2 * a for a in axes))
    return apart.reshape(x.shape[0], -1, *places[::2])


def _read_in_phases(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: _Sizes, padding: _Sizes, groups: int
) -> Tensor:
    axes = range(len(stride))
    kernel = weight.shape[2:]
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    results = [(x.shape[2 + a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in axes]
    images = _padded(x, padding, [stride[a] * (results[a] + taps[a] - 1) for a in axes])
    weight = _padded(weight, [0 for _ in axes], [stride[a] * taps[a] for a in axes])
    return _plain(_phases(images, stride), _phases(weight, stride), bias, len(stride), False, groups)


def _written_in_phases(
    x: Tensor, weight: Tensor, stride: _Sizes, padding: _Sizes, sizes: _Sizes, groups: int
) -> Tensor:
    axes = range(len(stride))
    taps = [-(-k // s) for k, s in zip(weight.shape[2:], stride, strict=True)]
    weight = _padded(weight, [0 for _ in axes], [stride[a] * taps[a] for a in axes])
    made = _plain(x, _phases(weight, stride), None, len(stride), True, groups)
    channels = made.shape[1] // math.prod(stride)
    apart = made.reshape(x.shape[0], channels, *stride, *made.shape[2:])
    order = [axis for a in axes for axis in (2 + len(stride) + a, 2 + a)]
    whole = apart.permute(0, 1, *order).reshape(x.shape[0], channels, *(made.shape[2 + a] * stride[a] for a in axes))
    return _padded(whole, [-each for each in padding], sizes)


def _plain(x: Tensor, weight: Tensor, bias: Tensor | None, axes: int, transposed: bool, groups: int) -> Tensor:
    once, none = [1] * axes, [0] * axes
    return aten.convolution(x, weight, bias, once, none, once, transposed, none, groups)
