"""Convolutions and the gradients of their weights on every target, against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from recurra.cells import ConvGRU
from recurra.engine.convolution import Convolution
from recurra.engine.cpu import loop_kernel, team
from recurra.engine.cpu.emit import emit
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.weight_gradient import gradient, weight_gradient
from recurra.engine.lower import lower
from recurra.engine.schedule import schedule
from recurra.engine.simplify import simplify
from recurra.engine.split import split
from recurra.engine.trace import trace
from tests.engine.cpu.test_target import NEEDS, require
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close

CONVOLVE: tuple[Any, ...] = (F.conv1d, F.conv2d, F.conv3d)


def expected(of: Convolution, x: Tensor, d_y: Tensor) -> Tensor:
    weight = torch.zeros(of.out_channels, of.channels // of.groups, *of.kernel, dtype=x.dtype, requires_grad=True)
    how = {"padding": of.padding, "dilation": of.dilation, "groups": of.groups}
    result = CONVOLVE[len(of.size) - 1](x, weight, **how)
    (found,) = torch.autograd.grad(result, weight, d_y)
    return found


def images(of: Convolution, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    sizes = (of.channels, *of.size), (of.out_channels, *of.out_size)
    return torch.randn(count, *sizes[0], dtype=dtype), torch.randn(count, *sizes[1], dtype=dtype)


# less than a block of images and several, one that is larger than a block, narrow and wide kernels and paddings, and
# channels in groups
CASES = [
    (Convolution(1, 1, (1,), (1,), (0,), (1,)), 1),
    (Convolution(3, 17, (5, 7), (3, 5), (1, 2), (1, 1)), 5),
    (Convolution(2, 4, (4, 4), (3, 3), (1, 1), (1, 1)), 150),
    (Convolution(17, 2, (9,), (5,), (0,), (2,)), 67),
    (Convolution(2, 3, (3, 4, 5), (3, 1, 3), (2, 1, 0), (1, 3, 2)), 7),
    (Convolution(40, 50, (33, 40), (1, 3), (0, 1), (1, 1)), 3),
    (Convolution(17, 17, (5, 7), (3, 3), (2, 1), (2, 1), 17), 5),
    (Convolution(6, 9, (4, 4), (3, 3), (1, 1), (1, 1), 3), 40),
]


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("of", "count"), CASES, ids=str)
def test_the_gradient_of_a_weight(of: Convolution, count: int, dtype: torch.dtype, level: int) -> None:
    require(NEEDS[level])
    x, d_y = images(of, count, dtype)
    found = gradient(of, x, d_y, Target.x86_64(level, host().triple))
    assert_close(found, expected(of, x.double(), d_y.double()).to(dtype))


@settings(max_examples=30)  # each size has code of its own
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.tuples(*[st.tuples(*[st.integers(1, 6)] * 2, st.integers(0, 3), st.integers(1, 2))] * 2),
    st.integers(1, 3),
)
def test_any_sizes(channels: int, outs: int, axes: tuple[tuple[int, int, int, int], ...], groups: int) -> None:
    size, kernel, padding, dilation = zip(
        *((n + max(0, d * (k - 1) + 1 - n - 2 * p), k, p, d) for n, k, p, d in axes), strict=True
    )
    of = Convolution(groups * channels, groups * outs, size, kernel, padding, dilation, groups)
    x, d_y = images(of, 3, torch.float64)
    assert_close(weight_gradient(x, d_y, kernel, padding, dilation, groups), expected(of, x, d_y))


def test_no_images_give_zeros() -> None:
    x, d_y = torch.zeros(0, 2, 4, 4), torch.zeros(0, 3, 4, 4)
    assert torch.equal(weight_gradient(x, d_y, (3, 3), (1, 1), (1, 1)), torch.zeros(3, 2, 3, 3))


@pytest.mark.parametrize(("channels", "groups"), [((8, 64), 1), ((200, 3), 1), ((64, 64), 4)], ids=str)
def test_threads_share_no_sum(channels: tuple[int, int], groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = Convolution(*channels, (9, 10), (3, 3), (1, 1), (1, 1), groups)
    x, d_y = images(of, 100, torch.float32)
    found = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(team, "num_threads", lambda threads=threads: threads)
        found.append(weight_gradient(x, d_y, of.kernel, of.padding, of.dilation, groups))
    assert all(torch.equal(found[0], other) for other in found[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("level", NEEDS)
def test_every_level_of_x86_convolves_the_same(level: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    require(NEEDS[level])
    monkeypatch.setattr(loop_kernel, "host", lambda: Target.x86_64(level, host().triple))
    for size in ((4, 4), (17, 5), (19,)):
        assert_engines_agree(ConvGRU(3, 5, size=size).to(dtype), [2, 0, 3])


def test_arm_gets_code() -> None:
    traced = trace(ConvGRU(3, 5, size=(4, 6)), torch.float32)
    simplify(traced.graph)
    text = emit(schedule(lower(split(traced).forward)), Target.aarch64(), bits=32, reverse=False, name="forward")
    assert "llvm.fma.v4f32" in text
