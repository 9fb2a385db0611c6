"""What is special to the simple RNN: its activation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import ACTIVATIONS, RNN
from recurra.errors import ConfigError
from tests.tolerance import assert_close


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_by_name_is_applied_to_the_sum_of_products(name: str) -> None:
    cell = RNN(3, 4, activation=name)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    output, _ = cell(x, cell.State(h))
    total = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    assert_close(output, ACTIVATIONS[name](total))


def test_any_function_or_module_is_an_activation() -> None:
    cell, x = RNN(3, 4, activation=torch.cos), torch.randn(2, 3)
    total = x @ cell.weight_ih.T + cell.bias_ih + cell.bias_hh
    assert_close(cell(x)[0], torch.cos(total))
    learned = RNN(3, 4, activation=nn.PReLU())
    assert "activation.weight" in learned.state_dict()
    clone = learned.clone()
    assert clone.activation is not learned.activation


def test_an_unknown_activation_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"Unknown activation `tahn`. Did you mean `tanh`"):
        RNN(3, 4, activation="tahn")


def test_relu_is_torchs_relu_network() -> None:
    cell = RNN(3, 4, activation="relu")
    layer = nn.RNN(3, 4, nonlinearity="relu")
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = torch.randn(5, 2, 3)
    for engine in ("torch", "reference"):
        assert_close(recurra.scan(cell, x, engine=engine)[0], layer(x)[0])
