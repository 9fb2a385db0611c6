"""A pass that comes again is one call of machine code, and computes what it did the first time."""

from __future__ import annotations

import ctypes
import gc
import itertools
import random
import weakref
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import recurra
from recurra import Ragged, cells
from recurra.cells import DNC, GRU, LSTM, RNN, IndRNN, MinGRU, make_cell
from recurra.cells.zoneout import Zoneout
from recurra.engine import reference
from recurra.engine.cell_code import Compiled
from recurra.engine.compiled import compiled
from recurra.engine.cpu import arena, replay, team
from recurra.engine.cpu.matmul import matmul
from recurra.engine.cpu.replay import Program, Programs, record
from recurra.engine.cpu.target import host
from recurra.engine.cpu.tiling import Layout, room
from recurra.engine.scan import engine_in_use
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


def numbers(cell: recurra.Cell, x: Any, state: Any, engine: str) -> list[Tensor]:
    """Outputs, the last state, and the gradients of inputs, state and parameters."""
    values = x.values if isinstance(x, Ragged) else x
    leaf = values.clone().requires_grad_()
    fields = [field.clone().requires_grad_() for field in state]
    y, after = recurra.scan(
        cell, x.replace(leaf) if isinstance(x, Ragged) else leaf, type(state)(*fields), engine=engine
    )
    y = y.values if isinstance(y, Ragged) else y
    loss = y.square().sum() + sum((field * field.cos()).sum() for field in after)
    return [y, *after, *torch.autograd.grad(loss, [leaf, *fields, *cell.parameters()])]


def as_turns(run: Callable[[Any], Any]) -> Any:
    """A pass that hands out no job."""

    def turns(layout: Layout, given: Any) -> Any:
        yield from ()
        return run(given)

    return turns


def programs(cell: recurra.Cell) -> list[Any]:
    """All that is known of the passes of a cell in double precision."""
    passes = compiled(cell, torch.float64)._programs.values()
    padded = [found for known in passes for each in known._known.values() for found in each.values()]
    return [*padded, *(found for known in passes for found in known._ragged.values())]


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
            other = arena.empty((program._words(0),), torch.float64)  # as another thread would, meanwhile
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


def test_programs_go_with_their_layout() -> None:
    passes = Programs(never)
    layout = Layout(np.full(1, 3), np.zeros(1, np.int64), sizes=(3, 1))
    for _ in range(3):
        passes.run(as_turns(lambda given: [matmul(*given)]), layout, (torch.randn(3, 3), torch.randn(3, 3)))
    assert passes.known(layout) is not None
    gone = weakref.ref(layout)
    del layout
    gc.collect()
    assert gone() is None
    assert not passes._known


def test_large_batches_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_LARGEST", 100)
    cell = GRU(3, 5).double()
    for _ in range(3):
        recurra.scan(cell, torch.randn(5, 2, 3).double(), engine="compiled")
    assert programs(cell) == [None]


def never(*_: Any) -> Any:
    raise AssertionError("this is not called")


def ragged(cell: recurra.Cell, lengths: Sequence[int]) -> Ragged:
    return Ragged.from_list([torch.randn(length, *cell.input_shape).double() for length in lengths])


def assert_right(cell: recurra.Cell, x: Ragged) -> None:
    state = cell.State(*(torch.randn_like(field) for field in cell.initial_state(x.batch_size, dtype=torch.float64)))
    for got, want in zip(numbers(cell, x, state, "compiled"), numbers(cell, x, state, "reference"), strict=True):
        assert_close(got, want)


def elastic(cell: recurra.Cell) -> dict[str, list[Any]]:
    """What is known of the passes over ragged batches."""
    return {name: [*known._ragged.values()] for name, known in compiled(cell, torch.float64)._programs.items()}


