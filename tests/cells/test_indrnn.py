"""What is special to the IndRNN: units that do not see each other, and the bound on their weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import IndRNN
from recurra.errors import ConfigError
from tests.engine.engines import assert_engines_agree
from tests.tolerance import assert_close


def beyond(**options: Any) -> Any:
    """A cell of two units that add up their input, with u beyond the bound on either side."""
    cell = IndRNN(1, 2, activation="identity", **options).double()
    nn.init.ones_(cell.weight_ih)
    cell.weight_hh.data = torch.tensor([3.0, -3.0]).double()
    return cell


def test_units_do_not_see_each_other() -> None:
    cell = IndRNN(3, 4, activation="tanh").double()
    x, begin = torch.randn(1, 3).double(), torch.randn(1, 4).double()
    matrix = torch.autograd.functional.jacobian(lambda h: cell(x, cell.State(h))[0], begin)[0, :, 0]
    assert matrix.diag().all()
    assert torch.equal(matrix, matrix.diag().diag())


@pytest.mark.parametrize("num_steps", [1, 20, 784])
def test_recurrent_weights_begin_within_the_bound_of_the_paper(num_steps: int) -> None:
    bound = 2 ** (1 / num_steps)
    anything = IndRNN(3, 4000, num_steps=num_steps).weight_hh
    assert anything.min() >= 0
    assert anything.min() < 0.01
    assert bound * 0.99 < anything.max() <= bound
    long = IndRNN(3, 4000, num_steps=num_steps, memory="long").weight_hh
    assert 1 / bound <= long.min()
    assert long.max() <= bound * (1 + 1e-6)
    assert long.max() - long.min() > 0.98 * (bound - 1 / bound)


def test_other_weights_begin_uniform_and_biases_zero() -> None:
    cell = IndRNN(25, 400)
    assert 0.98 / math.sqrt(25) < cell.weight_ih.abs().max() <= 1 / math.sqrt(25)
    assert not cell.bias.any()


def test_over_the_given_steps_a_gradient_grows_to_gamma_at_most() -> None:
    cell = beyond(num_steps=50, gamma=5.0)
    begin = torch.zeros(1, 2).double().requires_grad_()
    _, state = recurra.scan(cell, torch.zeros(50, 1, 1).double(), begin)
    (gradient,) = torch.autograd.grad(state.h.sum(), begin)
    assert_close(gradient, torch.full((1, 2), 5.0).double())


def test_without_a_number_of_steps_the_bound_is_one() -> None:
    outputs, _ = recurra.scan(beyond(), torch.ones(4, 1, 1).double())
    assert_close(outputs[:, 0], torch.tensor([[1.0, 1], [2, 0], [3, 1], [4, 0]]).double())


def test_the_bound_can_be_left_to_the_user() -> None:
    outputs, _ = recurra.scan(beyond(recurrent_clip=False), torch.ones(3, 1, 1).double())
    assert_close(outputs[:, 0], torch.tensor([[1.0, 1], [4, -2], [13, 7]]).double())


def test_a_weight_beyond_the_bound_still_learns_and_clip_brings_it_back() -> None:
    cell = beyond()
    recurra.scan(cell, torch.ones(2, 1, 1).double())[0].sum().backward()
    assert_close(cell.weight_hh.grad, torch.ones(2).double())  # h' = 1 + u h from h = 1
    cell.clip()
    assert cell.weight_hh.tolist() == [1.0, -1.0]
    assert cell.weight_hh.requires_grad


def test_training_moves_a_weight_back_from_beyond_the_bound() -> None:
    cell = beyond()
    optimizer = torch.optim.SGD([cell.weight_hh], lr=0.1)
    for _ in range(200):
        outputs, _ = recurra.scan(cell, torch.ones(2, 1, 1).double())
        optimizer.zero_grad()
        (outputs[-1] - 1.25).square().sum().backward()  # 1 + u = 1.25
        optimizer.step()
    assert_close(cell.weight_hh.detach(), torch.full((2,), 0.25).double(), relative=1e-6)


def test_engines_agree_where_the_bound_cuts() -> None:
    cell = IndRNN(3, 7, num_steps=10).double()
    nn.init.normal_(cell.weight_hh, std=2.0)
    assert (cell.weight_hh.abs() > cell.bound).sum() > 1
    assert_engines_agree(cell, [6, 0, 3])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_steps": 0}, "`num_steps` must be a whole number of at least 1, got 0."),
        ({"num_steps": 2.5}, "`num_steps` must be a whole number of at least 1, got 2.5."),
        ({"gamma": 0.5}, "`gamma` must be a number of at least 1, got 0.5."),
        ({"memory": "short"}, "`memory` must be 'any' or 'long', got 'short'."),
        ({"activation": "rel"}, "Unknown activation `rel`. Did you mean `relu`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        IndRNN(3, 4, **options)
