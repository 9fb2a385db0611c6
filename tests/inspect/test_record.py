"""What is recorded is what the network does, in the order of the batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from recurra import Cell, Ragged, Recurrent, scan
from recurra.cells import GRU, LSTM, RNN, Zoneout
from recurra.errors import ConfigError
from recurra.inspect import gradient_flow, passage_gradients, record, saturation, step_jacobians
from recurra.networks import DotAttention, EncoderDecoder
from tests.tolerance import assert_close

LENGTHS = [3, 5, 0, 1]


def test_what_cannot_be_looked_into_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`network` must be an nn\.Module in which cells run, got a str"):
        gradient_flow("gru", torch.zeros(3, 1, 2))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`gates` must be gates by name, as of a `Passage`, got a Tensor"):
        saturation(torch.zeros(3, 1, 2))  # type: ignore[arg-type]


def test_states_are_those_before_each_step_in_the_order_of_the_batch() -> None:
    cell = GRU(2, 4).double()
    x = torch.randn(5, 4, 2).double()

    with record(cell) as passages:
        Recurrent(cell)(x, lengths=LENGTHS)

    (passage,) = passages
    states = passage.states("h")
    assert states.shape == (5, 4, 4)
    for row, length in enumerate(LENGTHS):
        state = cell.initial_state(1)
        for t in range(length):
            assert_close(states[t, row], state.h[0].detach())
            _, state = cell(x[t, row : row + 1], state)
        assert states[length:, row].isnan().all()


class CountingState(NamedTuple):
    h: Tensor
    steps: Tensor
    is_even: Tensor


class Counting(Cell):
    """Its state holds a whole number and a truth, too."""

    State = CountingState
    input_size = hidden_size = 2

    def initial_state(self, batch_size: int, **kind: Any) -> CountingState:
        return CountingState(
            torch.zeros(batch_size, 2),
            torch.zeros(batch_size, dtype=torch.int64),
            torch.ones(batch_size, dtype=torch.bool),
        )

    def step(self, x: Tensor, state: CountingState) -> tuple[Tensor, CountingState]:
        return x, CountingState(x, state.steps + 1, ~state.is_even)


def test_counts_and_truths_of_a_state_are_numbers_that_can_end() -> None:
    with record(Counting()) as passages:
        scan(Counting(), torch.randn(3, 2, 2), lengths=[3, 1])

    nan = float("nan")
    for name, expected in (("steps", [[0, 0], [1, nan], [2, nan]]), ("is_even", [[1, 1], [0, nan], [1, nan]])):
        states = passages[0].states(name)
        assert states.dtype == torch.float64
        torch.testing.assert_close(states, torch.tensor(expected).double(), equal_nan=True)


def test_outputs_are_those_of_any_engine() -> None:
    network = Recurrent(LSTM(2, 4), num_layers=2, bidirectional=True)
    x = torch.randn(5, 3, 2)
    expected, _ = network(x)

    with record(network) as passages:
        outputs, _ = network(x)

    assert_close(outputs, expected)
    assert [passage.name for passage in passages] == ["layers.0.0", "layers.0.1", "layers.1.0", "layers.1.1"]
    assert_close(passages[2].padded(passages[2].outputs), expected[:, :, :4].detach())
    assert {passage.kind for passage in passages} == {"LSTM"}


def test_the_kind_of_a_cell_is_that_inside_its_wrappers() -> None:
    network = Recurrent(LSTM(2, 4), weight_drop=0.1, zoneout=0.1)
    with record(network) as passages:
        network(torch.randn(2, 1, 2))
    assert passages[0].kind == "LSTM"


def test_a_passage_is_shown_without_its_numbers() -> None:
    cell = GRU(2, 4)
    with record(cell, gates=True) as passages:
        Recurrent(cell)(torch.randn(50, 1, 2))
    assert len(passages[0].gates) == 3
    assert len(repr(passages[0])) < 200


def test_outside_the_block_engines_are_their_own_again() -> None:
    network = Recurrent(RNN(2, 3), engine="torch")
    with record(network) as passages:
        network(torch.randn(2, 1, 2))
    network(torch.randn(2, 1, 2))
    assert len(passages) == 1


def test_under_input_feeding_the_cells_of_the_decoder_are_seen_and_the_memory_is_no_state_of_theirs() -> None:
    words = torch.nn.Embedding(5, 3)
    decoder = Recurrent(Zoneout(LSTM(6, 4), 0.1), num_layers=2)
    options = {"target_embedding": words, "source_embedding": words, "input_feeding": True}
    network = EncoderDecoder(Recurrent(LSTM(3, 4), num_layers=2), decoder, DotAttention(4), **options).double().eval()
    source = Ragged.from_list([torch.tensor([1, 2, 3, 4]), torch.tensor([4, 2])])
    target = Ragged.from_list([torch.tensor([0, 1, 2]), torch.tensor([3, 3, 0, 1, 2, 4])])
    expected, _ = network(source, target)

    with torch.enable_grad(), record(network, gates=True) as passages:
        logits, _ = network(source, target)

    assert_close(logits.values, expected.values)
    names = [passage.name for passage in passages]
    assert names == ["encoder.layers.0.0", "encoder.layers.1.0", "decoder.layers.0.0", "decoder.layers.1.0"]
    for passage in passages[2:]:
        assert passage.kind == "LSTM"
        assert passage.cell.State._fields == ("h", "c")
        assert passage.states("h").shape == (6, 2, 4)
        assert passage.states("h")[3:, 0].isnan().all()
        assert "i (σ)" in passage.gates
        assert all(norm > 0 for norm in passage_gradients(passage).norms)
        assert step_jacobians(passage.cell, torch.stack([x[0] for x in passage.inputs])).spectral_radius.shape == (6,)
    network(source, target)
    assert len(passages[3].outputs) == 6  # outside nothing is watched


def test_gates_have_the_names_of_the_step() -> None:
    torch.manual_seed(0)
    network = Recurrent(Zoneout(GRU(2, 3), 0.1)).eval()

    with record(network, gates=True) as passages:
        network(torch.randn(4, 2, 2))

    assert list(passages[0].gates) == ["r (σ)", "z (σ)", "n (tanh)"]
    assert passages[0].kind == "GRU"
    for steps in passages[0].gates.values():
        assert [values.shape for values in steps] == [(2, 3)] * 4


def test_a_call_inside_a_longer_line_goes_by_its_own_text() -> None:
    with record(LSTM(2, 3), gates=True) as passages:
        Recurrent(LSTM(2, 3))(torch.randn(1, 1, 2))
    assert list(passages[0].gates) == ["i (σ)", "f (σ)", "tanh(g) (tanh)", "o (σ)", "tanh(self.norm_c(c)) (tanh)"]


def test_a_ragged_batch_of_nothing_is_recorded_as_nothing() -> None:
    with record(GRU(2, 3)) as passages:
        Recurrent(GRU(2, 3))(Ragged.from_list([torch.zeros(0, 2)]))
    assert passages[0].num_steps == 0
    assert passages[0].states("h").shape == (0, 1)


def test_an_unknown_field_is_refused() -> None:
    with record(GRU(2, 3)) as passages:
        Recurrent(GRU(2, 3))(torch.randn(1, 1, 2))
    with pytest.raises(ConfigError, match="The state of `GRU` has no field `c`"):
        passages[0].states("c")
