"""What is special to the MGU: one gate for both, and how little of it there need be."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import GRU, MGU, RecurrentDropout
from recurra.errors import ConfigError
from tests.tolerance import assert_close


def numbers(cell: Any) -> int:
    return sum(parameter.numel() for parameter in cell.parameters())


def test_it_has_two_thirds_of_the_weights_of_a_gru_and_its_variants_fewer() -> None:
    I, H = 5, 7
    assert 3 * numbers(MGU(I, H)) == 2 * numbers(GRU(I, H, bias="single"))
    assert numbers(MGU(I, H)) - numbers(MGU(I, H, variant="mgu1")) == H * I
    assert numbers(MGU(I, H, variant="mgu1")) - numbers(MGU(I, H, variant="mgu2")) == H
    assert numbers(MGU(I, H, variant="mgu1")) - numbers(MGU(I, H, variant="mgu3")) == H * H


def test_a_closed_gate_keeps_the_state_and_an_open_one_makes_it_an_elman_network() -> None:
    cell = MGU(3, 4, variant="mgu3").double()
    x, begin = torch.randn(6, 2, 3).double(), torch.randn(2, 4).double()
    nn.init.constant_(cell.bias[:4], -1000.0)
    assert torch.equal(recurra.scan(cell, x, begin)[1].h, begin)
    nn.init.constant_(cell.bias[:4], 1000.0)
    elman = recurra.cells.RNN(3, 4, bias="single").double()
    elman.load_state_dict({"weight_ih": cell.weight_ih, "weight_hh": cell.weight_hh, "bias_ih": cell.bias[4:]})
    assert_close(recurra.scan(cell, x, begin)[0], recurra.scan(elman, x, begin)[0])


def test_it_is_a_gru_whose_two_gates_are_tied() -> None:
    cell, gru = MGU(3, 4).double(), GRU(3, 4, reset="before", bias="single").double()
    for name, weight in (("weight_ih", cell.weight_ih), ("weight_hh", cell.weight_hh), ("bias_ih", cell.bias)):
        f, n = weight.detach().chunk(2)
        getattr(gru, name).data = torch.cat([f, -f, n])  # z of a GRU is what it keeps, f here what it takes
    x = torch.randn(6, 2, 3).double()
    assert_close(recurra.scan(cell, x)[0], recurra.scan(gru, x)[0])


@pytest.mark.parametrize("variant", ["mgu", "mgu1", "mgu2", "mgu3"])
def test_weights_begin_as_those_of_a_gru(variant: Any) -> None:
    for parameter in MGU(30, 100, variant=variant).parameters():
        assert 0.09 < parameter.abs().max() <= 1 / math.sqrt(100)


def test_recurrent_dropout_leaves_what_is_carried_on_whole() -> None:
    cell = MGU(3, 50).double()
    nn.init.constant_(cell.bias[:50], -1000.0)  # the gate is closed: the state is kept, dropped units too
    begin = torch.randn(2, 50).double()
    _, state = recurra.scan(RecurrentDropout(cell, 0.5), torch.randn(3, 2, 3).double(), (begin,))
    assert torch.equal(state.h, begin)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "mgu4"}, "`variant` must be 'mgu', 'mgu1', 'mgu2' or 'mgu3', got 'mgu4'."),
        ({"reset": "befor"}, "`reset` must be 'before' or 'after', got 'befor'. Did you mean `before`"),
        ({"variant": "mgu3", "bias": False}, "The gate of `variant='mgu3'` is its bias alone: `bias` must be True"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MGU(3, 4, **options)
