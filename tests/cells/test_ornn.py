"""What is special to the network with an orthogonal matrix: it stays one, and nothing of a state is lost."""

from __future__ import annotations

import pytest
import torch

import recurra
from recurra.cells import ORNN
from recurra.errors import ConfigError
from tests.tolerance import assert_close


@pytest.mark.parametrize("size", [1, 2, 7])
def test_the_matrix_is_orthogonal_at_the_start_and_after_learning(size: int) -> None:
    cell = ORNN(3, size).double()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    for _ in range(3):
        u = cell.recurrent_matrix().detach()
        assert_close(u @ u.T, torch.eye(size).double())
        assert float(torch.linalg.det(u)) == pytest.approx(1)
        optimizer.zero_grad()
        recurra.scan(cell, torch.randn(4, 2, 3).double())[0].square().sum().backward()
        optimizer.step()


def test_it_begins_with_turns_of_pairs_of_units() -> None:
    u = ORNN(3, 400).double().recurrent_matrix().detach()
    pairs = u.view(200, 2, 200, 2).diagonal(dim1=0, dim2=2)  # [2, 2, 200]
    assert_close(pairs.square().sum(), u.square().sum())  # and nothing beside them
    angles = torch.atan2(pairs[0, 1], pairs[0, 0])
    assert float(angles.min()) < -2.9
    assert float(angles.max()) > 2.9
    assert abs(float(angles.mean())) < 0.4


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="`rate` must be"):
        ORNN(3, 4, rate=rate)


def test_without_an_input_the_length_of_a_state_and_of_its_gradient_stay_for_a_thousand_steps() -> None:
    cell = ORNN(3, 16).double()
    begin = torch.randn(2, 16).double().requires_grad_()
    outputs, state = recurra.scan(cell, torch.zeros(1000, 2, 3).double(), (begin,))
    assert_close(outputs.norm(dim=-1), begin.norm(dim=-1).expand(1000, 2))
    (gradient,) = torch.autograd.grad((state.h * torch.ones(16).double()).sum(), begin)
    assert_close(gradient.norm(dim=-1), torch.full((2,), 4.0).double())


def test_a_bias_below_zero_shuts_small_units_and_zero_stays_zero() -> None:
    cell = ORNN(1, 2).double()
    with torch.no_grad():
        cell.skew_hh.zero_()
        cell.weight_ih.zero_()
        cell.bias.copy_(torch.tensor([-1.0, 0.5]))
    begin = torch.tensor([[0.5, -2.0], [3.0, 0.0]]).double()
    _, state = cell.step(torch.zeros(2, 1).double(), cell.State(begin))
    assert state.h.tolist() == [[0.0, -2.5], [2.0, 0.0]]
