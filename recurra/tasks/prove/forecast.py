"""What the forecasts have in common: stretches of a series to learn from, and its end to be judged on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from recurra.errors import ConfigError
from recurra.ragged import Ragged
from recurra.tasks.prove.problem import NUMBERS, Answer, Batch, Problem

__all__ = ["NMSE", "Forecast", "Series"]


def _normalised(y: Tensor, target: Tensor) -> float:
    """Mean squared error by the variance of the target: who always says the mean has 1."""
    return float(mse_loss(y.double(), target.double()) / target.double().var(correction=0))


NMSE = Answer(NUMBERS.loss, NUMBERS.count, "NMSE", _normalised)


class Series(NamedTuple):
    """What is read at each step, and what is asked for. Shapes: x [T, I], y [T, O]."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Forecast(Problem):
    """A series is read, and at each step a number is asked for. A subclass says which, in `series`.

    Inputs and answers are brought to mean 0 and variance 1 of the part that is learned from.

    Args:
        test_steps: the last steps of the series, kept for the test; the network reads all that is before them first.
        window: steps of a stretch to learn from.
        warm_up: first steps of each, which do not count: nothing is known yet.
    """

    answer: ClassVar[Answer] = NMSE
    least: ClassVar[Mapping[str, int]] = {"test_steps": 2, "warm_up": 0}  # one number has no variance

    test_steps: int = 500
    window: int = 150
    warm_up: int = 50

    def __post_init__(self) -> None:
        """Check the sizes; a stretch must have steps that count."""
        super().__post_init__()
        if self.warm_up >= self.window:
            raise ConfigError(f"`warm_up` must be below `window={self.window}`, got {self.warm_up}.")

    @abstractmethod
    def series(self) -> Series:
        """The whole series, in the units of the paper."""

    @cached_property
    def _scaled(self) -> Series:
        x, y = self.series()
        if len(x) < self.window + self.test_steps:
            raise ConfigError(
                f"The series has {len(x)} steps, too few for `window={self.window}` and "
                f"`test_steps={self.test_steps}`: give more `steps`."
            )
        return Series(self._scale(x), self._scale(y))

    def _scale(self, values: Tensor) -> Tensor:
        learned = values[: -self.test_steps]
        return ((values - learned.mean(0)) / learned.std(0)).float()

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [B window, I], target [B (window - warm_up), O]."""
        x, y = self._scaled
        starts = torch.randint(len(x) - self.test_steps - self.window + 1, (batch_size,), generator=random)
        steps = starts[:, None] + torch.arange(self.window)
        rows = torch.arange(steps.numel()).view_as(steps)[:, self.warm_up :].flatten()
        return Batch(Ragged.from_padded(x[steps], batch_first=True), rows, y[steps[:, self.warm_up :]].flatten(0, 1))

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """The end of the series, after all that is before it."""
        x, y = self._scaled
        rows = torch.arange(len(x) - self.test_steps, len(x))
        return {f"last {self.test_steps}": [Batch(Ragged.from_padded(x[:, None]), rows, y[rows])]}
