"""Products on our own code are those of torch, for all sizes, strides, processors and numbers of threads."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recurra.engine.cpu import matmul as module
from recurra.engine.cpu.matmul import matmul
from recurra.engine.cpu.target import Target, host
from tests.engine.cpu.test_target import NEEDS, require

# tiles and panels that are full and not; inner sizes of one block and of several
SIZES = [(1, 1, 1), (5, 3, 7), (6, 17, 64), (13, 1100, 37), (33, 129, 200), (100, 64, 96)]
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-5}


def made(rows: int, columns: int, dtype: torch.dtype, *, turned: bool) -> Tensor:
    return torch.randn(columns, rows, dtype=dtype).t() if turned else torch.randn(rows, columns, dtype=dtype)


def assert_right(a: Tensor, b: Tensor, bias: Tensor | None = None) -> None:
    expected = a.double() @ b.double()
    if bias is not None:
        expected = expected + bias.double()
    # rounding is relative to the sum of the sizes of what is added up
    scale = a.double().abs() @ b.double().abs() + 1
    assert ((matmul(a, b, bias).double() - expected).abs() / scale).max() < TOLERANCE[a.dtype]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", SIZES, ids=[f"M{m}-K{k}-N{n}" for m, k, n in SIZES])
def test_every_size_and_order_in_memory(size: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, inner, columns = size
    for a_turned, b_turned in itertools.product((False, True), repeat=2):
        a, b = made(rows, inner, dtype, turned=a_turned), made(inner, columns, dtype, turned=b_turned)
        assert_right(a, b)
        assert_right(a, b, torch.randn(columns, dtype=dtype))


@given(st.tuples(*[st.integers(1, 70)] * 3), st.sampled_from([torch.float32, torch.float64]), st.booleans())
def test_any_size(size: tuple[int, int, int], dtype: torch.dtype, turned: bool) -> None:
    rows, inner, columns = size
    assert_right(made(rows, inner, dtype, turned=turned), made(inner, columns, dtype, turned=not turned))


@pytest.mark.skipif(not host().bf16, reason="this processor has no products of bfloat16")
@pytest.mark.parametrize("size", [*SIZES, (7, 515, 18), (50, 1030, 130)])
def test_factors_of_bfloat16_are_those_rounded_first(size: tuple[int, int, int]) -> None:
    rows, inner, columns = size
    for a_turned, b_turned in itertools.product((False, True), repeat=2):
        a = made(rows, inner, torch.float32, turned=a_turned)
        b = made(inner, columns, torch.float32, turned=b_turned)
        bias = torch.randn(columns)
        expected = a.bfloat16().double() @ b.bfloat16().double() + bias.double()
        scale = a.double().abs() @ b.double().abs() + 1
        assert ((matmul(a, b, bias, bf16=True).double() - expected).abs() / scale).max() < 1e-6


@pytest.mark.parametrize("level", NEEDS)
def test_every_level_of_x86(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    require(NEEDS[level])
    monkeypatch.setattr(module, "host", lambda: Target.x86_64(level, host().triple))
    for turned in (False, True):
        assert_right(torch.randn(13, 40), made(40, 77, torch.float32, turned=turned), torch.randn(77))


def test_strides_of_any_kind() -> None:
    a, b = torch.randn(20, 3, 30)[:, 1], torch.randn(60, 50)[::2, 1::2]
    assert_right(a, b)
    assert_right(torch.ones(()).expand(20, 30), b)
    assert_right(a, torch.randn(30, 1).expand(30, 25), torch.randn(50)[::2])


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_the_same_numbers_on_any_number_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(50, 600), torch.randn(600, 130)
    expected = matmul(a, b)
    monkeypatch.setattr(module.team, "num_threads", lambda: threads)
    assert torch.equal(matmul(a, b), expected)


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 9), st.booleans())
def test_every_share_has_something_and_no_thread_two(rows: int, columns: int, threads: int, by_rows: bool) -> None:
    down, along = module._grid(rows, columns, 6, 64, threads, by_rows=by_rows)
    assert 1 <= down * along <= threads
    assert down <= -(-rows // 6)
    assert along <= -(-columns // 64)


@pytest.mark.parametrize("bf16", [False, pytest.param(True, marks=pytest.mark.skipif(not host().bf16, reason="none"))])
@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (4, 1), (3, 2), (9, 5)], ids=str)
@pytest.mark.parametrize("size", [(1, 5, 1), (100, 140, 300), (13, 600, 77)], ids=str)
def test_any_shares_make_the_same_product(
    size: tuple[int, int, int], grid: tuple[int, int], bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, inner, columns = size
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    monkeypatch.setattr(module, "_grid", lambda *_, **__: (1, 1))
    want = matmul(a, b, bf16=bf16), matmul(a.t().contiguous().t(), b, bf16=bf16)
    monkeypatch.setattr(module, "_grid", lambda *_, **__: grid)  # some shares may be empty
    assert torch.equal(matmul(a, b, bf16=bf16), want[0])
    assert torch.equal(matmul(a.t().contiguous().t(), b, bf16=bf16), want[1])


def test_a_row_of_nan_stays_in_its_row() -> None:
    a = torch.randn(9, 40)
    a[4, 7] = float("nan")
    assert matmul(a, torch.randn(40, 20)).isnan().any(1).tolist() == [row == 4 for row in range(9)]


@pytest.mark.parametrize("size", [(0, 4, 3), (3, 0, 4), (4, 3, 0)])
def test_nothing_to_add_up(size: tuple[int, int, int]) -> None:
    rows, inner, columns = size
    a, b, bias = torch.randn(rows, inner), torch.randn(inner, columns), torch.randn(columns)
    assert torch.equal(matmul(a, b, bias), torch.addmm(bias, a, b))
    assert torch.equal(matmul(a, b), a @ b)
