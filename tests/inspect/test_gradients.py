"""Gradients through time: against autograd by hand, and verdicts on cells whose fate is known."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import recurra
from recurra import Recurrent
from recurra.cells import CELLS, GRU, LSTM, RNN, Zoneout, make_cell
from recurra.errors import ConfigError, DataError
from recurra.inspect import GradientFlow, gradient_flow, input_influence, step_jacobians
from tests.tolerance import assert_close


class State(NamedTuple):
    h: Tensor


class Decay(recurra.Cell):
    """h' = a h + x: the gradient k steps back is a to the power of k, times what weighs the output."""

    State = State

    def __init__(self, input_size: int, hidden_size: int, a: float = 0.5) -> None:
        super().__init__()
        self.a = a

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.a * state.h + x
        return h, State(h)


def flow_of(norms: list[float], gated: bool = False) -> GradientFlow:
    return GradientFlow("layers.0.0", "RNN", gated, norms)


GATED = {
    *("cfc", "convgru", "convlstm", "dnc", "gru", "lem", "lstm", "mgu", "mingru", "minlstm", "mlstm", "ntm", "qrnn"),
    *("slstm", "sru"),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_gated_where_a_sigmoid_multiplies_in_its_step(name: str) -> None:
    needed = {"size": (4, 4)} if name.startswith("conv") else {}
    cell = make_cell(name, 3, 4, **needed)
    (flow,) = gradient_flow(cell, torch.randn(2, 2, *cell.input_shape))
    assert flow.gated == (name in GATED)


@pytest.mark.parametrize("name", ["rnn", "jordan", "clockwork", "indrnn", "irnn", "esn"])
def test_a_sigmoid_that_is_the_state_is_no_gate(name: str) -> None:
    options = {"output_activation": "sigmoid"} if name == "jordan" else {"leak": 0.5} if name == "esn" else {}
    cell = make_cell(name, 3, 4, activation="sigmoid", **options)
    assert not gradient_flow(cell, torch.randn(2, 2, 3))[0].gated


class Mix(recurra.Cell):
    """A leaky unit whose share of the new is a number, a weight, or what came in says."""

    State = State

    def __init__(self, input_size: int, hidden_size: int, share: str) -> None:
        super().__init__()
        self.w, self.a = torch.nn.Linear(input_size, hidden_size), torch.nn.Parameter(torch.zeros(hidden_size))
        self.share = share

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        new = self.w(x)
        first, _ = new.repeat(1, 2).sigmoid().chunk(2, -1)
        a = {"number": 0.5, "weight": self.a.sigmoid(), "input": first}[self.share]
        h = (1 - a) * state.h + a * new
        return h, State(h)


@pytest.mark.parametrize(("share", "gated"), [("number", False), ("weight", False), ("input", True)])
def test_the_gates_of_a_cell_of_ones_own_are_seen(share: str, gated: bool) -> None:
    for cell in (Mix(3, 3, share), Zoneout(Mix(3, 3, share), 0.1)):
        assert gradient_flow(cell, torch.randn(2, 2, 3))[0].gated == gated


@pytest.mark.parametrize("a", [0.5, 1.0, 1.5])
def test_the_factor_of_a_plain_decay_is_its_rate(a: float) -> None:
    (flow,) = gradient_flow(Decay(3, 3, a), torch.randn(12, 4, 3).double())
    assert flow.factor == pytest.approx(a, rel=1e-9)
    assert flow.norms[5] == pytest.approx(flow.norms[0] * a**5, rel=1e-9)


def test_norms_are_those_of_autograd_by_hand_for_each_sequence() -> None:
    cell = LSTM(2, 3).double()
    lengths = [4, 2]
    x = torch.randn(4, 2, 2).double()

    class Fixed(Recurrent):
        def forward(self, x: Any, *_: Any, **__: Any) -> Any:
            return super().forward(x, lengths=lengths)

    (flow,) = gradient_flow(Fixed(cell), x, seed=3)

    weights = torch.randn(2, 3, generator=torch.Generator().manual_seed(3)).double()
    squares: dict[int, list[float]] = {lag: [] for lag in (1, 2, 3, 4)}
    for row, length in enumerate(lengths):
        state = cell.initial_state(1)
        before = []
        for t in range(length):
            state = cell.State(*(field.detach().requires_grad_() if t == 0 else field.clone() for field in state))
            before.append(state)
            output, state = cell(x[t, row : row + 1], state)
        found = torch.autograd.grad((output[0] * weights[row]).sum(), [one for each in before for one in each])
        for t in range(length):
            squares[length - t].append(sum(float(g.square().sum()) for g in found[2 * t : 2 * t + 2]))
    for lag, each in squares.items():
        assert flow.norms[lag - 1] == pytest.approx(math.sqrt(sum(each) / len(each)), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "verdict"),
    [
        ("rnn", {}, "vanishes"),
        ("irnn", {"scale": 1.1}, "explodes"),
        ("lstm", {"forget_bias": 6.0}, "holds"),
    ],
)
def test_elman_vanishes_relu_explodes_and_an_open_lstm_holds(name: str, options: dict[str, Any], verdict: str) -> None:
    (flow,) = gradient_flow(make_cell(name, 8, 16, **options).double(), torch.randn(120, 4, 8).double())
    assert flow.verdict == verdict
    assert bool(flow.advice()) == (verdict != "holds")


