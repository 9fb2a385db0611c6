"""Copying memory: ten symbols must be kept over a thousand steps of nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from recurra.ragged import Ragged
from recurra.tasks.prove.problem import CLASSES, Answer, Batch, Problem, Published, Settings, pieces, symbols

__all__ = ["CopyingMemory"]

TCN = "Bai et al. 2018, arXiv:1803.01271, table 1 (T = 1000)"
BLANK, FIRST, LAST, MARK = 0, 1, 8, 9


def _mean_loss(y: Tensor, target: Tensor) -> float:
    return float(cross_entropy(y.double(), target))


@dataclass(frozen=True)
class CopyingMemory(Problem):
    """Ten symbols out of eight, T - 1 blanks, a mark, ten blanks; the answer is blank at first, then the ten symbols.

    All T + 20 answers count, as in the papers: who remembers nothing has a loss of 10 ln 8 / (T + 20). The papers learn
    from T alone; with `shortest` below T, delays to learn from are drawn, their logarithms uniform.

    Args:
        delay: T, the longest delay to learn from and that of all sequences in the test.
        shortest: delay of the shortest sequence to learn from.
        kept: symbols to be kept.
        test_size: sequences of the test.
    """

    name: ClassVar[str] = "copying-memory"
    summary: ClassVar[str] = "keep ten symbols over a thousand steps of nothing"
    origin: ClassVar[str] = "Hochreiter and Schmidhuber 1997; in this form Arjovsky et al. 2016, arXiv:1511.06464"
    answer = Answer(CLASSES.loss, CLASSES.count, "loss (nats)", _mean_loss)
    published = (
        Published("TCN", "3.5e-5", TCN),
        Published("lstm", "0.0204", TCN),
        Published("gru", "0.0197", TCN),
        Published("rnn", "0.0202", TCN),
    )
    settings = Settings(hidden_size=128, steps=8000, batch_size=32, learning_rate=3e-3, schedule="cosine", goal=1e-4)
    cell_settings: ClassVar = {
        # an orthogonal matrix loses nothing: a few thousand sequences are enough
        "ornn": {"hidden_size": 190, "steps": 1500, "batch_size": 16, "learning_rate": 1e-3},
        # all modes near the unit circle: nothing fades within the delay
        "lru": {"options": {"r_min": 0.999, "r_max": 1.0}},
        "lstm": {"options": {"chrono": 1000}},
        "gru": {"options": {"chrono": 1000}},
    }

    delay: int = 1000
    shortest: int = 1000
    kept: int = 10
    test_size: int = 128

    input_size: ClassVar[int] = 10  # blank, eight symbols, mark
    output_size: ClassVar[int] = 9  # blank, eight symbols

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, 10], every step counts."""
        part = torch.rand(batch_size, generator=random)
        shortest = min(self.shortest, self.delay)
        delays = (shortest * ((self.delay + 1) / shortest) ** part).long().clamp(max=self.delay)
        return self._batch(delays, random)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Fresh sequences."""
        batches = [self._batch(torch.full((size,), self.delay), random) for size in pieces(self.test_size, 32)]
        return {f"T = {self.delay}": batches}

    def _batch(self, delays: Tensor, random: Generator) -> Batch:
        size, longest = len(delays), int(delays.max())
        given = torch.randint(FIRST, LAST + 1, (size, self.kept), generator=random)
        read = torch.full((size, longest + 2 * self.kept), BLANK)
        read[:, : self.kept] = given
        read.scatter_(1, (self.kept + delays - 1)[:, None], MARK)
        target = torch.full_like(read, BLANK)
        answered = (self.kept + delays)[:, None] + torch.arange(self.kept)
        target.scatter_(1, answered, given)
        lengths = delays + 2 * self.kept
        x = Ragged.from_padded(symbols(read, 10), lengths, batch_first=True)
        there = torch.arange(read.shape[1]) < lengths[:, None]
        return Batch(x, torch.arange(x.num_steps), target[there])
