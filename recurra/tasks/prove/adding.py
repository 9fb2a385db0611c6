"""The adding problem: two numbers among hundreds are marked, and their sum is asked for at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from recurra.ragged import Ragged
from recurra.tasks.prove.problem import NUMBERS, Batch, Problem, Published, Settings, pieces

__all__ = ["Adding"]

TCN = "Bai et al. 2018, arXiv:1803.01271, table 1"


@dataclass(frozen=True)
class Adding(Problem):
    """Each step has a number, uniform in [0, 1), and a mark, 1 at two steps: the sum of these two numbers is asked for.

    Who always answers 1 has a mean squared error of 1/6. Lengths to learn from are drawn, their logarithms uniform:
    short sequences show sooner what is asked. The papers learn from length T alone, as one does here with
    `shortest` equal to `length`.

    Args:
        length: T, steps of the longest sequence to learn from and of all in the test.
        shortest: steps of the shortest sequence to learn from.
        test_size: sequences of the test.
    """

    name: ClassVar[str] = "adding"
    summary: ClassVar[str] = "the sum of the two numbers that were marked among hundreds"
    origin: ClassVar[str] = (
        "Hochreiter and Schmidhuber 1997, Neural Computation 9(8), experiment 4; in this form Bai et al."
    )
    answer = NUMBERS
    published = (
        Published("TCN", "5.8e-5", TCN),
        Published("gru", "5.3e-5", TCN),
        Published("lstm", "0.164", TCN),
        Published("rnn", "0.177", TCN),
    )
    settings = Settings(
        hidden_size=130,
        steps=4000,
        batch_size=32,
        learning_rate=3e-3,
        schedule="cosine",
        goal=2e-5,
        evaluate_every=200,
    )
    cell_settings: ClassVar = {
        # it leaves the plateau late: after some 1,900 updates with this bias, and with one of 5 not by 1,400
        "lstm": {"options": {"forget_bias": 1.5}, "steps": 8000}
    }

    least: ClassVar = {"length": 2, "shortest": 2}

    length: int = 600
    shortest: int = 20
    test_size: int = 1000

    input_size: ClassVar[int] = 2  # the number and the mark
    output_size: ClassVar[int] = 1  # the sum

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, 2], the last step of each sequence counts."""
        part = torch.rand(batch_size, generator=random)
        ratio = (self.length + 1) / self.shortest
        return self._batch((self.shortest * ratio**part).long().clamp(max=self.length), random)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Sequences of length T."""
        batches = [self._batch(torch.full((size,), self.length), random) for size in pieces(self.test_size, 100)]
        return {f"length {self.length}": batches}

    def _batch(self, lengths: Tensor, random: Generator) -> Batch:
        numbers = torch.rand(len(lengths), self.length, generator=random)
        places = torch.rand(len(lengths), self.length, generator=random)
        places[torch.arange(self.length) >= lengths[:, None]] = -1  # no mark beyond the end
        marks = torch.zeros_like(numbers).scatter_(1, places.topk(2).indices, 1.0)
        x = Ragged.from_padded(torch.stack([numbers, marks], -1), lengths, batch_first=True)
        return Batch(x, x.offsets[1:] - 1, (numbers * marks).sum(1, keepdim=True))
