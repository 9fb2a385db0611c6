"""What is special to minGRU and minLSTM."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import MinGRU, MinLSTM
from recurra.errors import ConfigError

both = pytest.mark.parametrize("kind", [MinGRU, MinLSTM])


@both
def test_weights_begin_as_those_of_a_linear_layer(kind: Any) -> None:
    cell = kind(16, 200)
    for parameter in cell.parameters():
        assert parameter.abs().max() <= 1 / 4
        assert parameter.std().item() == pytest.approx(1 / (4 * math.sqrt(3)), rel=0.1)


@both
def test_a_positive_candidate_keeps_the_state_above_zero(kind: Any) -> None:
    cell = kind(3, 8, candidate="positive")
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=3.0)
    with torch.no_grad():
        y, _ = recurra.scan(cell, torch.randn(50, 4, 3))
        linear, _ = recurra.scan(kind(3, 8), torch.randn(50, 4, 3))
    assert y.min() > 0
    assert linear.min() < 0


def test_the_positive_candidate_has_no_jump_at_zero() -> None:
    cell = MinGRU(1, 1, candidate="positive").double()
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        cell.bias[0] = 50.0  # all of the candidate
        cell.weight_ih[1] = 1.0
        below, at = (cell(torch.tensor([[v]]).double())[0].item() for v in (-1e-12, 0.0))
    assert at == pytest.approx(0.5)
    assert below == pytest.approx(at, abs=1e-11)


@both
def test_gates_of_minus_a_thousand_make_no_nan(kind: Any) -> None:
    cell = kind(2, 3)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(cell.bias, -1000.0)
    x = torch.randn(5, 2, 2, requires_grad=True)
    y, _ = recurra.scan(cell, x)
    y.sum().backward()
    assert y.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in cell.parameters())


def test_gates_that_are_normalised_keep_a_constant_as_it_is() -> None:
    cell = MinLSTM(3, 5).double()
    with torch.no_grad():
        cell.weight_ih[-5:], cell.bias[-5:] = 0.0, 2.0  # the candidate is 2, whatever the input
        begin = cell.State(torch.full((4, 5), 2.0).double())
        y, _ = recurra.scan(cell, torch.randn(30, 4, 3).double(), begin)
    torch.testing.assert_close(y, torch.full_like(y, 2.0))


def test_a_forget_bias_lets_it_remember() -> None:
    cell = MinLSTM(3, 5, normalise=False, forget_bias=20.0)
    assert torch.equal(cell.bias[:5], torch.full((5,), 20.0))
    assert cell.bias[5:].abs().max() < 1
    x = torch.randn(50, 2, 3)
    with torch.no_grad():
        from_one, _ = recurra.scan(cell, x, cell.State(torch.ones(2, 5)))
        from_zero, _ = recurra.scan(cell, x)
    assert (from_one[-1] - from_zero[-1] - 1).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (MinGRU, {"candidate": "positiv"}, "`candidate` must be 'linear' or 'positive', got 'positiv'. Did you mean"),
        (MinLSTM, {"candidate": "log"}, "`candidate` must be 'linear' or 'positive', got 'log'."),
        (MinLSTM, {"forget_bias": math.nan}, "`forget_bias` must be a number, got nan."),
    ],
)
def test_what_cannot_be_is_refused(kind: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(3, 4, **options)
