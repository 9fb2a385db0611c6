"""What is special to the LRU: its ring of eigenvalues."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import recurra
from recurra.cells import LRU
from recurra.errors import ConfigError


def eigenvalues(cell: LRU) -> torch.Tensor:
    with torch.no_grad():
        return torch.polar((-cell.nu_log.double().exp()).exp(), cell.theta_log.double().exp())


def test_eigenvalues_begin_uniform_on_the_ring() -> None:
    values = eigenvalues(LRU(2, 4000, output_size=1, r_min=0.5, r_max=0.9, max_phase=1.5))
    area = (values.abs() ** 2 - 0.25) / (0.81 - 0.25)  # equal areas hold equally many
    for uniform in (area, values.angle() / 1.5):
        assert -1e-5 < uniform.min() < 0.01
        assert 0.99 < uniform.max() < 1 + 1e-5
        assert uniform.mean().item() == pytest.approx(0.5, abs=0.02)
        assert uniform.var().item() == pytest.approx(1 / 12, rel=0.06)


def test_the_whole_disc_has_no_eigenvalue_that_is_not_finite() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        cell = LRU(2, 5000, output_size=1)
        assert all(parameter.isfinite().all() for parameter in cell.parameters())
        assert eigenvalues(cell).abs().max() <= 1


def test_the_gain_keeps_the_variance_of_what_goes_in() -> None:
    cell = LRU(4, 300, output_size=1, r_min=0.8, r_max=0.95)
    with torch.no_grad():
        _, state = recurra.scan(cell, torch.randn(100, 200, 4))
        squares = state.re**2 + state.im**2
    # |B x|² has a mean of 1
    assert squares.mean().item() == pytest.approx(1.0, rel=0.15)


def test_an_impulse_turns_and_fades_as_the_eigenvalue_says() -> None:
    cell = LRU(1, 3, r_min=0.9, r_max=0.99).double()
    x = torch.zeros(50, 1, 1).double()
    x[0] = 1.0
    with torch.no_grad():
        _, first = recurra.scan(cell, x[:1])
        _, last = recurra.scan(cell, x)
        h_first, h_last = torch.complex(*first), torch.complex(*last)
        torch.testing.assert_close(h_last, h_first * eigenvalues(cell.double()) ** 49)


def test_weights_begin_with_the_variances_of_the_paper() -> None:
    cell = LRU(50, 100, output_size=70)
    assert cell.weight_ih.shape == (200, 50)
    assert cell.weight_ih.var().item() == pytest.approx(1 / 100, rel=0.05)
    assert cell.weight_ho.shape == (70, 200)
    assert cell.weight_ho.var().item() == pytest.approx(1 / 100, rel=0.05)
    assert cell.weight_io.shape == (70, 50)
    assert cell.output_size == 70


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_min": -0.1}, "`r_min` must be a number of at least 0, got -0.1."),
        ({"r_min": 0.9, "r_max": 0.5}, "`r_max` must be above `r_min=0.9` and at most 1, got 0.5."),
        ({"r_max": 1.1}, "`r_max` must be above `r_min=0.0` and at most 1, got 1.1."),
        ({"max_phase": 0}, "`max_phase` must be a number above 0, got 0."),
        ({"max_phase": 7.0}, "`max_phase` must be at most 2π, a full turn, got 7.0."),
        ({"output_size": 0}, "`output_size` must be a whole number of at least 1, got 0."),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LRU(3, 4, **options)


def test_a_full_turn_is_a_phase() -> None:
    assert LRU(3, 4, max_phase=2 * math.pi).max_phase == 2 * math.pi
