"""Santa Fe: the intensity of a laser in a chaotic state, one step ahead. Real data, read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from recurra.errors import DataError
from recurra.tasks.prove.files import find_file
from recurra.tasks.prove.forecast import Forecast, Series
from recurra.tasks.prove.problem import Settings

__all__ = ["SantaFe"]


@dataclass(frozen=True)
class SantaFe(Forecast):
    """Points 1 to 9,000 of series A with its continuation; the last 1,000 of them are the test.

    Args:
        data: the file santafe_laser.npy, or a folder that holds it.
        steps: points that are used.
    """

    name: ClassVar[str] = "santa-fe"
    summary: ClassVar[str] = "the next pulse of a chaotic laser, as it was measured (needs --data)"
    origin: ClassVar[str] = "Weigend and Gershenfeld 1993, Time Series Prediction, series A"
    settings = Settings(hidden_size=64, steps=3000, batch_size=32, learning_rate=3e-3, schedule="cosine")

    test_steps: int = 1000
    data: str | None = None
    steps: int = 9000

    input_size: ClassVar[int] = 1  # the intensity
    output_size: ClassVar[int] = 1  # the intensity

    def series(self) -> Series:
        """Shapes: x and y [steps - 1, 1].

        Raises:
            DataError: the file is not there, or holds no series of that many numbers.
        """
        path = find_file(self.name, "the Santa Fe laser series", self.data, ["santafe_laser.npy"])
        try:
            values = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float64)).reshape(-1, 1)
        except (ValueError, TypeError, EOFError):
            raise DataError(f"`{path}` must be an array of numbers, as `numpy.save` writes one; it is none.") from None
        if len(values) < self.steps:
            raise DataError(f"`{path}` must hold at least {self.steps} numbers, got {len(values)}.")
        values = values[: self.steps]
        is_finite = bool(values.isfinite().all())
        if not is_finite or values.min() == values.max():
            what = "are all the same" if is_finite else "have a NaN or an infinity among them"
            raise DataError(f"The first {self.steps} numbers of `{path}` must be a series; they {what}.")
        return Series(values[:-1], values[1:])
