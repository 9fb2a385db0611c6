"""Mackey-Glass: a chaotic series with a delay, one step ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import mse_loss

from recurra.data.series import mackey_glass
from recurra.tasks.prove.forecast import Forecast, Series
from recurra.tasks.prove.problem import NUMBERS, Answer, Published, Settings

__all__ = ["MackeyGlass"]


@dataclass(frozen=True)
class MackeyGlass(Forecast):
    """At each step the value that comes `ahead` steps later is asked for; the result is in the units of the series.

    Args:
        tau: the delay of the equation; 17 and 30 are the usual ones.
        ahead: steps to look ahead.
        steps: T of the series.
    """

    name: ClassVar[str] = "mackey-glass"
    summary: ClassVar[str] = "the next value of a chaotic series with a delay"
    origin: ClassVar[str] = "Mackey and Glass 1977, Science 197; as a forecast: Jaeger 2001, GMD report 148"
    answer = Answer(NUMBERS.loss, NUMBERS.count, "RMSE", NUMBERS.judge)
    published = (Published("esn", "0.00203", "README of reservoirpy (tau 17, 100 units)"),)
    settings = Settings(hidden_size=64, steps=3000, batch_size=32, learning_rate=5e-3, schedule="cosine")

    test_steps: int = 400
    tau: int = 17
    ahead: int = 1
    steps: int = 2000

    input_size: ClassVar[int] = 1  # one number
    output_size: ClassVar[int] = 1  # one number

    def series(self) -> Series:
        """Shapes: x and y [steps - ahead, 1]."""
        values = mackey_glass(self.steps, tau=self.tau)
        return Series(values[: -self.ahead], values[self.ahead :])

    def judge(self, y: Tensor, target: Tensor) -> float:
        """The root of the mean squared error, in the units of the series."""
        scale = float(self.series().y[: -self.test_steps].std())
        return scale * float(mse_loss(y.double(), target.double()).sqrt())
