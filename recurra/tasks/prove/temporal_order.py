"""Temporal order: two symbols that matter stand far apart among many that do not; in which order did they come?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from recurra.tasks.prove.problem import CLASSES, Batch, Problem, Published, Settings, join, pieces, symbols

__all__ = ["TemporalOrder"]

BEGIN, END, X, Y = 0, 1, 2, 3  # then four symbols that distract
PAPER = "Hochreiter and Schmidhuber 1997, Neural Computation 9(8), experiment 6a (1 of 2560 wrong)"


@dataclass(frozen=True)
class TemporalOrder(Problem):
    """A begin, distractors with an X or Y early and another one in the middle, an end; the classes are XX, XY, YX, YY.

    Args:
        length: shortest sequence; the longest has a tenth more steps, rounded down.
        test_size: sequences of the test.
    """

    name: ClassVar[str] = "temporal-order"
    summary: ClassVar[str] = "X then Y, or Y then X? Two symbols far apart among a hundred"
    origin: ClassVar[str] = "Hochreiter and Schmidhuber 1997, Neural Computation 9(8), experiment 6a"
    answer = CLASSES
    published = (Published("lstm", "99.96", PAPER),)
    settings = Settings(hidden_size=32, steps=3000, batch_size=32, learning_rate=3e-3, goal=1e-4)
    cell_settings: ClassVar = {
        # gates that begin with memories of all lengths; with those of a plain start nothing is learned in 3,000 updates
        "lstm": {"options": {"chrono": 110}, "learning_rate": 1e-2},
        "gru": {"options": {"chrono": 110}},
    }

    least: ClassVar = {"length": 10}  # places are tenths of it

    length: int = 100
    test_size: int = 2560

    input_size: ClassVar[int] = 8  # eight symbols
    output_size: ClassVar[int] = 4  # four orders

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, 8], the last step of each sequence counts."""
        tenth = self.length // 10

        def between(low: int, high: int) -> list[int]:
            return torch.randint(low, high + 1, (batch_size,), generator=random).tolist()

        lengths, firsts, seconds = (
            between(self.length, self.length + tenth),
            between(tenth, 2 * tenth),
            between(5 * tenth, 6 * tenth),
        )
        orders = torch.randint(2, (batch_size, 2), generator=random)
        sequences = []
        for length, first, second, order in zip(lengths, firsts, seconds, orders, strict=True):
            read = torch.randint(4, 8, (length,), generator=random)
            read[0], read[-1] = BEGIN, END
            read[first], read[second] = X + order[0], X + order[1]
            sequences.append(symbols(read, 8))
        last = [torch.tensor([length - 1]) for length in lengths]
        return join(sequences, last, [2 * order[:1] + order[1:] for order in orders])

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Fresh sequences."""
        return {f"length {self.length} and more": [self.draw(size, random) for size in pieces(self.test_size, 256)]}
