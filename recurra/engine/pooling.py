"""Pooling in terms of what a loop has, for images, lines and volumes, [.., *sizes].

A few taps of a window are views of the image and what is around it, each shifted against the others, which are read
together in one pass. Many of windows that lie side by side are axes of the image in another shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.engine.resampling import means_of_windows, resampled
from recurra.engine.taken_apart import Formless, padded

__all__ = ["POOLING"]

aten = torch.ops.aten

_MOST_ADDED = 64  # taps of a window, as views
_MOST_COMPARED = 16  # the gradient of an extremum compares them all again: more take longer than in the Python loop


@dataclass(frozen=True)
class _Windows:
    """The windows of a pool; all attributes are given axis by axis.

    Attributes:
        sizes: of an image.
        kernel: taps of a window.
        stride: places from one window to the next.
        padding: places before the image at which the first window begins.
        dilation: places from one tap to the next.
        results: how many windows there are.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    results: tuple[int, ...]

    @classmethod
    def of(
        cls,
        x: Tensor,
        rank: int,
        kernel: Any,
        stride: Any,
        padding: Any = 0,
        ceil_mode: bool = False,
        dilation: Any = 1,
    ) -> _Windows:
        """Those that torch's arguments name."""
        sizes = tuple(x.shape[-rank:])
        kernel, padding, dilation = (_each(given, rank) for given in (kernel, padding, dilation))
        stride = _each(stride, rank) or kernel
        results = []
        for n, k, s, p, d in zip(sizes, kernel, stride, padding, dilation, strict=True):
            left = n + 2 * p - d * (k - 1) - 1
            result = left // s + 1
            # one more, unless it begins behind the image
            more = ceil_mode and left % s and result * s < n + p
            results.append(result + bool(more))
        return cls(sizes, kernel, stride, padding, dilation, tuple(results))

    @classmethod
    def side_by_side(cls, sizes: Sequence[int], results: Sequence[int]) -> _Windows:
        """Those of an adaptive pool.

        Raises:
            Formless: they are of different sizes.
        """
        if any(size % result for size, result in zip(sizes, results, strict=True)):
            raise Formless(f"{tuple(sizes)} places fall into {tuple(results)} windows of different sizes")
        kernel = tuple(size // result for size, result in zip(sizes, results, strict=True))
        none, once = (0,) * len(kernel), (1,) * len(kernel)
        return cls(tuple(sizes), kernel, kernel, none, once, tuple(results))

    @property
    def are_side_by_side(self) -> bool:
        """Whether each place of the image is in one window."""
        has_gaps = self.kernel != self.stride or any(self.padding) or any(each != 1 for each in self.dilation)
        return not has_gaps and self.sizes == tuple(map(math.prod, zip(self.kernel, self.results, strict=True)))

    def has_views(self, most: int) -> bool:
        """Whether the taps are no more than that; else the windows lie side by side.

        Raises:
            Formless: they are many, and the windows do not.
        """
        taps = math.prod(self.kernel)
        if taps > most and not self.are_side_by_side:
            raise Formless(f"its windows have more than {most} places")
        return taps <= most

    def taps(self, x: Tensor, fill: float) -> list[Tensor]:
        """Of each tap its place in all windows, [.., *results]; `fill` is around the image."""
        axes = list(zip(self.results, self.stride, self.kernel, self.dilation, strict=True))
        needed = [(r - 1) * s + (k - 1) * d + 1 for r, s, k, d in axes]
        x = padded(x, self.padding, needed, fill)
        return [
            _sliced(x, [(tap * d, (r - 1) * s + 1, s) for tap, (r, s, _, d) in zip(place, axes, strict=True)])
            for place in itertools.product(*map(range, self.kernel))
        ]

    def apart(self, x: Tensor) -> Tensor:
        """The places of windows that lie side by side, [.., *results, places of a window]."""
        rank, lead = len(self.sizes), x.dim() - len(self.sizes)
        pairs = [size for pair in zip(self.results, self.kernel, strict=True) for size in pair]
        order = [*range(lead), *(lead + 2 * axis for axis in range(rank)), *(lead + 2 * a + 1 for a in range(rank))]
        return x.reshape(*x.shape[:lead], *pairs).permute(order).flatten(-rank)

    def of_places(self, y: Tensor, fill: float = 0.0) -> list[Tensor]:
        """Of each place of the image the windows that it is in, [.., *sizes]; `fill` where it is in fewer."""
        rank, lead = len(self.sizes), list(y.shape[: y.dim() - len(self.sizes)])
        pairs = [size for pair in zip(self.results, self.stride, strict=True) for size in pair]
        for axis in range(rank):
            y = y.unsqueeze(len(lead) + 2 * axis + 1)
        if self.are_side_by_side:
            return [y.expand(*lead, *pairs).reshape(*lead, *self.sizes)]
        apart = padded(y, [0] * 2 * rank, pairs, fill).reshape(
            *lead, *(r * s for r, s in zip(self.results, self.stride, strict=True))
        )
        reaches = [(k - 1) * d for k, d in zip(self.kernel, self.dilation, strict=True)]
        before = [reach - p for reach, p in zip(reaches, self.padding, strict=True)]
        needed = [size + reach for size, reach in zip(self.sizes, reaches, strict=True)]
        apart = padded(apart, before, needed, fill)
        return [
            _sliced(apart, [(tap * d, size, 1) for tap, d, size in zip(place, self.dilation, self.sizes, strict=True)])
            for place in itertools.product(*map(range, self.kernel))
        ]

    def places(self) -> Tensor:
        """The places of the image, counted."""
        return torch.arange(math.prod(self.sizes), device="cpu").reshape(self.sizes)

    def counts(self, like: Tensor, *, with_padding: bool) -> Tensor | int:
        """How many places of the image, or of the padding, too, a window has: of each one, or of all."""
        axes = list(zip(self.sizes, self.kernel, self.stride, self.padding, self.results, strict=True))
        if all((with_padding or not p) and (r - 1) * s + k <= n + 2 * p for n, k, s, p, r in axes):
            return math.prod(self.kernel)
        count: Any = 1
        for n, k, s, p, r in axes:
            start = torch.arange(r, device=like.device) * s - p
            end = (start + k).clamp(max=n + p)
            inside = end - start if with_padding else end.clamp(max=n) - start.clamp(min=0)
            count = count * inside if isinstance(count, int) else count.unsqueeze(-1) * inside
        return count.to(like.dtype)


def _each(given: Any, rank: int) -> tuple[int, ...]:
    """A number for each axis, where one may serve all of them."""
    given = (given,) if isinstance(given, int) else tuple(given)
    return given * rank if len(given) == 1 else given


def _sliced(x: Tensor, axes: Sequence[tuple[int, int, int]]) -> Tensor:
    """From a start on so many places, with a step, along each of the last axes."""
    for axis, (start, size, step) in enumerate(axes, x.dim() - len(axes)):
        x = aten.slice(x, axis, start, start + size, step)
    return x


def _total(tensors: Sequence[Tensor]) -> Tensor:
    return sum(tensors[1:], tensors[0])


# --- means -----------------------------------------------------------------------------------------------------------


def _means(x: Tensor, windows: _Windows, divisor: Tensor | int) -> Tensor:
    total = _total(windows.taps(x, 0.0)) if windows.has_views(_MOST_ADDED) else windows.apart(x).sum(-1)
    return total / divisor


def _average(rank: int) -> Any:
    def pool(
        x: Tensor,
        kernel: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: int | None = None,
    ) -> Tensor:
        windows = _Windows.of(x, rank, kernel, stride, padding, ceil_mode)
        count = divisor or windows.counts(x, with_padding=count_include_pad)
        return _means(x, windows, count)

    return pool


def _average_backward(rank: int) -> Any:
    def gradient(
        d: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, with_padding: bool, divisor: Any
    ) -> Tensor:
        windows = _Windows.of(x, rank, kernel, stride, padding, ceil_mode)
        return _total(windows.of_places(d / (divisor or windows.counts(x, with_padding=with_padding))))

    return gradient


def _uneven(like: Tensor, sizes: Sequence[int], results: Sequence[int]) -> list[Tensor]:
    """Weights of windows of different sizes; none where all have one size."""
    axes = list(zip(sizes, results, strict=True))
    uneven = any(size % result for size, result in axes)
    return [means_of_windows(size, result, like) for size, result in axes] if uneven else []


def _adaptive_average(rank: int) -> Any:
    def pool(x: Tensor, results: Sequence[int]) -> Tensor:
        if weights := _uneven(x, x.shape[-rank:], results):
            return resampled(x, weights)
        windows = _Windows.side_by_side(x.shape[-rank:], results)
        return _means(x, windows, math.prod(windows.kernel))

    return pool


def _adaptive_average_backward(rank: int) -> Any:
    def gradient(d: Tensor, x: Tensor) -> Tensor:
        if weights := _uneven(x, x.shape[-rank:], d.shape[-rank:]):
            return resampled(d, [each.mT for each in weights])
        windows = _Windows.side_by_side(x.shape[-rank:], d.shape[-rank:])
        return _total(windows.of_places(d / math.prod(windows.kernel)))

    return gradient


def _nearest_backward(rank: int) -> Any:
    """Of images that are a whole number of times as large."""

    def gradient(d: Tensor, results: Sequence[int], sizes: Sequence[int], *scales: float | None) -> Any:
        factors = [result / size for result, size in zip(results, sizes[-rank:], strict=True)]
        if any(scale not in (None, factor) for scale, factor in zip(scales, factors, strict=False)):
            return NotImplemented
        return _means(d, _Windows.side_by_side(results, sizes[-rank:]), 1)

    return gradient


# --- extrema ---------------------------------------------------------------------------------------------------------


def _largest(x: Tensor, windows: _Windows) -> tuple[Tensor, Tensor]:
    """The largest number of each window, and where in the image it stands; NaN is larger than any other."""
    if not windows.has_views(_MOST_COMPARED):
        best, tap = windows.apart(x).max(-1, keepdim=True)
        is_there = tap == torch.arange(math.prod(windows.kernel), device=x.device)
        return best.squeeze(-1), torch.where(is_there, windows.apart(windows.places()), 0).sum(-1)
    best, *others = windows.taps(x, -math.inf)
    place, *places = windows.taps(windows.places(), 0)
    for other, its_place in zip(others, places, strict=True):
        is_larger = (other > best) | (other != other)
        best, place = torch.where(is_larger, other, best), torch.where(is_larger, its_place, place)
    return best, place.expand(best.shape)


def _largest_backward(d: Tensor, places: Tensor, windows: _Windows) -> Tensor:
    whose = zip(windows.of_places(d), windows.of_places(places, -1), strict=True)
    return _total([torch.where(place == windows.places(), part, 0.0) for part, place in whose])


def _maximum(rank: int) -> Any:
    def pool(
        x: Tensor, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> tuple[Tensor, Tensor]:
        windows = _Windows.of(x, rank, kernel, stride, padding, ceil_mode, dilation)
        return _largest(x, windows)

    return pool


def _maximum_backward(rank: int) -> Any:
    def gradient(
        d: Tensor, x: Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, places: Tensor
    ) -> Tensor:
        return _largest_backward(d, places, _Windows.of(x, rank, kernel, stride, padding, ceil_mode, dilation))

    return gradient


def _adaptive_maximum(rank: int) -> Any:
    def pool(x: Tensor, results: Sequence[int]) -> tuple[Tensor, Tensor]:
        return _largest(x, _Windows.side_by_side(x.shape[-rank:], results))

    return pool


def _adaptive_maximum_backward(rank: int) -> Any:
    def gradient(d: Tensor, x: Tensor, places: Tensor) -> Tensor:
        return _largest_backward(d, places, _Windows.side_by_side(x.shape[-rank:], d.shape[-rank:]))

    return gradient


_MAKERS = {
    "avg_pool{}d": _average,
    "avg_pool{}d_backward": _average_backward,
    "_adaptive_avg_pool{}d": _adaptive_average,
    "_adaptive_avg_pool{}d_backward": _adaptive_average_backward,
    "max_pool{}d_with_indices": _maximum,
    "max_pool{}d_with_indices_backward": _maximum_backward,
    "adaptive_max_pool{}d": _adaptive_maximum,
    "adaptive_max_pool{}d_backward": _adaptive_maximum_backward,
    "upsample_nearest{}d_backward": _nearest_backward,
}

POOLING: dict[Any, Any] = {
    getattr(aten, name.format(rank)).default: make(rank)
    for name, make in _MAKERS.items()
    for rank in (1, 2, 3)
    if hasattr(aten, name.format(rank))
}