def test_layers_and_directions_have_each_their_own() -> None:
    flows = gradient_flow(Recurrent(GRU(2, 3), num_layers=2, bidirectional=True), torch.randn(11, 2, 2))
    assert [flow.layer for flow in flows] == ["layers.0.0", "layers.0.1", "layers.1.0", "layers.1.1"]
    assert all(flow.gated for flow in flows)


def test_advice_names_the_layer_and_a_remedy_that_fits_the_cell() -> None:
    falling = [10.0**-k for k in range(12)]
    assert "gated cell" in flow_of(falling).advice()
    assert "`layers.0.0` (RNN): 12 steps back it is 1e-11" in flow_of(falling).advice()
    assert "forget bias" in flow_of(falling, gated=True).advice()
    assert "clip_norm" in flow_of([2.0**k for k in range(12)]).advice()
    assert flow_of([1.0] * 12).advice() == ""
    assert flow_of([1.0, math.inf] * 6).verdict == "explodes"


def test_a_dead_gradient_vanishes() -> None:
    dead = flow_of([0.0] * 12)
    assert dead.verdict == "vanishes"
    assert "one step back it is 0 already, so nothing is learned from earlier steps. What helps: " in dead.advice()
    assert flow_of([0.0] * 9).advice() == ""
    late = flow_of([0.0] + [1.0] * 11)
    assert (late.verdict, "grows to inf of what" in late.advice()) == ("explodes", True)
    cell = RNN(2, 3)
    torch.nn.init.zeros_(cell.weight_hh)
    (flow,) = gradient_flow(cell, torch.randn(12, 2, 2))
    assert flow.verdict == "vanishes"


def test_short_sequences_and_dead_gradients_have_no_factor() -> None:
    assert flow_of([1.0] * 9).verdict == "too short"
    assert math.isnan(flow_of([1.0]).factor)
    assert math.isnan(flow_of([0.0] * 12).factor)
    assert flow_of([0.0] * 12).to_json()["factor"] is None
    assert flow_of([0.0] * 12).reach == 0
    with pytest.raises(DataError, match="at least one step"):
        gradient_flow(RNN(2, 3), torch.zeros(0, 1, 2))


@pytest.mark.parametrize("layer", [torch.nn.GRU, recurra.nn.GRU])
def test_a_network_without_cells_is_told_the_way_to_one(layer: Any) -> None:
    with pytest.raises(ConfigError, match=r"No recurra.Cell runs in `GRU`: `recurra.networks.load_torch` copies"):
        gradient_flow(layer(2, 3), torch.zeros(4, 1, 2))


def test_the_memory_horizon_of_a_decay_is_where_its_power_falls_below_the_part() -> None:
    influence = input_influence(Decay(2, 2, 0.5), torch.randn(30, 3, 2).double())
    assert influence.norms[3] == pytest.approx(influence.norms[0] / 8, rel=1e-9)
    assert influence.horizon(0.01) == 6  # 1/64 is above a hundredth, 1/128 below
    with pytest.raises(DataError, match="at least one step"):
        input_influence(RNN(2, 3), torch.zeros(0, 1, 2))


@pytest.mark.parametrize("cell", [GRU(2, 3), LSTM(2, 3)], ids=["GRU", "LSTM"])
def test_jacobians_are_those_of_autograd_along_the_sequence(cell: Any) -> None:
    cell = cell.double()
    x = torch.randn(4, 2).double()
    found = step_jacobians(cell, x)

    state = cell.initial_state(1)
    for t in range(4):
        flat = torch.cat(list(state), 1)[0].detach()

        def step(flat: Tensor, row: Tensor = x[t]) -> Tensor:
            fields = flat[None].split(3, 1)
            return torch.cat(list(cell(row[None], cell.State(*fields))[1]), 1)[0]

        expected = torch.autograd.functional.jacobian(step, flat)
        assert_close(found.matrices[t], expected)
        assert_close(found.spectral_radius[t], torch.linalg.eigvals(expected).abs().max())
        assert_close(found.singular_values[t], torch.linalg.svdvals(expected))
        _, state = cell(x[t : t + 1], state)


def test_a_batch_is_no_sequence() -> None:
    with pytest.raises(recurra.ShapeError, match=r"one sequence of shape \[T, 2\]"):
        step_jacobians(GRU(2, 3), torch.randn(4, 1, 2))
