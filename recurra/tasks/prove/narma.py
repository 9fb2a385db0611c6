"""NARMA-10: the output of a nonlinear system with a memory of ten steps, told from the noise that drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recurra.data.series import narma
from recurra.tasks.prove.forecast import Forecast, Series
from recurra.tasks.prove.problem import Settings

__all__ = ["Narma"]


@dataclass(frozen=True)
class Narma(Forecast):
    """u is read; y of the next step, which depends on ten u and on ten y, is asked for.

    Args:
        order: 10 in the paper.
        steps: T of the series.
    """

    name: ClassVar[str] = "narma"
    summary: ClassVar[str] = "what a nonlinear system of order 10 makes of noise"
    origin: ClassVar[str] = "Atiya and Parlos 2000, IEEE Transactions on Neural Networks 11(3)"
    settings = Settings(hidden_size=64, steps=3000, batch_size=32, learning_rate=5e-3, schedule="cosine")

    test_steps: int = 1000
    order: int = 10
    steps: int = 6000

    input_size: ClassVar[int] = 1  # u
    output_size: ClassVar[int] = 1  # y

    def series(self) -> Series:
        """Shapes: x and y [steps - 1, 1]."""
        u, y = narma(self.steps, order=self.order)
        return Series(u[:-1], y[1:])
