"""The laws of `scan`, of every engine: ragged, chunks, resets, reverse, padding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import recurra
from recurra.cells import GRU, LSTM, RNN
from recurra.errors import ConfigError, ShapeError
from tests.tolerance import assert_close

CELLS: dict[str, Any] = {
    "rnn": lambda: RNN(3, 5, activation="sigmoid"),
    "gru": lambda: GRU(3, 5),
    "lstm": lambda: LSTM(3, 5),
    "peephole": lambda: LSTM(3, 5, peephole=True, proj_size=2),
}
every_cell = pytest.mark.parametrize("name", CELLS)
lengths_of_batches = st.lists(st.integers(0, 6), min_size=1, max_size=5)


def case(name: str, lengths: list[int]) -> tuple[Any, recurra.Ragged, Any]:
    cell = CELLS[name]().double()
    x = recurra.Ragged.from_list([torch.randn(length, 3).double() for length in lengths])
    state = cell.State(*(torch.randn_like(field) for field in cell.initial_state(len(lengths))))
    return cell, x, state


def assert_states(actual: Any, expected: Any) -> None:
    for got, want in zip(actual, expected, strict=True):
        assert_close(got, want)


@every_cell
@settings(max_examples=15, deadline=None)
@given(lengths=lengths_of_batches, reverse=st.booleans())
def test_a_batch_equals_its_sequences_one_by_one(name: str, lengths: list[int], reverse: bool) -> None:
    cell, x, state = case(name, lengths)
    outputs, last = recurra.scan(cell, x, state, reverse=reverse)
    for index, sequence in enumerate(x):
        alone = recurra.Ragged.from_list([sequence])
        row = cell.State(*(field[index : index + 1] for field in state))
        output, end = recurra.scan(cell, alone, row, reverse=reverse, engine="reference")
        assert_close(outputs[index], output.values)
        assert_states((field[index : index + 1] for field in last), end)


@every_cell
@settings(max_examples=15, deadline=None)
@given(num_steps=st.integers(0, 8), cut=st.integers(0, 8))
def test_a_sequence_in_chunks_equals_the_whole(name: str, num_steps: int, cut: int) -> None:
    cell, _, state = case(name, [1, 1])
    x = torch.randn(num_steps, 2, 3).double()
    whole, last = recurra.scan(cell, x, state)
    head, middle = recurra.scan(cell, x[:cut], state)
    tail, end = recurra.scan(cell, x[cut:], middle)
    assert_close(torch.cat([head, tail]), whole)
    assert_states(end, last)


@every_cell
@settings(max_examples=20, deadline=None)
@given(lengths=lengths_of_batches, seed=st.integers(0, 1000))
def test_a_reset_equals_a_new_sequence(name: str, lengths: list[int], seed: int) -> None:
    cell, x, state = case(name, lengths)
    at = torch.rand(x.num_steps, generator=torch.Generator().manual_seed(seed)) < 0.3
    with_resets = recurra.Ragged(x.values, x.offsets, at.nonzero().flatten())
    outputs, last = recurra.scan(cell, with_resets, state)
    for index in range(x.batch_size):
        row = cell.State(*(field[index : index + 1] for field in state))
        for t in range(int(x.lengths[index])):
            place = int(x.offsets[index]) + t
            if at[place]:
                row = cell.initial_state(1)
            output, row = cell(x.values[place : place + 1], row)
            assert_close(outputs.values[place : place + 1], output)
        assert_states((field[index : index + 1] for field in last), row)


@every_cell
def test_reverse_is_forward_on_the_reversed_sequences(name: str) -> None:
    cell, x, state = case(name, [4, 0, 6])
    x = recurra.Ragged(x.values, x.offsets, torch.tensor([2, 7]))
    outputs, last = recurra.scan(cell, x, state, reverse=True)
    mirrored, end = recurra.scan(cell, x.reverse(), state)
    assert_close(outputs.values, x.replace(mirrored.values).reverse().values)
    assert_states(last, end)


@every_cell
@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_outputs_never_depend_on_what_stands_in_the_padding(name: str, engine: str) -> None:
    cell, x, state = case(name, [4, 0, 6])
    padded = x.to_padded(value=float("nan"), num_steps=8)
    outputs, last = recurra.scan(cell, padded, state, lengths=x.lengths, engine=engine)
    ragged, end = recurra.scan(cell, x, state)
    assert outputs.shape == (8, 3, cell.output_size)
    assert_close(outputs, ragged.to_padded(num_steps=8))
    assert_states(last, end)


def test_padded_resets_are_those_of_the_ragged_batch() -> None:
    cell, x, _ = case("gru", [4, 2])
    resets = torch.zeros(4, 2, dtype=torch.bool)
    resets[1, 0] = resets[3, 1] = True  # the second stands in the padding
    outputs, _ = recurra.scan(cell, x.to_padded(), lengths=[4, 2], resets=resets)
    expected, _ = recurra.scan(cell, recurra.Ragged(x.values, x.offsets, torch.tensor([1])))
    assert_close(outputs, expected.to_padded())


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_no_steps_and_no_sequences_are_legal(engine: str) -> None:
    for name in CELLS:
        cell = CELLS[name]()
        for shape in ((0, 2, 3), (4, 0, 3), (0, 0, 3)):
            outputs, state = recurra.scan(cell, torch.randn(shape), engine=engine)
            assert outputs.shape == (*shape[:2], cell.output_size)
            assert state[0].shape == (shape[1], cell.output_size)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: recurra.scan(c, torch.randn(4, 3)), r"shape \[T, B, I=3\], got \[4, 3\]"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 5)), r"`x` must have I=3 columns for `GRU`, got \[4, 2, 5\]"),
        (lambda c: recurra.scan(c, "words"), "got a str"),
        (lambda c: recurra.scan(c, recurra.Ragged.from_list([torch.randn(4)])), r"shape \[N, I=3\], got \[4\]"),
        (lambda c: recurra.scan(c, recurra.Ragged.from_list([torch.randn(4, 3)]), lengths=[4]), "carries its own"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 3), lengths=[5, 1]), r"within 0..4, got \[5, 1\]"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 3), lengths=[1]), "must be 2 whole numbers"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 3), resets=torch.zeros(4, 2)), "must be bool of shape"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call(GRU(3, 5))


def test_an_unknown_engine_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"Unknown engine `referense`. Did you mean `reference`"):
        recurra.scan(GRU(3, 5), torch.randn(1, 1, 3), engine="referense")
