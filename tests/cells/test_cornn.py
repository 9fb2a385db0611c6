"""What is special to coRNN: its units swing as oscillators do, and stay bounded."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import CoRNN
from recurra.errors import ConfigError


def alone(**options: Any) -> Any:
    """Oscillators that nothing drives."""
    cell = CoRNN(1, 2, **options).double()
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    return cell


def pushed(cell: Any, num_steps: int) -> Any:
    """Positions [T, H] of oscillators that begin at 1 and 2, at rest."""
    begin = cell.State(torch.tensor([[1.0, 2.0]]).double(), torch.zeros(1, 2).double())
    with torch.no_grad():
        return recurra.scan(cell, torch.zeros(num_steps, 1, 1).double(), begin)[0][:, 0]


def test_an_oscillator_alone_swings_with_the_root_of_gamma() -> None:
    y = pushed(alone(dt=0.001, gamma=4.0, epsilon=0.0), 5000)
    time = 0.001 * torch.arange(1, 5001)
    assert (y[:, 0] - (2.0 * time).cos()).abs().max() < 0.003


def test_an_oscillator_without_damping_neither_fades_nor_grows() -> None:
    y = pushed(alone(dt=0.1, gamma=4.0, epsilon=0.0), 20_000)
    assert abs(float(y[-1000:].abs().max()) - 2.0) < 0.02


@pytest.mark.parametrize("damping", ["explicit", "implicit"])
def test_damping_makes_it_fade(damping: str) -> None:
    y = pushed(alone(dt=0.01, gamma=4.0, epsilon=1.0, damping=damping), 2000)
    assert y[-100:].abs().max() < 2 * math.exp(-0.5 * 19) * 1.1  # the envelope of a damped oscillator is e^(-ε t / 2)


def test_implicit_damping_is_stable_where_explicit_damping_is_not() -> None:
    strong = {"dt": 0.5, "gamma": 1.0, "epsilon": 10.0}
    assert pushed(alone(**strong, damping="implicit"), 200).abs().max() <= 2.0
    assert not pushed(alone(**strong, damping="explicit"), 200).abs().max() < 1e6


@pytest.mark.parametrize("damping", ["explicit", "implicit"])
def test_strongly_coupled_and_driven_units_stay_bounded(damping: Any) -> None:
    cell = CoRNN(3, 8, damping=damping).double()
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=5.0)
    with torch.no_grad():
        y, state = recurra.scan(cell, 10 * torch.randn(2000, 2, 3).double())
    # a force within ±1 moves a damped oscillator that does not swing past its rest (ε² > 4γ) by at most 1/γ
    assert y.abs().max() < 1 / cell.gamma * 1.05
    assert state.z.abs().max() < 2 / cell.epsilon


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dt": 0}, "`dt` must be a number above 0, got 0."),
        ({"gamma": -1.0}, "`gamma` must be a number of at least 0, got -1.0."),
        ({"epsilon": float("inf")}, "`epsilon` must be a number of at least 0, got inf."),
        ({"damping": "implict"}, "`damping` must be 'explicit' or 'implicit', got 'implict'. Did you mean `implicit`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CoRNN(3, 4, **options)
