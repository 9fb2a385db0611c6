"""The laws of `scan`, of every engine: ragged, chunks, resets, reverse, padding."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import recurra
from recurra.cells import GRU, LSTM, RNN
from recurra.errors import CompileError, ConfigError, ShapeError
from tests.engine.engines import assert_engines_agree
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
@settings(max_examples=15)
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
@settings(max_examples=15)
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
@settings(max_examples=20)
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
@settings(max_examples=20)
@given(lengths=lengths_of_batches, seed=st.integers(0, 1000), engine=st.sampled_from(["auto", "reference"]))
def test_reverse_is_forward_on_the_reversed_sequences(name: str, lengths: list[int], seed: int, engine: str) -> None:
    cell, x, state = case(name, lengths)
    at = torch.rand(x.num_steps, generator=torch.Generator().manual_seed(seed)) < 0.3
    x = recurra.Ragged(x.values, x.offsets, at.nonzero().flatten())
    outputs, last = recurra.scan(cell, x, state, reverse=True, engine=engine)
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
        (lambda c: recurra.scan(c, torch.randn(4, 3)), r"shape \[T, B, I=3\] for `GRU`, got \[4, 3\]"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 5)), r"shape \[T, B, I=3\] for `GRU`, got \[4, 2, 5\]"),
        (lambda c: recurra.scan(c, "words"), "got a str"),
        (
            lambda c: recurra.scan(c, recurra.Ragged.from_list([torch.randn(4)])),
            r"shape \[N, I=3\] for `GRU`, got \[4\]",
        ),
        (lambda c: recurra.scan(c, recurra.Ragged.from_list([torch.randn(4, 3)]), lengths=[4]), "carries its own"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 3), lengths=[5, 1]), r"within 0..4, got \[5, 1\]"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 3), lengths=[1]), "must be 2 whole numbers"),
        (lambda c: recurra.scan(c, torch.randn(4, 2, 3), resets=torch.zeros(4, 2)), "must be bool of shape"),
    ],
)
def test_what_does_not_fit_is_refused(call: Any, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        call(GRU(3, 5))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (nn.LSTM(3, 5), "the module LSTM, which is called itself: `recurra.networks.load_torch` .* `recurra.LSTM`"),
        (nn.GRUCell(3, 5), "the module GRUCell, .* `recurra.GRU`, and `recurra.nn.GRU` takes the place of torch's"),
        (recurra.nn.GRU(3, 5), "the module GRU, which is called itself"),
        (LSTM, r"the class `LSTM`: make one, `LSTM\(...\)`"),
        (nn.LSTM, "the class `LSTM`[.]"),
        ("lstm", "a str"),
    ],
)
def test_what_is_no_cell_is_refused_with_the_way_to_one(cell: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"`cell` must be a recurra.Cell, got {message}"):
        recurra.scan(cell, torch.randn(4, 2, 3))
    if not isinstance(cell, str):
        with pytest.raises(ConfigError, match=f"`cells` must be a recurra.Cell, got {message}"):
            recurra.Recurrent(cell)


def test_nested_and_packed_sequences_are_told_the_way_to_a_ragged() -> None:
    x = recurra.Ragged.from_list([torch.randn(4, 3), torch.randn(2, 3)])
    for other, name in (
        (x.to_nested(), "nested tensor: give `Ragged.from_nested"),
        (x.to_packed(), "PackedSequence: "),
    ):
        for run in (functools.partial(recurra.scan, GRU(3, 5)), recurra.Recurrent(GRU(3, 5))):
            with pytest.raises(ShapeError, match=f"`x` is a {name}"):
                run(other)


def test_an_unknown_engine_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"Unknown engine `referense`. Did you mean `reference`"):
        recurra.scan(GRU(3, 5), torch.randn(1, 1, 3), engine="referense")


# --- inputs and outputs of any shape ---------------------------------------------------------------------------------


class Level(NamedTuple):
    level: Tensor


class Picture(recurra.Cell):
    """A user's cell of pictures: each place forgets at its own rate, and the answer leaves out the first column."""

    State = Level

    def __init__(self, input_size: int, hidden_size: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.decay = nn.Parameter(torch.randn(hidden_size, *size))
        self.gain = nn.Parameter(torch.randn(hidden_size, 1, 1))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.input_size, *self.size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return (self.hidden_size, self.size[0], self.size[1] - 1)

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Level:
        like = self.decay
        return Level(torch.zeros(batch_size, *like.shape, dtype=dtype or like.dtype, device=device or like.device))

    def step(self, x: Tensor, state: Level) -> tuple[Tensor, Level]:
        level = torch.tanh(self.decay.sigmoid() * state.level + self.gain * x.mean(1, keepdim=True))
        return level[..., 1:], Level(level)


class Spreading(Picture):
    """The same with a running maximum, which has no compiled form."""

    def step(self, x: Tensor, state: Level) -> tuple[Tensor, Level]:
        spread = state.level.cummax(-1).values
        return super().step(x, Level(spread))


class Total(recurra.Cell):
    """One number a step in, one out: there are no features at all."""

    State = Level
    input_shape = ()
    output_shape = ()

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> Level:
        return Level(torch.zeros(batch_size, dtype=dtype, device=device))

    def step(self, x: Tensor, state: Level) -> tuple[Tensor, Level]:
        return state.level + x, Level(state.level + x)


@pytest.mark.parametrize("engine", ["reference", "compiled"])
def test_pictures_obey_the_laws_of_sequences(engine: str) -> None:
    cell = Picture(3, 2, (4, 5)).double()
    x = torch.randn(6, 3, 3, 4, 5).double()
    spoiled = x.clone()
    spoiled[2:, 1] = float("nan")
    outputs, last = recurra.scan(cell, spoiled, lengths=[6, 2, 0], engine=engine)
    assert outputs.shape == (6, 3, 2, 4, 4)
    assert last.level.shape == (3, 2, 4, 5)
    assert not outputs[2:, 1].any()
    for row, length in enumerate([6, 2]):
        alone, end = recurra.scan(cell, recurra.Ragged.from_list([x[:length, row]]), engine="reference")
        assert_close(outputs[:length, row], alone.values)
        assert_close(last.level[row], end.level[0])
    resets = torch.zeros(6, 3, dtype=torch.bool)
    resets[4] = True
    anew, _ = recurra.scan(cell, x, resets=resets, engine=engine)
    assert_close(anew[4:], recurra.scan(cell, x[4:], engine=engine)[0])
    backward, _ = recurra.scan(cell, x, reverse=True, engine=engine)
    assert_close(backward, recurra.scan(cell, x.flip(0), engine=engine)[0].flip(0))
    empty, _ = recurra.scan(cell, x[:0], engine=engine)
    assert empty.shape == (0, 3, 2, 4, 4)


def test_pictures_are_compiled_with_their_gradients() -> None:
    assert_engines_agree(Picture(3, 2, (4, 5)).double(), [4, 0, 6], resets=torch.tensor([2]))


def test_a_cell_without_features_is_run() -> None:
    x = torch.randn(5, 2).double()
    outputs, last = recurra.scan(Total(), x, engine="reference")
    assert_close(outputs, x.cumsum(0))
    assert_close(last.level, x.sum(0))
    with pytest.raises(ShapeError, match=r"shape \[T, B\] for `Total`, got \[5, 2, 1\]"):
        recurra.scan(Total(), x[..., None])


def test_pictures_of_another_size_are_refused() -> None:
    cell = Picture(3, 2, (4, 5))
    with pytest.raises(ShapeError, match=r"shape \[T, B, I=3, 4, 5\] for `Picture`, got \[2, 1, 3, 5, 4\]"):
        recurra.scan(cell, torch.randn(2, 1, 3, 5, 4))
    with pytest.raises(ShapeError, match=r"shape \[N, I=3, 4, 5\] for `Picture`, got \[2, 60\]"):
        recurra.scan(cell, recurra.Ragged.from_list([torch.randn(2, 60)]))

    class Whole(Picture):
        def step(self, x: Tensor, state: Level) -> tuple[Tensor, Level]:
            _, after = super().step(x, state)
            return after.level, after

    with pytest.raises(
        ShapeError, match=r"`Whole.step` must return an output of shape \[B=1, O=2, 4, 4\], got \[1, 2, 4"
    ):
        recurra.scan(Whole(3, 2, (4, 5)), torch.randn(2, 1, 3, 4, 5), engine="reference")


def test_pictures_without_compiled_form_run_on_the_reference_engine_and_it_says_so_once() -> None:
    cell = Spreading(3, 2, (4, 5)).double()
    x = torch.randn(4, 2, 3, 4, 5).double()
    with pytest.warns(
        UserWarning, match=r"`Spreading.step` \(test_scan.py:\d+: `spread = .*`\): `cummax` has no comp"
    ) as said:
        outputs, _ = recurra.scan(cell, x)
    assert said[0].filename == __file__  # at the line of the call, not at one of ours
    assert_close(recurra.scan(cell, x)[0], outputs)  # and no second warning
    with pytest.raises(CompileError, match="`cummax` has no compiled form"):
        recurra.scan(cell, x, engine="compiled")


def test_the_gradient_of_a_long_loop_is_taken_from_every_step_once() -> None:
    cell = Picture(1, 1, (1, 2)).double()
    x = torch.randn(50, 1, 1, 1, 2).double().requires_grad_()
    outputs, _ = recurra.scan(cell, x, engine="reference")
    outputs.sum().backward()
    nodes, seen = [outputs.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [before for before, _ in node.next_functions]
    assert sum("IndexSelect" in type(node).__name__ for node in seen) <= 2  # of x and of the state, not of each step


@pytest.mark.parametrize("reverse", [False, True])
def test_tracers_of_torch_can_follow_a_scan_of_padded_inputs(reverse: bool) -> None:
    cell = GRU(3, 5).double().requires_grad_(False)

    def outputs(x: Tensor) -> Tensor:
        return recurra.scan(cell, x, reverse=reverse)[0]

    x, other = torch.randn(2, 4, 2, 3).double()
    assert_close(make_fx(outputs)(other)(x), outputs(x))
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert outputs(torch.empty(4, 2, 3).double()).shape == (4, 2, 5)
