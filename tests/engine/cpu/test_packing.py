"""Weights as panels, on every target that this machine can run."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra.engine import products
from recurra.engine.cpu.packing import pack
from recurra.engine.cpu.target import Target, host
from tests.engine.cpu.test_target import NEEDS, require

SIZES = [(1, 1), (2, 16), (15, 31), (17, 130), (64, 64), (70, 3)]


def orders(inner: int, outer: int, dtype: torch.dtype) -> list[Tensor]:
    """A matrix by rows, by columns, and with neither in one stretch."""
    return [
        torch.randn(inner, outer, dtype=dtype),
        torch.randn(outer, inner, dtype=dtype).t(),
        torch.randn(2 * inner, 2 * outer, dtype=dtype)[::2, ::2],
    ]


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("vectors", [1, 3, 4])
def test_panels_are_columns_side_by_side(level: int, dtype: torch.dtype, vectors: int) -> None:
    require(NEEDS[level])
    target = Target.x86_64(level, host().triple)
    panel = vectors * target.lanes(dtype.itemsize)
    for inner, outer in SIZES:
        matrices = orders(inner, outer, dtype)
        count = -(-outer // panel)
        for matrix, found in zip(matrices, pack(matrices, [(inner, outer, panel)] * 3, dtype, target), strict=True):
            padded = torch.nn.functional.pad(matrix, (0, count * panel - outer))
            assert torch.equal(found, padded.view(inner, count, panel).transpose(0, 1))


def test_matrices_of_several_widths_and_enough_for_all_threads() -> None:
    lanes, sizes = host().lanes(4), ((300, 700, 4), (5, 7, 1), (256, 1024, 4))
    matrices = [torch.randn(inner, outer) for inner, outer, _ in sizes]
    packed = pack(matrices, [(i, o, vectors * lanes) for i, o, vectors in sizes], torch.float32, host())
    for matrix, found in zip(matrices, packed, strict=True):
        columns = found.transpose(0, 1).reshape(len(matrix), -1)
        assert torch.equal(columns[:, : matrix.shape[1]], matrix)
        assert not columns[:, matrix.shape[1] :].any()


@pytest.mark.skipif(not products.has_bf16(), reason="this processor has no products of bfloat16")
def test_rounded_panels_are_words_of_two() -> None:
    panel = 2 * host().lanes(4)
    for inner, outer in SIZES:
        matrices = orders(inner, outer, torch.float32)
        count = -(-outer // panel)
        for matrix, found in zip(
            matrices, pack(matrices, [(inner, outer, panel)] * 3, torch.float32, host(), bf16=True), strict=True
        ):
            padded = torch.nn.functional.pad(matrix, (0, count * panel - outer, 0, inner % 2)).bfloat16()
            pairs = padded.view(-1, 2, count, panel).permute(2, 0, 3, 1)
            assert torch.equal(found.view(torch.bfloat16).view(pairs.shape), pairs)