@pytest.mark.parametrize("name", sorted(cells.CELLS))
def test_sequences_of_other_lengths_run_as_a_program_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"size": (3, 3)} if name in ("convlstm", "convgru") else {}
    cell = make_cell(name, 4, 8, **options).double()
    for lengths in ([13, 9, 5], [12, 0, 14], [7, 17, 3]):
        x = ragged(cell, lengths)
        y, after = recurra.scan(cell, x.replace(x.values.requires_grad_()), engine="compiled")
        (y.values.sum() + sum(field.sum() for field in after if field.is_floating_point())).backward()
    known = elastic(cell)
    assert [type(each) for name in ("training", "backward") for each in known[name]] == [Program, Program]
    monkeypatch.setattr(Compiled, "_forward", never)
    monkeypatch.setattr(Compiled, "_backward", never)
    for lengths in ([24, 0, 0], [1, 24, 1], [12, 3, 12], [8, 8, 8]):  # of 24 to 27 rows together
        x = ragged(cell, lengths)
        leaf = x.values.clone().requires_grad_()
        found = []
        for engine in ("compiled", "reference"):
            y, after = recurra.scan(cell, x.replace(leaf), engine=engine)
            loss = y.values.square().sum() + sum(field.sum() for field in after if field.is_floating_point())
            learned = [each for each in cell.parameters() if each.requires_grad]
            found.append([y.values, *torch.autograd.grad(loss, [leaf, *learned], allow_unused=True)])
        for got, want in zip(*found, strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                assert_close(got, want)


def test_any_number_of_rows_and_of_sequences() -> None:
    cell = GRU(3, 5).double()
    draw = random.Random(0)
    for _ in range(60):
        batch = draw.choice([1, 2, 5])
        assert_right(cell, ragged(cell, [1, *(draw.choice([0, 1, 2, draw.randrange(90)]) for _ in range(batch))]))
    assert sum(isinstance(each, Program) for each in elastic(cell)["training"]) >= 5


def test_inference_over_ragged_batches_and_both_directions() -> None:
    network = recurra.Recurrent(GRU(3, 5), bidirectional=True, num_layers=2).double().eval()
    for lengths in ([9], [12], [8], [15], [11]):
        x = ragged(GRU(3, 5), lengths)
        with torch.no_grad():
            got, _ = network(x)
            with engine_in_use(reference.run):
                want, _ = network(x)
        assert_close(got.values, want.values)


@pytest.mark.skipif(not host().bf16, reason="this processor has no products of bfloat16")
def test_products_of_bfloat16_over_ragged_batches() -> None:
    cell = GRU(32, 32)
    inputs = [Ragged.from_list([torch.randn(n, 32) for n in lengths]) for lengths in ([50, 70, 30], [61, 3, 99])]

    def found(x: Ragged) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = recurra.scan(cell, Ragged(x.values, x.offsets.clone()), engine="compiled")
        return [y.values, *torch.autograd.grad(y.values.square().mean(), list(cell.parameters()))]

    first = [found(x) for x in inputs]
    for x, want in zip([*inputs, *inputs], [*first, *first], strict=True):
        for got, expected in zip(found(x), want, strict=True):
            assert torch.allclose(got, expected, rtol=1e-4, atol=1e-6)
    passes = compiled(cell, torch.float32).in_bf16._programs
    assert [type(each) for name in ("training", "backward") for each in passes[name]._ragged.values()] == [Program] * 4


def test_where_a_choice_lies_between_the_two_recordings_it_is_made_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = GRU(3, 5).double()
    cell.requires_grad_(False)
    sizes: set[int] = set()

    def two_shares_from_100_rows_on(rows: int, *_: Any, **__: Any) -> tuple[int, int]:
        sizes.add(rows)
        return (1, 1) if rows < 100 else (2, 1)

    monkeypatch.setattr("recurra.engine.cpu.matmul._grid", two_shares_from_100_rows_on)
    for rows in (98, 101, 98, 98, 101, 101, 97, 102):
        x = ragged(cell, [rows - 9, 9])
        assert_close(
            *(recurra.scan(cell, x, engine=engine)[0].values for engine in ("compiled", "reference")),
        )
    assert {95, 111} <= sizes  # a quarter of 64 to 127 rows is tried first, then a sixteenth, on either side of 100
    known = compiled(cell, torch.float64)._programs["inference"]._ragged
    assert {key.ends: type(found) for key, found in known.items()} == {
        (95, 111): type(None),
        (95, 99): Program,
        (100, 103): Program,
    }


@given(st.integers(1, 10**6), st.sampled_from(replay._PARTS), st.integers(1, 16))
def test_programs_for_any_lengths_are_recorded_at_the_ends(rows: int, parts: int, threads: int) -> None:
    rows += threads
    fewest, most = replay._ends(rows, parts, threads)
    assert threads <= fewest <= rows <= most
    assert fewest < most
    assert room(fewest) > fewest
    assert room(most) > most
    assert most - fewest <= max(2 + threads, rows / parts + 2)


def test_of_many_numbers_of_sequences_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_MOST", 4)
    cell = RNN(3, 5).double()
    for batch in (1, 2, 3, 4, 5, 6):
        for _ in range(3):
            recurra.scan(cell, ragged(cell, [20] * batch), engine="compiled")
        recurra.scan(cell, ragged(cell, [20]), engine="compiled")
    known = compiled(cell, torch.float64)._programs["training"]._ragged
    assert [key.batch_size for key in known] == [4, 5, 6, 1]
    assert all(isinstance(each, Program) for each in known.values())
