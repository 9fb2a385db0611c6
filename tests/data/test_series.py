"""Computed series: they solve their equations, and are the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from recurra.data.series import lorenz, mackey_glass, narma
from recurra.errors import ConfigError
from tests.tolerance import assert_close


def test_without_a_past_mackey_glass_begins_as_an_ordinary_equation() -> None:
    # up to t = tau the delayed value is constant, and x(t) = c / gamma + (x0 - c / gamma) exp(-gamma t)
    feed = 0.2 * 1.2 / (1 + 1.2**10)
    t = torch.arange(17, dtype=torch.float64)
    expected = feed / 0.1 + (1.2 - feed / 0.1) * torch.exp(-0.1 * t)
    assert_close(mackey_glass(17)[:, 0], expected)


@pytest.mark.parametrize("tau", [17.0, 30.0])
def test_finer_steps_do_not_change_mackey_glass(tau: float) -> None:
    coarse, fine = mackey_glass(80, tau=tau, substeps=10), mackey_glass(80, tau=tau, substeps=40)
    assert float((coarse - fine).abs().max()) < 1e-5
    assert float((mackey_glass(40, tau=tau, interval=2.0, substeps=20) - coarse[::2]).abs().max()) < 1e-5


def test_mackey_glass_stays_on_its_attractor_and_seeds_differ() -> None:
    series = mackey_glass(1000, discard=50, seed=1)
    assert series.shape == (1000, 1)
    assert series.dtype == torch.float64
    assert 0.2 < float(series.min()) < 0.6 < 1.2 < float(series.max()) < 1.5
    assert torch.equal(series, mackey_glass(1000, discard=50, seed=1))
    assert not torch.allclose(series, mackey_glass(1000, discard=50, seed=2))
    assert_close(mackey_glass(30, discard=20), mackey_glass(50)[20:])


def test_lorenz_has_the_slope_of_its_equations() -> None:
    points = lorenz(2001, interval=1e-4, discard=5000)
    x, y, z = points[1:-1].unbind(1)
    slope = torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=1)
    assert float(((points[2:] - points[:-2]) / 2e-4 - slope).abs().max()) < 1e-3
    assert_close(lorenz(5, discard=7), lorenz(12)[7:])


def test_lorenz_rests_at_its_fixed_point() -> None:
    rest = (72**0.5, 72**0.5, 27.0)  # x = y = sqrt(beta (rho - 1)), z = rho - 1
    assert float((lorenz(20, start=rest) - torch.tensor(rest)).abs().max()) < 1e-5


def test_narma_solves_its_equation() -> None:
    u, y = narma(200, seed=3)
    assert u.shape == y.shape == (200, 1)
    assert 0 <= float(u.min()) < float(u.max()) < 0.5
    assert float(y[:10].abs().max()) == 0
    for t in range(9, 199):
        wanted = 0.3 * y[t] + 0.05 * y[t] * y[t - 9 : t + 1].sum() + 1.5 * u[t - 9] * u[t] + 0.1
        assert_close(y[t + 1], wanted)
    assert torch.equal(narma(200, seed=3)[1], y)


@pytest.mark.parametrize(
    "make",
    [
        lambda: mackey_glass(0),
        lambda: mackey_glass(5, tau=0),
        lambda: mackey_glass(5, tau=0.05),
        lambda: lorenz(5, interval=0.0),
        lambda: lorenz(5, discard=-1),
        lambda: narma(5, order=0),
        lambda: mackey_glass(10.5),  # type: ignore[arg-type]
        lambda: mackey_glass(5, tau="17"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_computed_is_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_a_narma_that_grows_without_bound_is_refused() -> None:
    with pytest.raises(ConfigError, match="order 60 grows without bound within 3000 steps"):
        narma(3000, order=60)
