"""Copy: vectors of bits come in, then a mark, and they must come out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from recurra.tasks.prove.problem import BITS, Batch, Problem, Published, Settings, join

__all__ = ["Copy"]


@dataclass(frozen=True)
class Copy(Problem):
    """T vectors of random bits, a mark, then T steps of nothing in which the vectors are asked for in their order.

    Args:
        bits: numbers in one vector; one input more carries the mark.
        max_length: T is drawn from 1 to this.
        tests_at: the T of each test.
        test_size: sequences of each test.
    """

    name: ClassVar[str] = "copy"
    summary: ClassVar[str] = "say again what was heard: up to 20 vectors, and longer ones than ever before"
    origin: ClassVar[str] = "Graves et al. 2014, arXiv:1410.5401, section 4.1"
    answer = BITS
    published = (Published("ntm", "very few mistakes to length 50", f"{origin}, figure 4"),)
    settings = Settings(hidden_size=100, steps=8000, batch_size=16, learning_rate=1e-3, clip_norm=10.0, goal=1e-5)
    cell_settings: ClassVar = {
        "ntm": {
            "options": {"memory_size": 128, "word_size": 20},
            "batch_size": 1,
            "steps": 30_000,
            "evaluate_every": 500,
        },
        "dnc": {"options": {"memory_size": 32, "word_size": 16}, "batch_size": 4, "steps": 4000},
    }

    bits: int = 8
    max_length: int = 20
    tests_at: tuple[int, ...] = (20, 80)
    test_size: int = 64

    @property
    def input_size(self) -> int:
        """The bits and the mark."""
        return self.bits + 1

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, bits + 1], target [M, bits]."""
        return self._batch(torch.randint(1, self.max_length + 1, (batch_size,), generator=random).tolist(), random)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Sequences of one length."""
        return {f"length {length}": [self._batch([length] * self.test_size, random)] for length in self.tests_at}

    def _batch(self, lengths: Sequence[int], random: Generator) -> Batch:
        sequences, counted, targets = [], [], []
        for length in lengths:
            bits = torch.randint(2, (length, self.bits), generator=random).float()
            x = torch.zeros(2 * length + 1, self.input_size)
            x[:length, : self.bits] = bits
            x[length, self.bits] = 1
            sequences.append(x)
            counted.append(torch.arange(length + 1, 2 * length + 1))
            targets.append(bits)
        return join(sequences, counted, targets)
