"""A pass that comes again is one call of machine code, and computes what it did the first time."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Ragged
from recurra.cells import DNC, GRU, LSTM, RNN, IndRNN, MinGRU
from recurra.cells.zoneout import Zoneout
from recurra.engine.cpu import arena, replay, team
from recurra.engine.cpu.matmul import matmul
from recurra.engine.cpu.replay import Program, record
from recurra.engine.cpu.tiling import Layout
from tests.engine.cpu.passes import as_turns, numbers, programs
from tests.tolerance import assert_close


class Number(RNN):
    """A state of one number, and a parameter that is one."""

    def __init__(self) -> None:
        super().__init__(3, 1)
        self.leak = nn.Parameter(torch.tensor(0.3))

    def step(self, x: Tensor, state: Any) -> Any:
        _, after = super().step(x, state)
        h = state.h + self.leak * (after.h - state.h)
        return h, type(state)(h)


CELLS: dict[str, Callable[[], recurra.Cell]] = {
    "rnn": lambda: RNN(3, 5),
    "gru": lambda: GRU(3, 5),
    "lstm layer norm": lambda: LSTM(3, 5, layer_norm=True),
    "indrnn": lambda: IndRNN(3, 5),
    "mingru": lambda: MinGRU(3, 5),
    "one number": Number,
}


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("kind", ["block", "batch first", "ragged"])
def test_other_numbers_of_the_same_sizes_run_as_a_program_and_are_right(name: str, kind: str) -> None:
    cell = CELLS[name]().double()
    padded = torch.randn(7, 4, 3).double()
    ragged = Ragged.from_padded(padded, [7, 0, 3, 6])
    for _ in range(4):
        x: Any = torch.randn(7, 4, 3).double()
        if kind == "batch first":
            x = torch.randn(4, 7, 3).double().transpose(0, 1)
        if kind == "ragged":
            x = ragged.replace(torch.randn_like(ragged.values))
        state = cell.State(*(torch.randn_like(field) for field in cell.initial_state(4)))
        with torch.no_grad():
            for parameter in cell.parameters():
                parameter.mul_(0.9)  # in place: the next call must see it
        for got, want in zip(numbers(cell, x, state, "compiled"), numbers(cell, x, state, "reference"), strict=True):
            assert_close(got, want)
    found = programs(cell)
    assert len(found) == 2
    assert all(isinstance(each, Program) for each in found)


def test_inference_is_recorded_too() -> None:
    cell, x = GRU(3, 5).double(), torch.randn(7, 4, 3).double()
    with torch.no_grad():
        found = [recurra.scan(cell, x, engine="compiled")[0] for _ in range(4)]
    assert [type(each) for each in programs(cell)] == [Program]
    for each in found[1:]:
        assert torch.equal(found[0], each)


def test_while_a_program_runs_nobody_else_gets_its_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_LASTING", 0)  # what is larger is kept for no thread
    cell, x, taken = RNN(64, 64).double(), torch.randn(100, 16, 64).double(), []
    with torch.no_grad():
        outputs = [recurra.scan(cell, x, engine="compiled")[0] for _ in range(3)]
        (program,) = programs(cell)

        def run(table: int, thread: int) -> None:
            workspace = ctypes.c_int64.from_address(table + 8 * replay._WORKSPACE).value
            other = arena.empty((program._words(replay._FIXED),), torch.float64)  # as another thread would, meanwhile
            taken.append(other.data_ptr() == workspace)
            code.run(table, thread)

        code = program._code
        monkeypatch.setattr(program, "_code", SimpleNamespace(run=run))
        outputs.append(recurra.scan(cell, x, engine="compiled")[0])
    assert taken == [False]
    assert_close(outputs[-1], outputs[0])


def test_one_tensor_for_two_is_no_matter_when_it_is_recorded() -> None:
    cell, x = LSTM(3, 3).double(), torch.randn(3, 4, 3).double()
    same = torch.randn(4, 3).double()
    for _ in range(3):
        recurra.scan(cell, x, cell.State(same, same), engine="compiled")
    other = cell.State(torch.randn(4, 3).double(), torch.randn(4, 3).double())
    for got, want in zip(numbers(cell, x, other, "compiled"), numbers(cell, x, other, "reference"), strict=True):
        assert_close(got, want)


def test_gradients_that_are_equal_do_not_share_memory() -> None:
    cell, x = RNN(3, 5), torch.randn(6, 2, 3)
    for _ in range(4):
        cell.zero_grad()
        recurra.scan(cell, x, engine="compiled")[0].sum().backward()
    assert torch.equal(cell.bias_ih.grad, cell.bias_hh.grad)
    addresses = [parameter.grad.untyped_storage().data_ptr() for parameter in cell.parameters()]
    assert len(set(addresses)) == len(addresses)


def test_outputs_are_no_views_and_may_change_in_place() -> None:
    cell, x = RNN(3, 5), torch.randn(6, 2, 3)
    for _ in range(3):
        y, _ = recurra.scan(cell, x, engine="compiled")
        assert not y._is_view()
        doubled = y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        doubled.sum().backward()


def test_a_gradient_that_is_spread_out_is_laid_out_first() -> None:
    cell, x = GRU(3, 5).double(), torch.randn(6, 2, 3).double()
    for _ in range(3):
        y, _ = recurra.scan(cell, x, engine="compiled")
        (of_full,) = torch.autograd.grad(y, [cell.weight_hh], torch.ones(6, 2, 5).double())
    y, _ = recurra.scan(cell, x, engine="compiled")
    (of_sum,) = torch.autograd.grad(y.sum(), [cell.weight_hh])
    assert torch.equal(of_full, of_sum)


def test_random_steps_are_drawn_anew() -> None:
    cell, x = Zoneout(GRU(3, 5), 0.5).double(), torch.randn(9, 4, 3).double()
    found = [recurra.scan(cell, x, engine="compiled")[0] for _ in range(4)]
    assert all(not torch.equal(one, other) for one, other in itertools.pairwise(found))
    assert set(programs(cell)) == {None}


def test_what_torch_computes_in_between_has_no_program() -> None:
    cell, x = DNC(3, 5, output_size=2, memory_size=4, word_size=3, num_reads=2).double(), torch.randn(5, 2, 3).double()
    for _ in range(3):
        state = cell.initial_state(2, dtype=torch.float64)
        for got, want in zip(numbers(cell, x, state, "compiled"), numbers(cell, x, state, "reference"), strict=True):
            assert_close(got, want)


@pytest.mark.parametrize(
    "run",
    [
        lambda a, b: [a * b],  # memory that torch asked for
        lambda a, b: [a],  # what was handed in
        lambda a, b: [matmul(a * 2, b)],  # reads what torch computed
        lambda a, b: [matmul(a, b).half()],
        lambda a, b: [arena.empty((2, 2), torch.float64).copy_(a)],  # torch wrote there
        lambda a, b: [matmul(a, b)[0].mul_(2)],
    ],
    ids=["new", "given", "read", "type", "written", "changed"],
)
def test_passes_that_are_no_programs(run: Any) -> None:
    given = torch.randn(2, 2).double(), torch.randn(2, 2).double()
    program, results = record(as_turns(lambda given: run(*given)), (Layout.of_block(2, 1, False, False), given))
    assert program is None
    for got, want in zip(results, run(*given), strict=True):
        assert torch.equal(got, want)


def test_a_program_returns_parts_nothings_and_the_same_twice() -> None:
    def run(given: Any) -> Any:
        a, b = given
        whole = matmul(a, matmul(a, b))
        return [whole.t(), None, whole[1:], whole[1:], matmul(b, a)[0], whole[:, 1]]

    layout = Layout.of_block(3, 1, False, False)
    program, _ = record(as_turns(run), (layout, (torch.randn(3, 3).double(), torch.randn(3, 3).double())))
    assert program is not None
    given = torch.randn(3, 3).double(), torch.randn(3, 3).double().t()
    found, want = program.run(layout, given), run(given)
    assert found[2] is found[3]
    assert found[1] is None
    for got, expected in zip(found, want, strict=True):
        if expected is not None:
            assert got.shape == expected.shape
            assert got.stride() == expected.stride()
            assert_close(got, expected)


@pytest.mark.skipif(not team.can_fork(), reason="there is no team of threads here")
def test_each_number_of_threads_has_a_program() -> None:
    before = torch.get_num_threads()
    cell, x = GRU(3, 5).double(), torch.randn(7, 9, 3).double()
    state = cell.initial_state(9, dtype=torch.float64)
    want = numbers(cell, x, state, "reference")
    try:
        for threads in (2, 1, 2, 1, 2, 1):
            torch.set_num_threads(threads)
            for got, expected in zip(numbers(cell, x, state, "compiled"), want, strict=True):
                assert_close(got, expected)
    finally:
        torch.set_num_threads(before)
    assert len(programs(cell)) == 4
    assert all(isinstance(each, Program) for each in programs(cell))
