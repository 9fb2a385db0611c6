"""Time series of textbooks, computed: Mackey-Glass, Lorenz and NARMA."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.checks import check_count, check_number
from recurra.errors import ConfigError

__all__ = ["lorenz", "mackey_glass", "narma"]


def mackey_glass(
    steps: int,
    *,
    tau: float = 17.0,
    beta: float = 0.2,
    gamma: float = 0.1,
    power: float = 10.0,
    start: float = 1.2,
    interval: float = 1.0,
    substeps: int = 10,
    discard: int = 0,
    seed: int | None = None,
) -> Tensor:
    """The Mackey-Glass delay equation, the usual first test of a forecaster; chaotic from a delay of 17 on.

        dx/dt = β x(t - τ) / (1 + x(t - τ)^n) - γ x(t)

    Integrated by the Runge-Kutta method of order 4; between two points of the past, the delayed value is interpolated
    by the cubic through their values and slopes.

    Args:
        steps: T, numbers that are given.
        tau: τ, the delay; 17 and 30 are the usual ones.
        beta: β.
        gamma: γ.
        power: n.
        start: the value at all times up to 0.
        interval: time between two numbers.
        substeps: steps of the integration in an interval; each is at most τ long.
        discard: numbers left out at the beginning, while the series comes to its attractor.
        seed: draws the value up to 0 uniformly within 0.1 of `start`, for a series that is another with each seed.

    Returns: [T, 1], float64.

    Source: Mackey and Glass 1977, "Oscillation and chaos in physiological control systems".
    """
    _check_steps(steps, discard, interval, substeps)
    if interval / substeps > check_number("tau", tau, above=0):
        raise ConfigError(f"`tau` must be at least `interval` / `substeps` = {interval / substeps:g}, got {tau!r}.")
    if seed is not None:
        start += 0.2 * float(torch.rand((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)) - 0.1
    h = interval / substeps

    def slope(x: float, delayed: float) -> float:
        return beta * delayed / (1 + delayed**power) - gamma * x

    values = [start]
    slopes = [slope(start, start)]

    def past(time: float) -> float:
        """The value at a time, in substeps, up to the last one known."""
        if time <= 0:
            return start
        k = min(int(time), len(values) - 2)
        s = time - k
        a, b = values[k], values[k + 1]
        p, q = h * slopes[k], h * slopes[k + 1]
        # the cubic through both ends with their slopes (Hermite)
        return a + s * (p + s * (3 * (b - a) - 2 * p - q + s * (2 * (a - b) + p + q)))

    lag = tau / h
    for k in range((discard + steps - 1) * substeps):
        x = values[-1]
        first, middle, last = past(k - lag), past(k + 0.5 - lag), past(k + 1 - lag)
        k1 = slope(x, first)
        k2 = slope(x + 0.5 * h * k1, middle)
        k3 = slope(x + 0.5 * h * k2, middle)
        k4 = slope(x + h * k3, last)
        values.append(x + h * (k1 + 2 * k2 + 2 * k3 + k4) / 6)
        slopes.append(slope(values[-1], last))
    return torch.tensor(values[discard * substeps :: substeps][:steps], dtype=torch.float64)[:, None]


def lorenz(
    steps: int,
    *,
    sigma: float = 10.0,
    rho: float = 28.0,
    beta: float = 8 / 3,
    start: tuple[float, float, float] = (1.0, 1.0, 1.0),
    interval: float = 0.02,
    substeps: int = 4,
    discard: int = 0,
) -> Tensor:
    """The Lorenz system: three numbers on the attractor that looks like a butterfly.

        dx/dt = σ (y - x),    dy/dt = x (ρ - z) - y,    dz/dt = x y - β z

    Integrated by the Runge-Kutta method of order 4.

    Args:
        steps: T, points that are given.
        sigma: σ.
        rho: ρ.
        beta: β.
        start: the first point.
        interval: time between two points.
        substeps: steps of the integration in an interval.
        discard: points left out at the beginning, while the series comes to its attractor.

    Returns: [T, 3], float64.

    Source: Lorenz 1963, "Deterministic nonperiodic flow".
    """
    _check_steps(steps, discard, interval, substeps)
    h = interval / substeps

    def slope(p: tuple[float, ...]) -> tuple[float, ...]:
        x, y, z = p
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    def moved(p: tuple[float, ...], d: tuple[float, ...], by: float) -> tuple[float, ...]:
        return tuple(a + by * b for a, b in zip(p, d, strict=True))

    point: tuple[float, ...] = start
    points = [point]
    for _ in range((discard + steps - 1) * substeps):
        k1 = slope(point)
        k2 = slope(moved(point, k1, h / 2))
        k3 = slope(moved(point, k2, h / 2))
        k4 = slope(moved(point, k3, h))
        mean = tuple((a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
        point = moved(point, mean, h)
        points.append(point)
    return torch.tensor(points[discard * substeps :: substeps][:steps], dtype=torch.float64)


def narma(steps: int, *, order: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The NARMA task: a system of order n, driven by noise, whose output must be told from the input.

        y(t+1) = 0.3 y(t) + 0.05 y(t) Σ_{i<n} y(t-i) + 1.5 u(t-n+1) u(t) + 0.1        u uniform in [0, 0.5)

    A few draws of u make y grow without bound; they are drawn anew.

    Args:
        steps: T.
        order: n, 10 in the paper.
        seed: of u.

    Returns: u and y, both [T, 1], float64; y[t] depends on u up to t - 1, and is 0 for the first n steps.

    Raises:
        ConfigError: with this order the system grows without bound for every u that was drawn.

    Source: Atiya and Parlos 2000, "New results on recurrent network training".
    """
    check_count("steps", steps)
    check_count("order", order)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(20):
        u = torch.rand(steps, generator=draw, dtype=torch.float64) / 2
        y = _narma(u.tolist(), order)
        if all(abs(value) < 10 for value in y):
            return u[:, None], torch.tensor(y, dtype=torch.float64)[:, None]
    raise ConfigError(f"A NARMA system of order {order} grows without bound within {steps} steps: take a lower order.")


def _narma(u: list[float], order: int) -> list[float]:
    y = [0.0] * len(u)
    for t in range(order - 1, len(u) - 1):
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * sum(y[t - order + 1 : t + 1]) + 1.5 * u[t - order + 1] * u[t] + 0.1
        if abs(y[t + 1]) >= 10:  # it will never come back
            break
    return y


def _check_steps(steps: int, discard: int, interval: float, substeps: int) -> None:
    check_count("steps", steps)
    check_count("discard", discard, least=0)
    check_number("interval", interval, above=0)
    check_count("substeps", substeps)
