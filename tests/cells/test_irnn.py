"""What is special to the IRNN: where its weights begin, and what that does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import IRNN, RNN
from recurra.errors import ConfigError
from tests.tolerance import assert_close


def test_weights_begin_as_in_the_paper() -> None:
    cell = IRNN(200, 100)
    assert torch.equal(cell.weight_hh, torch.eye(100))
    assert not cell.bias_ih.any()
    assert not cell.bias_hh.any()
    assert 0.00097 < cell.weight_ih.std() < 0.00103


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_an_orthogonal_start_keeps_lengths_up_to_the_scale(scale: float) -> None:
    weight = IRNN(4, 50, init="orthogonal", scale=scale).double().weight_hh
    assert (weight @ weight.T / scale**2 - torch.eye(50)).abs().max() < 1e-5
    assert (weight - weight.diag().diag()).abs().max() > 0.1 * scale


def test_at_the_start_a_state_is_kept_for_a_thousand_steps_and_so_is_its_gradient() -> None:
    cell = IRNN(3, 4)
    begin = torch.rand(2, 4).requires_grad_()
    outputs, state = recurra.scan(cell, torch.zeros(1000, 2, 3), begin)
    assert torch.equal(outputs, begin.expand(1000, 2, 4))
    (gradient,) = torch.autograd.grad(state.h.sum(), begin)
    assert torch.equal(gradient, torch.ones(2, 4))


def test_a_scale_below_one_forgets() -> None:
    _, state = recurra.scan(IRNN(3, 4, scale=0.5), torch.zeros(10, 2, 3), torch.ones(2, 4))
    assert torch.equal(state.h, torch.full((2, 4), 0.5**10))


def test_it_is_a_rectified_rnn_in_everything_but_its_start() -> None:
    ours, plain = IRNN(3, 4).double(), RNN(3, 4, activation="relu").double()
    torchs = nn.RNN(3, 4, nonlinearity="relu").double()
    plain.load_state_dict(ours.state_dict())
    torchs.load_state_dict({f"{name}_l0": weight for name, weight in ours.state_dict().items()})
    x = torch.randn(5, 2, 3).double()
    outputs, _ = recurra.scan(ours, x, engine="torch")
    assert_close(outputs, recurra.scan(plain, x, engine="reference")[0])
    assert_close(outputs, torchs(x)[0])


def test_the_citation_names_the_paper_of_the_orthogonal_start_too() -> None:
    assert [source.year for source in recurra.cells.cell_sources("irnn")] == [2015, 2014]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "orthogonol"}, "`init` must be 'identity' or 'orthogonal', got 'orthogonol'. Did you mean"),
        ({"scale": 0.0}, "`scale` must be a number above 0, got 0.0."),
        ({"input_std": -0.1}, "`input_std` must be a number of at least 0, got -0.1."),
        ({"activation": "rectifier"}, "Unknown activation `rectifier`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IRNN(3, 4, **options)
