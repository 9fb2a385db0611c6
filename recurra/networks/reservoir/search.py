"""A search for the four numbers that matter most to an echo state network."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.checks import check_count, check_known, check_number, check_seed
from recurra.errors import ConfigError
from recurra.networks.reservoir.network import EchoStateNetwork
from recurra.networks.reservoir.readouts import Ridge
from recurra.networks.reservoir.series import Series, as_series
from recurra.ragged import Ragged

__all__ = ["RANGES", "SearchResult", "Trial", "search"]

# where each number is drawn from; evenly in its logarithm, but for the spectral radius
RANGES: dict[str, tuple[float, float]] = {
    "spectral_radius": (0.1, 1.5),
    "leak": (0.05, 1.0),
    "input_scaling": (0.05, 5.0),
    "ridge": (1e-10, 1e-1),
}
_RIDGES = 10  # tried for each reservoir: another ridge needs no other run


@dataclass(frozen=True, order=True)
class Trial:
    """One row of the table, better before worse.

    Args:
        error: root mean square error on the end of the series, over the standard deviation of the targets there.
        spectral_radius: largest absolute eigenvalue of the reservoir.
        leak: the share of the state that is renewed in each step.
        input_scaling: factor of the input weights.
        ridge: λ of the read-out, as in `Ridge`.
    """

    error: float
    spectral_radius: float
    leak: float
    input_scaling: float
    ridge: float

    @property
    def options(self) -> dict[str, float]:
        """The four numbers, as `EchoStateNetwork` takes them."""
        return {name: getattr(self, name) for name in RANGES}


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Args:
        table: all trials, the best first.
        network: with the options of the best, fitted to the whole series.
    """

    table: list[Trial]
    network: EchoStateNetwork

    @property
    def best(self) -> Trial:
        """The first row of the table."""
        return self.table[0]


def search(
    x: Any,
    y: Any,
    *,
    trials: int = 50,
    validation: float = 0.25,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    seed: int = 0,
    **options: Any,
) -> SearchResult:
    """Random search over spectral radius, leak, input scaling and ridge.

        found = search(x, y, units=100, washout=100, trials=50)
        for trial in found.table[:5]:
            print(trial)
        future = found.network.predict(more, state=found.network.state_)

    Every trial fits the first part of each series and is judged on the rest. The reservoirs are drawn from one seed, so
    that trials differ in what is searched alone, and their eigenvalues are computed once.

    Args:
        x: inputs, as for `EchoStateNetwork.fit`.
        y: targets, likewise.
        trials: reservoirs tried, each with ten values of ridge.
        validation: share of each series, at its end, that is judged on.
        ranges: of the numbers searched, lowest and highest; `RANGES` where not given; two equal numbers fix it.
        seed: of the search, and of the reservoirs unless the options have one.
        options: all others of the network.

    Raises:
        ConfigError: a range or an option cannot be, or no trial has a solution.
        ShapeError: a series is too short for the washout.
    """
    if check_number("validation", validation, above=0) >= 1:
        raise ConfigError(f"`validation` must be above 0 and below 1, got {validation!r}.")
    check_count("trials", trials)
    spans = _check_ranges(ranges or {})
    options = {"seed": seed, **options}
    base = EchoStateNetwork().set_params(**options)
    if base.readout != "ridge" or any(name in options for name in RANGES):
        raise ConfigError("A search chooses radius, leak, scaling and ridge itself: use `ranges` to fix one of them.")
    inputs, targets = as_series("x", x, dtype=base.dtype), as_series("y", y, dtype=torch.float64)
    (early_x, late_x), (early_y, late_y) = (_cut(series, validation) for series in (inputs, targets))
    draw = torch.Generator().manual_seed(check_seed("seed", seed))
    table: list[Trial] = []
    for _ in range(trials):
        chosen = {name: _draw(spans[name], name, draw) for name in RANGES if name != "ridge"}
        ridges = sorted({_draw(spans["ridge"], "ridge", draw) for _ in range(_RIDGES)})
        network = EchoStateNetwork().set_params(**options, **chosen, ridge=ridges[-1]).fit(early_x, early_y)
        table += [Trial(error, **chosen, ridge=ridge) for ridge, error in _judge(network, ridges, late_x, late_y)]
    table.sort()
    return SearchResult(table, EchoStateNetwork().set_params(**options, **table[0].options).fit(x, y))


def _check_ranges(given: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    for name, span in given.items():
        check_known(name, RANGES, f"A search has no range `{name}`")
        if not _is_range(span):
            raise ConfigError(f"The range `{name}` must be two numbers above 0, the lower first, got {span!r}.")
    return {**RANGES, **given}


def _is_range(span: Any) -> bool:
    pair = isinstance(span, Sequence) and len(span) == 2 and all(isinstance(bound, int | float) for bound in span)
    return pair and 0 < span[0] <= span[1] < math.inf


def _draw(span: tuple[float, float], name: str, draw: torch.Generator) -> float:
    low, high = span
    share = float(torch.rand((), generator=draw, dtype=torch.float64))
    return low + share * (high - low) if name == "spectral_radius" else low * (high / low) ** share


def _cut(series: Series, validation: float) -> tuple[Ragged, Ragged]:
    """The first part of each series, and the rest."""
    parts = series.ragged.to_list()
    ends = [max(1, min(len(part) - 1, round((1 - validation) * len(part)))) for part in parts]
    first = Ragged.from_list([part[:end] for part, end in zip(parts, ends, strict=True)])
    return first, Ragged.from_list([part[end:] for part, end in zip(parts, ends, strict=True)])


def _judge(network: EchoStateNetwork, ridges: list[float], x: Ragged, y: Ragged) -> list[tuple[float, float]]:
    """(ridge, error) of a fitted network with each ridge that has a solution; the reservoirs run once for all."""
    drawn = network.drawn_
    readout = drawn.readout
    assert isinstance(readout, Ridge)
    solved: dict[float, Tensor] = {}
    for ridge in ridges:
        with contextlib.suppress(ConfigError):  # too small for these features; the larger ones are judged
            solved[ridge] = readout.solve(ridge).to(network.dtype)
    if drawn.feedback:  # each read-out has its own run
        outputs = [drawn.outputs_with(weights, x, drawn.state)[0] for weights in solved.values()]
    else:
        together = drawn.outputs_with(torch.cat(list(solved.values()), dim=2), x, drawn.state)[0]
        outputs = list(together.split(y.values.shape[1], dim=2))
    scale = y.values.var(correction=0).clamp_min(1e-300)
    errors = [float(((one.mean(dim=0) - y.values).square().mean() / scale).sqrt()) for one in outputs]
    return [(ridge, error if math.isfinite(error) else math.inf) for ridge, error in zip(solved, errors, strict=True)]
