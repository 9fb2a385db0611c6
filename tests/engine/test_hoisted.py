"""A step in two halves: the first one is called for many steps at once, and nothing else changes."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from recurra import Cell, Ragged, scan
from recurra.cells import ConvLSTM
from recurra.engine.block import Block
from recurra.engine.hoisted import HoistedKernel
from tests.tolerance import assert_close


class State(NamedTuple):
    h: Tensor


CALLS: list[int] = []  # not in the cell: a step that changes its cell is not compiled


class Halves(Cell):
    """An Elman network that counts the calls of its first half."""

    State = State

    def __init__(self, input_size: int, hidden_size: int, max_rows: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size)
        self.hidden = nn.Linear(hidden_size, hidden_size)
        self.max_rows = max_rows

    def before(self, x: Tensor) -> Tensor:
        CALLS.append(len(x))
        return self.input(x)

    def rest(self, rows: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(rows + self.hidden(state.h))
        return h, State(h)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.rest(self.before(x), state)

    def kernel(self) -> Any:
        return HoistedKernel(self, self.before, self.rest, self.max_rows, flops=0)


@pytest.mark.parametrize(
    ("max_rows", "calls"),
    [(0, [3, 3, 2, 2, 1, 1]), (4, [3, 3, 4, 2]), (6, [6, 6]), (100, [12])],
    ids=str,
)
def test_the_first_half_is_called_for_as_many_steps_as_it_may(max_rows: int, calls: list[int]) -> None:
    cell = Halves(2, 3, max_rows).double()
    x = Ragged.from_list([torch.randn(length, 2).double() for length in (4, 0, 6, 2)])
    x = x.replace(x.values.requires_grad_())
    results = {}
    for engine in ("torch", "reference"):
        CALLS.clear()
        outputs, last = scan(cell, x, engine=engine)
        assert (calls if engine == "torch" else [3, 3, 2, 2, 1, 1]) == CALLS
        loss = outputs.values.square().sum() + last.h.sum()
        results[engine] = (outputs.values, last.h, *torch.autograd.grad(loss, [x.values, *cell.parameters()]))
    for got, want in zip(results["torch"], results["reference"], strict=True):
        assert_close(got, want)


def test_where_the_step_can_be_compiled_it_is() -> None:
    CALLS.clear()
    scan(Halves(2, 3, 100), torch.randn(6, 2, 2))
    assert 12 not in CALLS


def test_nothing_to_do_calls_nothing() -> None:
    cell = Halves(2, 3, 10)
    CALLS.clear()
    outputs, last = scan(cell, torch.zeros(0, 2, 2), engine="torch")
    assert (outputs.shape, last.h.shape, CALLS) == ((0, 2, 3), (2, 3), [])


@pytest.mark.parametrize(("batch_size", "side", "is_fast"), [(1, 64, True), (2, 64, False), (1, 8, False)])
def test_one_video_of_large_images_is_for_torchs_threads(
    batch_size: int, side: int, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    kernel: Any = ConvLSTM(32, 32, size=(side, side)).kernel()
    assert kernel.is_fast(Block(torch.empty(3, batch_size, 32, side, side, device="meta"))) == is_fast


def test_a_block_is_run_as_its_sequences() -> None:
    cell = ConvLSTM(2, 3, size=(4, 4)).double()
    x = torch.randn(5, 2, 2, 4, 4).double()
    outputs, state = scan(cell, x, engine="torch")
    expected, last = scan(cell, x, engine="reference")
    assert_close(outputs, expected)
    assert_close(state.c, last.c)
