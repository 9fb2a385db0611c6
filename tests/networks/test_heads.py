"""The output layer of textbooks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from recurra.cells import ACTIVATIONS
from recurra.errors import ConfigError, ShapeError
from recurra.networks.heads import OUTPUT_ACTIVATIONS, OutputLayer
from recurra.ragged import Ragged
from tests.tolerance import assert_close


@pytest.mark.parametrize("name", OUTPUT_ACTIVATIONS)
def test_y_is_g_of_w_h_plus_b(name: str) -> None:
    layer = OutputLayer(4, 3, name).double()
    h = torch.randn(5, 2, 4, dtype=torch.float64)

    y = layer(h)

    plain = torch.einsum("oh,tbh->tbo", layer.weight_hy, h) + layer.bias_hy
    g = {"identity": lambda v: v, "softmax": lambda v: v.softmax(-1), "log_softmax": lambda v: v.log_softmax(-1)}
    assert_close(y, g[name](plain) if name in g else getattr(functional, name)(plain))


def test_it_takes_whatever_a_cell_takes() -> None:
    assert set(ACTIVATIONS) < set(OUTPUT_ACTIVATIONS)


def test_a_ragged_batch_goes_through_all_at_once() -> None:
    layer = OutputLayer(4, 3, torch.tanh)
    h = Ragged.from_list([torch.randn(2, 4), torch.randn(0, 4), torch.randn(3, 4)])

    y = layer(h)

    assert_close(y.values, layer(h.values))
    assert torch.equal(y.offsets, h.offsets)


def test_without_bias_there_is_none() -> None:
    layer = OutputLayer(4, 3, bias=False)
    h = torch.randn(2, 4)

    assert layer.bias_hy is None
    assert list(layer.state_dict()) == ["weight_hy"]
    assert_close(layer(h), functional.linear(h, layer.weight_hy))


def test_weights_begin_within_the_root_of_the_hidden_size() -> None:
    layer = OutputLayer(100, 50)

    assert 0.09 < layer.weight_hy.abs().max() <= 0.1
    assert layer.bias_hy is not None
    assert 0.05 < layer.bias_hy.abs().max() <= 0.1


def test_an_unknown_activation_gets_its_neighbour() -> None:
    with pytest.raises(ConfigError, match=r"Unknown activation `sotfmax`\. Did you mean `softmax`"):
        OutputLayer(4, 3, "sotfmax")


def test_a_wrong_size_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"`h` must have shape \[..., H=4\], got \[2, 5\]"):
        OutputLayer(4, 3)(torch.zeros(2, 5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 0), "`output_size` must be a whole number of at least 1, got 0"),
        ((4, 1.5), "`output_size` must be a whole number of at least 1, got 1.5"),
        (("4", 3), "`hidden_size` must be a whole number of at least 1, got '4'"),
        ((4, 3, 2), "`activation` must be a function of a tensor or one of elu, .*, got 2"),
    ],
)
def test_sizes_and_activations_that_cannot_be_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OutputLayer(*arguments)


def test_no_activation_is_the_identity() -> None:
    layer = OutputLayer(4, 3, None)
    h = torch.randn(2, 4)
    assert torch.equal(layer(h), torch.nn.functional.linear(h, layer.weight_hy, layer.bias_hy))
    assert "activation='identity'" in repr(layer)


def test_the_print_says_sizes_and_activation() -> None:
    assert "4, 3, activation='tanh', bias=True" in repr(OutputLayer(4, 3, torch.tanh))
