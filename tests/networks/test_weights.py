"""Weights from torch's modules and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import recurra
import recurra.nn
from recurra.cells import GRU, LSTM, RNN, LearnedInitialState, RecurrentDropout, WeightDrop, Zoneout
from recurra.errors import ConfigError
from recurra.networks.recurrent import Recurrent
from recurra.networks.weights import load_torch, to_torch
from tests.tolerance import assert_close

KINDS: dict[str, tuple[Any, Any, Any]] = {
    "RNN": (RNN, nn.RNN, nn.RNNCell),
    "LSTM": (LSTM, nn.LSTM, nn.LSTMCell),
    "GRU": (GRU, nn.GRU, nn.GRUCell),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def outputs_of(module: Any, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = module(x)[0]
    return result


@every_kind
@pytest.mark.parametrize("bias", [True, False])
def test_a_stack_of_two_directions_computes_what_torchs_does(kind: str, bias: bool) -> None:
    cell, layer, _ = KINDS[kind]
    theirs = layer(4, 6, num_layers=3, bidirectional=True, bias=bias).double()
    ours = Recurrent(cell(4, 6, bias=bias), num_layers=3, bidirectional=True).double()
    load_torch(ours, theirs)
    x = torch.randn(5, 2, 4).double()
    assert_close(outputs_of(ours, x), outputs_of(theirs, x), relative=1e-12)
    back = to_torch(ours)
    assert type(back) is layer
    for name, value in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)


@every_kind
def test_a_cell_computes_what_torchs_cell_does(kind: str) -> None:
    cell, layer, single = KINDS[kind]
    theirs = single(4, 6)
    for source in (theirs, layer(4, 6)):
        ours = cell(4, 6)
        load_torch(ours, source)
        assert torch.equal(ours.weight_hh, next(v for k, v in source.state_dict().items() if "weight_hh" in k))
    load_torch(ours, theirs)
    x = torch.randn(2, 4)
    want = theirs(x)
    assert_close(ours(x)[0], want if isinstance(want, torch.Tensor) else want[0])
    back = to_torch(ours)
    assert type(back) is single
    assert torch.equal(back.weight_ih, theirs.weight_ih)
    load_torch(recurra.nn.LSTM(4, 6) if kind == "LSTM" else layer(4, 6), ours)


def test_a_projected_stack_and_a_relu_network_go_there_and_back() -> None:
    x = torch.randn(5, 2, 4)
    theirs = nn.LSTM(4, 6, num_layers=2, proj_size=3)
    ours = Recurrent(LSTM(4, 6, proj_size=3), num_layers=2)
    load_torch(ours, theirs)
    packed = nn.utils.rnn.pack_sequence([x[:, 0], x[:3, 1]])  # padded, torch warns of projections
    want, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0])
    assert_close(ours(x, lengths=[5, 3])[0], want)
    back = to_torch(ours)
    for name, value in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], value)
    relu = nn.RNN(4, 6, nonlinearity="relu")
    mine = RNN(4, 6, activation="relu")
    load_torch(mine, relu)
    assert_close(recurra.scan(mine, x)[0], outputs_of(relu, x))
    assert to_torch(mine).nonlinearity == "relu"
    load_torch(mine, nn.RNNCell(4, 6, nonlinearity="relu"))


def test_weights_go_below_wrappers_and_come_from_below_them() -> None:
    theirs = nn.LSTM(4, 6, num_layers=2)
    ours = Recurrent(LSTM(4, 6), num_layers=2, weight_drop=0.5, recurrent_dropout=0.3)
    load_torch(ours, theirs)
    x = torch.randn(5, 2, 4)
    assert_close(outputs_of(ours.eval(), x), outputs_of(theirs, x))
    back = to_torch(ours)
    assert not back.training
    assert torch.equal(back.weight_hh_l1, theirs.weight_hh_l1)
    load_torch(WeightDrop(RecurrentDropout(Zoneout(LSTM(4, 6), 0.1), 0.5), 0.5), nn.LSTMCell(4, 6))


def test_dropout_and_type_are_kept_on_the_way_to_torch() -> None:
    back = to_torch(Recurrent(GRU(4, 6), num_layers=2, dropout=0.25).double())
    assert back.dropout == 0.25
    assert back.weight_ih_l0.dtype == torch.float64


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_two_biases_become_their_sum_where_there_is_room_for_one(kind: str) -> None:
    theirs = KINDS[kind][1](4, 6)
    cell = KINDS[kind][0](4, 6, bias="single")
    load_torch(cell, theirs)
    x = torch.randn(5, 2, 4)
    assert_close(recurra.scan(cell, x)[0], outputs_of(theirs, x))
    assert_close(outputs_of(to_torch(Recurrent(cell)), x), outputs_of(theirs, x))


def test_a_target_with_biases_takes_weights_without_as_zeros() -> None:
    cell = GRU(4, 6)
    load_torch(cell, nn.GRU(4, 6, bias=False))
    assert cell.bias_ih is not None
    assert cell.bias_hh is not None
    assert not cell.bias_ih.any()
    assert not cell.bias_hh.any()


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [
        (lambda: LSTM(4, 6), lambda: nn.GRU(4, 6), "those of GRU.* but the cell there is LSTM"),
        (lambda: LSTM(4, 6, peephole=True), lambda: nn.LSTM(4, 6), r"cell there is LSTM\(peephole=True\)"),
        (lambda: GRU(4, 6, reset="before"), lambda: nn.GRU(4, 6), "cell there is GRU"),
        (lambda: RNN(4, 6, activation="sigmoid"), lambda: nn.RNN(4, 6), "activation='sigmoid'"),
        (lambda: LSTM(4, 6), lambda: nn.LSTM(4, 7), r"`weight_ih` of layer 0 must have shape \[24, 4\]"),
        (lambda: LSTM(4, 6, bias=False), lambda: nn.LSTM(4, 6), "have a `bias_.h`, but the cell there, LSTM, has none"),
        (lambda: GRU(4, 6, bias="single"), lambda: nn.GRU(4, 6), "have a `bias_hh`"),
        (lambda: LSTM(4, 6, proj_size=2), lambda: nn.LSTM(4, 6), "has a `weight_hr`, but the weights have none"),
        (
            lambda: LSTM(4, 6),
            lambda: nn.LSTM(4, 6, 2),
            r"has 1 layer of 1 direction\(s\), the weights are for 2 layers",
        ),
        (lambda: LSTM(4, 6), lambda: nn.Linear(4, 6), "got a Linear"),
        (lambda: LSTM(4, 6), lambda: nn.LSTM(4, 6).state_dict(), "got a OrderedDict: load it into such a module first"),
        (
            lambda: Recurrent(LSTM(4, 6), bidirectional=True, num_layers=2),
            lambda: nn.LSTM(4, 7, 2, bidirectional=True),
            "of layer 0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_copied(target: Any, source: Any, message: str) -> None:
    module = target()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(ConfigError, match=message):
        load_torch(module, source())
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())


class Users(recurra.Cell):
    State = GRU.State


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: LSTM(4, 6, layer_norm=True), "torch has no module for LSTM"),
        (lambda: LSTM(4, 6, proj_size=2), "put the cell into a `Recurrent` first"),
        (lambda: GRU(4, 6, reset="before"), "torch has no module for GRU"),
        (lambda: Zoneout(GRU(4, 6), 0.1), "torch has no module for Zoneout"),
        (lambda: LearnedInitialState(GRU(4, 6)), "torch has no module for LearnedInitialState"),
        (lambda: Recurrent(GRU(6, 6), num_layers=2, residual=True), "no module with `residual`"),
        (lambda: Recurrent([GRU(4, 6), GRU(6, 7)]), "whose layers differ"),
        (lambda: Recurrent([GRU(4, 6), LSTM(6, 6)]), "whose layers differ"),
        (lambda: Users(4, 6), "have no cell `Users`"),
    ],
)
def test_what_torch_has_not_is_refused(source: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        to_torch(source())
