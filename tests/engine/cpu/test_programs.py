"""Each pass has the program that is for its batch, ragged ones of any lengths included."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import recurra
from recurra import Ragged, cells
from recurra.cells import GRU, RNN, make_cell
from recurra.engine import reference
from recurra.engine.block import Packed
from recurra.engine.cell_code import Compiled
from recurra.engine.compiled import compiled
from recurra.engine.cpu import programs as programs_module
from recurra.engine.cpu import team
from recurra.engine.cpu.matmul import matmul
from recurra.engine.cpu.programs import Programs
from recurra.engine.cpu.replay import Program
from recurra.engine.cpu.target import host
from recurra.engine.cpu.tiling import Layout, room
from recurra.engine.scan import ENGINES, engine_in_use
from tests.engine.cpu.passes import as_turns, numbers, programs
from tests.tolerance import assert_close


def test_programs_go_with_their_layout() -> None:
    passes = Programs(never)
    layout = Layout(np.full(1, 3), np.zeros(1, np.int64), sizes=(3, 1))
    for _ in range(3):
        passes.run(as_turns(lambda given: [matmul(*given)]), layout, (torch.randn(3, 3), torch.randn(3, 3)))
    assert passes.known(layout, team.num_threads()) is not None
    gone = weakref.ref(layout)
    del layout
    gc.collect()
    assert gone() is None
    assert not passes._known


def test_large_batches_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "_LARGEST", 100)
    cell = GRU(3, 5).double()
    for _ in range(3):
        recurra.scan(cell, torch.randn(5, 2, 3).double(), engine="compiled")
    assert {*programs(cell)} == {None}


def never(*_: Any) -> Any:
    raise AssertionError("this is not called")


def ragged(cell: recurra.Cell, lengths: Sequence[int]) -> Ragged:
    return Ragged.from_list([torch.randn(length, *cell.input_shape).double() for length in lengths])


def assert_right(cell: recurra.Cell, x: Ragged) -> None:
    state = cell.State(*(torch.randn_like(field) for field in cell.initial_state(x.batch_size, dtype=torch.float64)))
    for got, want in zip(numbers(cell, x, state, "compiled"), numbers(cell, x, state, "reference"), strict=True):
        assert_close(got, want)


def elastic(cell: recurra.Cell) -> dict[str, list[Any]]:
    """What is known of the passes over batches of any size."""
    return {name: [*known._elastic.values()] for name, known in compiled(cell, torch.float64)._programs.items()}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", sorted(cells.CELLS))
def test_sequences_of_other_lengths_run_as_a_program_too(
    name: str, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"size": (3, 3)} if name in ("convlstm", "convgru") else {}
    cell = make_cell(name, 4, 8, **options).double()
    for lengths in ([13, 9, 5], [12, 0, 14], [7, 17, 3]):
        x = ragged(cell, lengths)
        y, after = recurra.scan(cell, x.replace(x.values.requires_grad_()), reverse=reverse, engine="compiled")
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
            y, after = recurra.scan(cell, x.replace(leaf), reverse=reverse, engine=engine)
            loss = y.values.square().sum() + sum(field.sum() for field in after if field.is_floating_point())
            learned = [each for each in cell.parameters() if each.requires_grad]
            found.append([y.values, *torch.autograd.grad(loss, [leaf, *learned], allow_unused=True)])
        for got, want in zip(*found, strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                assert_close(got, want)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", sorted(cells.CELLS))
def test_packed_sequences_run_as_a_program_too(name: str, backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"size": (3, 3)} if name in ("convlstm", "convgru") else {}
    cell = make_cell(name, 4, 8, **options).double()

    def found(lengths: Sequence[int], engine: str) -> list[Tensor | None]:
        torch.manual_seed(sum(lengths))
        data, batch_sizes, _, _ = ragged(cell, lengths).to_packed()
        leaf = data.requires_grad_()
        x = Packed(leaf, batch_sizes, backward)
        state = cell.initial_state(len(lengths), dtype=torch.float64)
        given = cell.State(*(torch.randn_like(each) if each.is_floating_point() else each for each in state))
        with torch.no_grad():
            free, _ = ENGINES[engine](cell, x, given)
        y, after = ENGINES[engine](cell, x, given)
        loss = y.square().sum() + sum(field.square().sum() for field in after if field.is_floating_point())
        learned = [each for each in cell.parameters() if each.requires_grad]
        return [free, y, *after, *torch.autograd.grad(loss, [leaf, *learned], allow_unused=True)]

    for lengths in ([12, 9, 6], [25, 1, 1], [9, 9, 9]):  # of 24 to 27 rows together
        found(lengths, "compiled")
    assert [type(each) for passes in elastic(cell).values() for each in passes] == [Program] * 3
    monkeypatch.setattr(Compiled, "_forward", never)
    monkeypatch.setattr(Compiled, "_backward", never)
    for lengths in ([22, 1, 1], [12, 10, 2], [8, 8, 8], [15, 10, 1]):
        for got, want in zip(found(lengths, "compiled"), found(lengths, "reference"), strict=True):
            assert (got is None) == (want is None)
            if got is not None and want is not None:
                assert_close(got, want)


@pytest.mark.parametrize(("batch", "batch_first", "reverse"), [(1, False, False), (3, False, True), (16, True, False)])
@pytest.mark.parametrize("name", sorted(cells.CELLS))
def test_padded_batches_of_other_lengths_run_as_a_program_too(
    name: str, batch: int, batch_first: bool, reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"size": (3, 3)} if name in ("convlstm", "convgru") else {}
    cell = make_cell(name, 4, 8, **options).double()

    def found(steps: int, engine: str) -> list[Tensor | None]:
        torch.manual_seed(steps)
        x = torch.randn(*((batch, steps) if batch_first else (steps, batch)), *cell.input_shape).double()
        leaf = x.requires_grad_()
        x = leaf.transpose(0, 1) if batch_first else leaf
        with torch.no_grad():
            free, _ = recurra.scan(cell, x, reverse=reverse, engine=engine)
        y, after = recurra.scan(cell, x, reverse=reverse, engine=engine)
        loss = y.square().sum() + sum(field.sum() for field in after if field.is_floating_point())
        learned = [each for each in cell.parameters() if each.requires_grad]
        return [free, y, *after, *torch.autograd.grad(loss, [leaf, *learned], allow_unused=True)]

    for steps in (25, 26, 27):
        found(steps, "compiled")
    assert [type(each) for passes in elastic(cell).values() for each in passes] == [Program] * 3
    monkeypatch.setattr(Compiled, "_forward", never)
    monkeypatch.setattr(Compiled, "_backward", never)
    for steps in (24, 27, 25, 26, 24):
        for got, want in zip(found(steps, "compiled"), found(steps, "reference"), strict=True):
            assert (got is None) == (want is None)
            if got is not None and want is not None:
                assert_close(got, want)


def test_the_second_length_of_padded_batches_makes_a_program_for_all() -> None:
    cell = GRU(3, 5).double()

    def kinds() -> tuple[int, int]:
        """How many programs there are for one length, and for any."""
        passes = compiled(cell, torch.float64)._programs["training"]
        one = [each for known in passes._known.values() for each in known.values()]
        return len(one), sum(isinstance(each, Program) for each in passes._elastic.values())

    expected = {90: [(0, 0), (1, 0), (1, 0)], 91: [(1, 1), (1, 1)], 95: [(1, 1)], 100: [(1, 1), (2, 1)], 101: [(2, 2)]}
    for steps, after in expected.items():  # of 80 to 95 steps, then of 96 to 111
        x = torch.randn(steps, 2, 3).double()
        for want in after:
            recurra.scan(cell, x, engine="compiled")
            assert kinds() == want


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
    assert [type(each) for name in ("training", "backward") for each in passes[name]._elastic.values()] == [Program] * 4


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
    assert {96, 111} <= sizes  # a quarter of 64 to 127 rows is tried first, then a sixteenth, on either side of 100
    known = compiled(cell, torch.float64)._programs["inference"]._elastic
    assert {key.ends: type(found) for key, found in known.items()} == {
        (96, 111): type(None),
        (96, 99): Program,
        (100, 103): Program,
    }


@given(st.integers(1, 10**6), st.sampled_from(programs_module._PARTS), st.integers(1, 16), st.integers(1, 40))
def test_programs_for_any_lengths_are_recorded_at_the_ends(size: int, parts: int, threads: int, batch: int) -> None:
    size += threads
    smallest, largest = programs_module._ends(size, parts, threads, batch)
    assert threads <= smallest <= size <= largest
    assert smallest < largest
    rooms = Fraction(room(smallest * batch), room(largest * batch))
    assert batch % room(1) == 0 or rooms != Fraction(smallest, largest)
    assert rooms != Fraction(smallest + 1, largest + 1)
    assert largest - smallest <= max(16 + threads, size / parts + 16)


def test_of_many_numbers_of_sequences_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs_module, "_MOST", 4)
    cell = RNN(3, 5).double()
    for batch in (1, 2, 3, 4, 5, 6):
        for _ in range(3):
            recurra.scan(cell, ragged(cell, [20] * batch), engine="compiled")
        recurra.scan(cell, ragged(cell, [20] * 2), engine="compiled")
    known = compiled(cell, torch.float64)._programs["training"]._elastic
    assert [key.kind[0] for key in known] == [4, 5, 6, 2]
    assert all(isinstance(each, Program) for each in known.values())
