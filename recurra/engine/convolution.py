"""Convolutions of images, lines and volumes, as far as the engine has them, and where their numbers stand in memory.

An image is copied once into a plane with zeros around it. Neighbouring lines share the zeros between them: what is left
of a line is right of the one before. So a place of the result and a tap of the kernel are two plain numbers, and their
sum says where in the plane the factor stands: whole vectors of places are read at once, whatever the size of an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from recurra.engine.rows import row_axis, row_shape
from recurra.engine.trace import Unsupported

__all__ = ["Convolution", "convolution_of", "has_steps_of_one", "is_convolution"]


@dataclass(frozen=True)
class Convolution:
    """A convolution of the image of one row, with steps of one place.

    Attributes:
        channels, out_channels: of what is read, and of the result.
        size: of an image that is read.
        kernel: taps along each axis.
        padding: zeros before and behind an image along each axis.
        dilation: places from one tap to the next along each axis.
        groups: into how many parts of equal size the channels fall; one part of the result sees one that is read.
        transposed: whether it is the gradient of a convolution: its weight is [channels, out_channels, *kernel] and
            has the taps in reverse, where that of others is [out_channels, channels, *kernel]; the second of these is
            that of a group.
    """

    channels: int
    out_channels: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    transposed: bool = False

    @property
    def out_size(self) -> tuple[int, ...]:
        """Of an image of the result."""
        return tuple(n + 2 * p - r for n, p, r in zip(self.size, self.padding, self.reaches, strict=True))

    @property
    def reaches(self) -> tuple[int, ...]:
        """Places from the first tap to the last one along each axis."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True))

    @property
    def of_group(self) -> Convolution:
        """What one group alone is."""
        channels, out_channels = self.channels // self.groups, self.out_channels // self.groups
        return replace(self, channels=channels, out_channels=out_channels, groups=1)

    @property
    def taps(self) -> int:
        """Of the kernel of one channel."""
        return math.prod(self.kernel)

    @property
    def flops(self) -> int:
        """Of one image."""
        return 2 * self.channels * self.out_channels // self.groups * self.taps * math.prod(self.out_size)

    # --- planes ------------------------------------------------------------------------------------------------------

    @property
    def _extents(self) -> tuple[int, ...]:
        """Places along each axis of a plane, the zeros between two lines once."""
        return tuple(max(n + p, out) for n, p, out in zip(self.size, self.padding, self.out_size, strict=True))

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers from one place of a plane to the next along each axis."""
        return _products(self._extents)

    @property
    def plane(self) -> int:
        """Numbers from one plane to the next."""
        return math.prod(self._extents)

    @property
    def first(self) -> int:
        """Where the first number of an image stands in its plane."""
        return sum(p * step for p, step in zip(self.padding, self.steps, strict=True))

    @property
    def places(self) -> int:
        """Numbers from the first place of a result to the last one, those between two lines included."""
        return 1 + sum((out - 1) * step for out, step in zip(self.out_size, self.steps, strict=True))

    @property
    def reach(self) -> int:
        """How far behind a place its last tap stands."""
        return sum(reach * step for reach, step in zip(self.reaches, self.steps, strict=True))

    @property
    def tap_steps(self) -> tuple[int, ...]:
        """Numbers from one tap to the next along each axis."""
        return tuple(d * step for d, step in zip(self.dilation, self.steps, strict=True))

    # --- the weight --------------------------------------------------------------------------------------------------

    @property
    def of_channels(self) -> tuple[int, int]:
        """Numbers from one channel of the result to the next in the weight, and from one that is read to the next."""
        if self.transposed:
            return self.taps, self.out_channels // self.groups * self.taps
        return self.channels // self.groups * self.taps, self.taps

    @property
    def of_taps(self) -> tuple[int, ...]:
        """Numbers in the weight from one tap to the next along each axis."""
        return tuple(-step if self.transposed else step for step in _products(self.kernel))

    @property
    def first_tap(self) -> int:
        """Where the tap stands that is applied to what stands first."""
        return self.taps - 1 if self.transposed else 0

    def __str__(self) -> str:
        sizes = (self.channels, *self.size), (self.out_channels, *self.out_size), self.kernel
        named = "{} -> {}, kernel {}".format(*(" x ".join(map(str, size)) for size in sizes))
        dilated = "" if set(self.dilation) == {1} else f", dilation {' x '.join(map(str, self.dilation))}"
        return f"{named}{dilated}" + (f", groups: {self.groups}" if self.groups > 1 else "")


def _products(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers from one entry to the next along each axis of a tensor of these sizes."""
    return tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))


def has_steps_of_one(stride: Sequence[int], output_padding: Sequence[int]) -> bool:
    """Whether a convolution with these arguments goes on place by place."""
    return all(each == 1 for each in stride) and not any(output_padding)


def is_convolution(node: fx.Node) -> bool:
    """Whether a call is a convolution that the engine has."""
    if node.target is not torch.ops.aten.convolution.default:
        return False
    try:
        convolution_of(node)
    except Unsupported:
        return False
    return True


def convolution_of(node: fx.Node) -> Convolution:
    """What a call of `aten.convolution` computes.

    Raises:
        Unsupported: it is none of those that the engine has.
    """
    args: tuple[Any, ...] = node.args
    x, weight, bias, stride, padding, dilation, transposed, output_padding, groups = args
    if not has_steps_of_one(stride, output_padding):
        raise Unsupported("convolution", f"it has stride {tuple(stride)}")
    if row_axis(x) != 0 or row_shape(x)[0] != 1 or any(row_axis(each) is not None for each in (weight, bias) if each):
        raise Unsupported("convolution", "only one image of a row with a weight of parameters")
    first, second, *kernel = row_shape(weight)
    channels, out_channels = (first, second * groups) if transposed else (second * groups, first)
    of = Convolution(
        channels, out_channels, row_shape(x)[2:], tuple(kernel), tuple(padding), tuple(dilation), groups, transposed
    )
    if not transposed:
        return of
    padding = tuple(reach - p for reach, p in zip(of.reaches, padding, strict=True))
    if any(each < 0 for each in padding):
        raise Unsupported("convolution", "its padding is wider than its kernel")
    return replace(of, padding=padding)
