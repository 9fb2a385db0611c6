"""Priority sort: vectors with priorities come in, and those of the highest priorities must come out in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from recurra.errors import ConfigError
from recurra.ragged import Ragged
from recurra.tasks.prove.problem import BITS, Batch, Problem, Published, Settings

__all__ = ["PrioritySort"]


@dataclass(frozen=True)
class PrioritySort(Problem):
    """Vectors of random bits, each with a priority uniform in [-1, 1), a mark, then steps of nothing: the best, sorted.

    Args:
        bits: numbers in one vector; two inputs more carry the priority and the mark.
        read: vectors that come in.
        asked: vectors that are asked for, the highest priority first.
        test_size: sequences of the test.
    """

    name: ClassVar[str] = "priority-sort"
    summary: ClassVar[str] = "the 16 of 20 vectors with the highest priorities, in their order"
    origin: ClassVar[str] = "Graves et al. 2014, arXiv:1410.5401, section 4.5"
    answer = BITS
    published = (Published("ntm", "well below the cost of LSTM", origin),)
    settings = Settings(hidden_size=100, steps=8000, batch_size=16, learning_rate=1e-3, clip_norm=10.0, goal=1e-5)
    cell_settings: ClassVar = {
        "ntm": {"options": {"memory_size": 128, "word_size": 20, "num_reads": 5, "num_writes": 5}},
        "dnc": {"options": {"memory_size": 32, "word_size": 20, "num_reads": 4}},
    }

    bits: int = 8
    read: int = 20
    asked: int = 16
    test_size: int = 256

    def __post_init__(self) -> None:
        """Check the sizes; no more can be asked for than was read."""
        super().__post_init__()
        if self.asked > self.read:
            raise ConfigError(f"`asked` must be at most `read={self.read}`, got {self.asked}.")

    @property
    def input_size(self) -> int:
        """The bits, the priority, the mark."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [B (read + 1 + asked), bits + 2], target [B asked, bits]."""
        bits = torch.randint(2, (batch_size, self.read, self.bits), generator=random).float()
        priorities = 2 * torch.rand(batch_size, self.read, generator=random) - 1
        x = torch.zeros(batch_size, self.read + 1 + self.asked, self.input_size)
        x[:, : self.read, : self.bits] = bits
        x[:, : self.read, self.bits] = priorities
        x[:, self.read, self.bits + 1] = 1
        best = priorities.topk(self.asked, dim=1).indices
        target = bits.gather(1, best[:, :, None].expand(-1, -1, self.bits))
        ragged = Ragged.from_padded(x, batch_first=True)
        rows = torch.arange(ragged.num_steps).view(batch_size, -1)[:, self.read + 1 :].flatten()
        return Batch(ragged, rows, target.flatten(0, 1))

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Fresh sequences."""
        return {f"{self.asked} of {self.read}": [self.draw(self.test_size, random)]}
