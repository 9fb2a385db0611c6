"""Images, lines and volumes of another size, [.., *sizes]: along each axis a product with a matrix of weights.

The gradient is the product with the transposed matrices. All places of an axis are weighed, of which two or three
count: that is quick where they are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.taken_apart import MOST_PLACES, Formless

__all__ = ["RESAMPLING", "means_of_windows", "resampled"]

aten = torch.ops.aten


def resampled(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Shapes: x [.., *sizes], weights of each of the last axes [result, size] -> [.., *results]."""
    for axis, each in enumerate(weights, x.dim() - len(weights)):
        x = (x.movedim(axis, -1) @ each.mT).movedim(-1, axis)
    return x


def _expect_few(size: int, result: int) -> None:
    if size * result > MOST_PLACES:
        raise Formless(f"{size} places of an axis become {result}: their product is more than {MOST_PLACES}")


def means_of_windows(size: int, result: int, like: Tensor) -> Tensor:
    """Weights of an adaptive mean: windows that may differ in size by one, and overlap."""
    _expect_few(size, result)
    window, place = torch.arange(result, device=like.device).unsqueeze(-1), torch.arange(size, device=like.device)
    start, end = window * size // result, -(-(window + 1) * size // result)
    return ((place >= start) & (place < end)).to(like.dtype) / (end - start)


def _linear(size: int, result: int, like: Tensor, *, corners: bool, scale: float | None) -> Tensor:
    """Weights of the two places that are nearest; the ends are `corners`, or half a place outside of them."""
    _expect_few(size, result)
    window, place = (torch.arange(n, dtype=like.dtype, device=like.device) for n in (result, size))
    if corners:
        at = window * ((size - 1) / max(result - 1, 1))
    else:
        at = ((window + 0.5) * (1 / scale if scale else size / result) - 0.5).clamp(min=0.0)
    distance = (at.clamp(max=size - 1.0).unsqueeze(-1) - place).abs()
    return (1.0 - distance).clamp(min=0.0)


def _interpolated(rank: int) -> Any:
    def interpolate(x: Tensor, results: Sequence[int], corners: bool, *scales: float | None) -> Tensor:
        return resampled(x, _of_axes(x, x.shape[-rank:], results, corners, scales))

    return interpolate


def _interpolated_backward(rank: int) -> Any:
    def gradient(
        d: Tensor, results: Sequence[int], sizes: Sequence[int], corners: bool, *scales: float | None
    ) -> Tensor:
        return resampled(d, [each.mT for each in _of_axes(d, sizes[-rank:], results, corners, scales)])

    return gradient


def _of_axes(
    like: Tensor, sizes: Sequence[int], results: Sequence[int], corners: bool, scales: Sequence[float | None]
) -> list[Tensor]:
    scales = scales or [None] * len(sizes)
    axes = zip(sizes, results, scales, strict=True)
    return [_linear(size, result, like, corners=corners, scale=scale) for size, result, scale in axes]


_NAMES = {1: "upsample_linear1d", 2: "upsample_bilinear2d", 3: "upsample_trilinear3d"}

RESAMPLING: dict[Any, Any] = {
    getattr(aten, name + suffix).default: make(rank)
    for rank, name in _NAMES.items()
    for suffix, make in (("", _interpolated), ("_backward", _interpolated_backward))
}
