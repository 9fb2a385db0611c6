"""Lorenz: a chaotic system of three numbers, some steps ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurra.data.series import lorenz
from recurra.tasks.prove.forecast import Forecast, Series
from recurra.tasks.prove.problem import Settings

__all__ = ["Lorenz"]


@dataclass(frozen=True)
class Lorenz(Forecast):
    """The first number x is read alone; where all three are `ahead` steps later is asked for.

    Args:
        ahead: steps of 0.02 to look ahead.
        steps: T of the series.
    """

    name: ClassVar[str] = "lorenz"
    summary: ClassVar[str] = "all three numbers of the butterfly, of which only one is seen"
    origin: ClassVar[str] = "Lorenz 1963, Journal of the Atmospheric Sciences 20"
    settings = Settings(hidden_size=64, steps=3000, batch_size=32, learning_rate=3e-3, schedule="cosine")

    test_steps: int = 1000
    ahead: int = 5
    steps: int = 5000

    input_size: ClassVar[int] = 1  # x
    output_size: ClassVar[int] = 3  # x, y and z

    def series(self) -> Series:
        """Shapes: x [steps - ahead, 1], y [steps - ahead, 3]."""
        points = lorenz(self.steps, discard=500)
        return Series(points[: -self.ahead, :1], points[self.ahead :])
