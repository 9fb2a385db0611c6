"""Associative recall: after a list of items one of them is shown again; which one came after it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from recurra.tasks.prove.problem import BITS, Batch, Problem, Published, Settings, join

__all__ = ["AssociativeRecall"]


@dataclass(frozen=True)
class AssociativeRecall(Problem):
    """Items of a few vectors of bits, each after a mark; then query mark, item, query mark, and steps of nothing.

    Args:
        bits: numbers in one vector; two inputs more carry the marks.
        item_length: vectors of an item.
        max_items: items are drawn from 2 to this.
        tests_at: items of each test.
        test_size: sequences of each test.
    """

    name: ClassVar[str] = "associative-recall"
    summary: ClassVar[str] = "what came after this one?"
    origin: ClassVar[str] = "Graves et al. 2014, arXiv:1410.5401, section 4.3"
    answer = BITS
    published = (Published("ntm", "nearly perfect to 12 items", origin),)
    settings = Settings(hidden_size=100, steps=8000, batch_size=16, learning_rate=1e-3, clip_norm=10.0, goal=1e-5)
    cell_settings: ClassVar = {
        "ntm": {"options": {"memory_size": 128, "word_size": 20}, "steps": 20_000, "learning_rate": 3e-3},
        "dnc": {"options": {"memory_size": 32, "word_size": 20}},
    }

    least: ClassVar = {"max_items": 2, "tests_at": 2}

    bits: int = 6
    item_length: int = 3
    max_items: int = 6
    tests_at: tuple[int, ...] = (6, 12)
    test_size: int = 256

    @property
    def input_size(self) -> int:
        """The bits, the mark of an item, the mark of the query."""
        return self.bits + 2

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, bits + 2], target [M, bits]."""
        return self._batch(torch.randint(2, self.max_items + 1, (batch_size,), generator=random).tolist(), random)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """So many items in every sequence."""
        return {f"{items} items": [self._batch([items] * self.test_size, random)] for items in self.tests_at}

    def _batch(self, sizes: Sequence[int], random: Generator) -> Batch:
        sequences, counted, targets = [], [], []
        for num_items in sizes:
            items = torch.randint(2, (num_items, self.item_length, self.bits), generator=random).float()
            asked = int(torch.randint(num_items - 1, (), generator=random))
            stretch = self.item_length + 1  # a mark and an item
            x = torch.zeros((num_items + 2) * stretch, self.input_size)
            x[: num_items * stretch : stretch, self.bits] = 1
            x[num_items * stretch :: stretch, self.bits + 1] = 1
            read = x.view(num_items + 2, stretch, self.input_size)[:, 1:, : self.bits]
            read[:num_items] = items
            read[num_items] = items[asked]
            sequences.append(x)
            counted.append(torch.arange(len(x) - self.item_length, len(x)))
            targets.append(items[asked + 1])
        return join(sequences, counted, targets)
