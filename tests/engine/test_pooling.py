"""Pooling of the state of a step, forward and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import recurra
from recurra.errors import CompileError
from tests.engine.engines import assert_engines_agree
from tests.engine.images import Images


def weighed(y: Tensor, h: Tensor) -> Tensor:
    """Images of any size as one number for each sequence; every place counts another number of times."""
    weights = torch.linspace(-1, 1, y.shape[1:].numel(), dtype=y.dtype)
    return h * (y.flatten(1) * weights).sum(1).reshape(-1, *[1] * (h.dim() - 1))


POOLS: dict[str, tuple[tuple[int, ...], Any]] = {
    "max": ((4, 6), lambda h: F.max_pool2d(h, 2)),
    "max that overlaps": ((5, 7), lambda h: F.max_pool2d(h, 3, stride=2, padding=1)),
    "max, a part of a window": ((5, 7), lambda h: F.max_pool2d(h, (2, 3), ceil_mode=True)),
    "max with holes": ((6, 7), lambda h: F.max_pool2d(h, 2, stride=3, dilation=2, padding=1)),
    "max of lines": ((9,), lambda h: F.max_pool1d(h, 3, stride=1, padding=1)),
    "max of volumes": ((4, 3, 2), lambda h: F.max_pool3d(h, 2, padding=1)),
    "max of ties and NaN": ((4, 6), lambda h: F.max_pool2d(torch.where(h > 1, torch.nan, h.relu()), 2).nan_to_num(0.1)),
    "mean": ((4, 6), lambda h: F.avg_pool2d(h, 2)),
    "mean that overlaps": ((5, 7), lambda h: F.avg_pool2d(h, 3, stride=1, padding=1)),
    "mean, a part of a window": ((5, 7), lambda h: F.avg_pool2d(h, 3, stride=2, padding=1, ceil_mode=True)),
    "mean without padding": ((5, 7), lambda h: F.avg_pool2d(h, 3, stride=2, padding=1, count_include_pad=False)),
    "padded and side by side": (
        (6, 6),
        lambda h: (
            F.avg_pool2d(h, 3, padding=1) * F.max_pool2d(h, 3, padding=1) + F.max_pool2d(h, 2, padding=1)[:, :, :2, :2]
        ),
    ),
    "dilated and side by side": ((4, 4), lambda h: F.max_pool2d(h, 2, padding=1, dilation=2)),
    "mean by a number": ((5, 7), lambda h: F.avg_pool2d(h, 2, stride=3, divisor_override=3)),
    "mean of lines": ((9,), lambda h: F.avg_pool1d(h, 2)),
    "mean of volumes": ((4, 3, 2), lambda h: F.avg_pool3d(h, 2, padding=1)),
    "large windows": ((9, 9), lambda h: F.max_pool2d(h, 9) * F.avg_pool2d(h, 9) + F.adaptive_max_pool2d(h, 1)),
    "adaptive": ((4, 6), lambda h: F.adaptive_avg_pool2d(h, (2, 3)) + F.adaptive_max_pool2d(h, (2, 3))),
    "adaptive, to one place": ((4, 6), lambda h: F.adaptive_avg_pool2d(h, 1) * F.adaptive_max_pool2d(h, 1)),
    "adaptive of lines": ((9,), lambda h: F.adaptive_avg_pool1d(h, 3) * F.adaptive_max_pool1d(h, 3)),
    "adaptive, of two sizes": ((7, 5), lambda h: F.adaptive_avg_pool2d(h, (3, 5)).sin()),
    "adaptive, windows of one place": ((4,), lambda h: F.adaptive_avg_pool1d(h, 7).sin()),
    "between places": ((4, 5), lambda h: F.interpolate(h, size=(7, 3), mode="bilinear").sin()),
    "between corners": ((4, 5), lambda h: F.interpolate(h, (9, 1), mode="bilinear", align_corners=True).sin()),
    "between places, by a factor": ((4, 5), lambda h: F.interpolate(h, scale_factor=(1.7, 0.5), mode="bilinear").sin()),
    "between places of lines": ((6,), lambda h: F.interpolate(h, scale_factor=2, mode="linear").sin()),
    "between places of volumes": ((2, 3, 2), lambda h: F.interpolate(h, (3, 3, 5), mode="trilinear").sin()),
    "as large again": ((4, 3), lambda h: F.interpolate(h, scale_factor=2).sin()),
    "as large again, volumes": ((2, 3, 2), lambda h: F.interpolate(h, size=(2, 9, 4)).sin()),
    "of channels": ((4, 6), lambda h: F.pixel_unshuffle(h, 2).sin()),
    "to channels": ((4, 6), lambda h: F.pixel_shuffle(torch.cat([h, h.sin()], 1), 2)),
}


@pytest.mark.parametrize("name", POOLS)
def test_every_pool(name: str) -> None:
    size, pool = POOLS[name]
    cell = Images(2, size, {"scale": ()}, lambda cell, x, h: x + cell.scale * weighed(pool(h), h))
    assert_engines_agree(cell, [3, 0, 2])


def test_windows_beside_others_in_single_precision_and_many_sequences() -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return x + cell.scale * F.interpolate(F.max_pool2d(h, 2) - F.avg_pool2d(h, 2), scale_factor=2)

    cell = Images(3, (4, 6), {"scale": ()}, step)
    assert_engines_agree(cell, [1] * 33)
    assert_engines_agree(cell.float(), [7])


@pytest.mark.parametrize(
    ("pool", "why"),
    [
        (lambda h: F.adaptive_max_pool2d(h, 3), r"\(10, 10\) places fall into \(3, 3\) windows of different sizes"),
        (lambda h: F.max_pool2d(h, 9, stride=1), "its windows have more than 16 places"),
        (lambda h: F.interpolate(h, (500, 3), mode="bilinear"), "10 places of an axis become 500"),
    ],
    ids=["sizes", "places", "between places"],
)
def test_a_pool_without_compiled_form_says_why(pool: Any, why: str) -> None:
    cell = Images(2, (10, 10), {"scale": ()}, lambda cell, x, h: x + cell.scale * weighed(pool(h), h))
    with pytest.raises(CompileError, match=why):
        recurra.scan(cell, torch.randn(2, 1, 2, 10, 10, dtype=torch.float64), engine="compiled")
