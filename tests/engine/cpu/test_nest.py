"""Passes over several axes on every target that this machine can run, and memory that is used again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import LoopKernel, Tiling
from recurra.engine.cpu.target import Target, host
from recurra.engine.loop import Map, Program, Value, verify
from recurra.engine.schedule import schedule
from tests.engine.cpu.test_target import NEEDS, require
from tests.tolerance import assert_close

N, M, K = 5, 19, 9


def array(program: Program, name: str, width: int) -> Value:
    node = torch.fx.Graph().placeholder(name)
    node.meta["val"] = torch.empty(999_983, width, device="meta")
    return add(program, Value("array", (), width, node=node))


def add(program: Program, value: Value) -> Value:
    value.name = f"v{len(program.values)}"
    program.values.append(value)
    return value


def view(program: Program, source: Value, sizes: tuple[int, ...], strides: tuple[int, ...]) -> Value:
    places = Map(0, sizes, strides).joined()
    return add(program, Value("view", (source, places), places.width))


def product(program: Program, a: Value, b: Value, strides: tuple[tuple[int, ...], tuple[int, ...]]) -> Value:
    sizes = (N, M, K)
    views = (view(program, a, sizes, strides[0]), view(program, b, sizes, strides[1]))
    both = add(program, Value("mul", views, N * M * K))
    return add(program, Value("sum", (both, sizes, (2,)), N * M))


# how the numbers of the two matrices stand: [n, m, k]
ORDERS: dict[str, Any] = {
    "a b": (((K, 0, 1), (0, 1, M)), lambda a, b: a.view(N, K) @ b.view(K, M)),
    "a b'": (((K, 0, 1), (0, K, 1)), lambda a, b: a.view(N, K) @ b.view(M, K).t()),
    "a' b": (((1, 0, N), (0, 1, M)), lambda a, b: a.view(K, N).t() @ b.view(K, M)),
    "a' b'": (((1, 0, N), (0, K, 1)), lambda a, b: a.view(K, N).t() @ b.view(M, K).t()),
}


def run(program: Program, results: list[Value], arrays: list[Tensor], target: Target) -> list[Tensor]:
    for value in results:
        node = torch.fx.Graph().placeholder(value.name)
        node.meta["val"] = torch.empty(999_983, value.width, device="meta")
        program.saved[node] = value
    verify(program)
    kernel = LoopKernel(schedule(program), arrays[0].dtype, reverse=False, target=target)
    rows = len(arrays[0])
    ((written, _),) = team.together([kernel.run(Tiling.of_rows(rows, 1), arrays, [], [], [], rows)])
    return written


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_products_of_matrices_of_every_order(order: str, dtype: torch.dtype, level: int) -> None:
    require(NEEDS[level])
    target = Target.x86_64(level, host().triple)
    program = Program("test")
    a, b = array(program, "a", N * K), array(program, "b", K * M)
    strides, expected = ORDERS[order]
    result = product(program, a, b, strides)
    rows = [torch.randn(3, N * K, dtype=dtype), torch.randn(3, K * M, dtype=dtype)]
    (found,) = run(program, [result], rows, target)
    for row in range(3):
        assert_close(found[row].view(N, M), expected(rows[0][row], rows[1][row]))


def test_numbers_are_read_and_written_with_any_strides() -> None:
    program = Program("test")
    a = array(program, "a", 12)
    turned = view(program, a, (4, 3), (1, 4))
    back = add(program, Value("neg", (turned,), 12))
    odd, even = (
        add(program, Value("copy", (add(program, Value("view", (a, Map(k, (6,), (2,))), 6)),), 6)) for k in (1, 0)
    )
    mixed = add(program, Value("join", (odd, Map(0, (6,), (2,)), even, Map(1, (6,), (2,))), 12))
    rows = torch.randn(2, 12)
    found = run(program, [back, mixed], [rows], host())
    assert torch.equal(found[0], -rows.view(2, 3, 4).transpose(1, 2).flatten(1))
    assert torch.equal(found[1], rows.view(2, 6, 2).flip(2).flatten(1))
