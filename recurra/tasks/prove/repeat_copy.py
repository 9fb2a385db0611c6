"""Repeat copy: vectors of bits and a number come in, and the vectors must come out so many times, then an end mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from recurra.tasks.prove.problem import BITS, Batch, Problem, Published, Settings, join

__all__ = ["RepeatCopy"]


@dataclass(frozen=True)
class RepeatCopy(Problem):
    """T vectors of random bits, a step with the number of times R, then R T + 1 steps of nothing: R copies and an end.

    The number comes as one input, made to have mean 0 and variance 1 over the numbers to learn from.

    Args:
        bits: numbers in one vector; one input more carries R, one output more the end mark.
        max_length: T is drawn from 1 to this.
        max_times: R is drawn from 1 to this, at least 2.
        tests_at: T and R of each test.
        test_size: sequences of each test.
    """

    name: ClassVar[str] = "repeat-copy"
    summary: ClassVar[str] = "say it again so many times, and know when to stop"
    origin: ClassVar[str] = "Graves et al. 2014, arXiv:1410.5401, section 4.2"
    answer = BITS
    published = (Published("ntm", "solved", origin),)
    settings = Settings(hidden_size=100, steps=8000, batch_size=16, learning_rate=1e-3, clip_norm=10.0, goal=1e-5)
    cell_settings: ClassVar = {
        "ntm": {"options": {"memory_size": 128, "word_size": 20}, "batch_size": 4},
        "dnc": {"options": {"memory_size": 32, "word_size": 16}, "batch_size": 4},
    }

    least: ClassVar = {"max_times": 2}

    bits: int = 8
    max_length: int = 10
    max_times: int = 10
    tests_at: tuple[tuple[int, int], ...] = ((10, 10), (20, 10), (10, 20))
    test_size: int = 64

    @property
    def input_size(self) -> int:
        """The bits and the number of times."""
        return self.bits + 1

    @property
    def output_size(self) -> int:
        """The bits and the end mark."""
        return self.bits + 1

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, bits + 1], target [M, bits + 1]."""
        lengths = torch.randint(1, self.max_length + 1, (batch_size,), generator=random).tolist()
        times = torch.randint(1, self.max_times + 1, (batch_size,), generator=random).tolist()
        return self._batch(list(zip(lengths, times, strict=True)), random)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Sequences of one length, one number of times."""
        return {
            f"length {length}, {times} times": [self._batch([(length, times)] * self.test_size, random)]
            for length, times in self.tests_at
        }

    def _batch(self, sizes: Sequence[tuple[int, int]], random: Generator) -> Batch:
        known = torch.arange(1.0, self.max_times + 1)
        sequences, counted, targets = [], [], []
        for length, times in sizes:
            bits = torch.randint(2, (length, self.bits), generator=random).float()
            x = torch.zeros(length + 1 + times * length + 1, self.input_size)
            x[:length, : self.bits] = bits
            x[length, self.bits] = (times - known.mean()) / known.std(correction=0)
            target = torch.zeros(times * length + 1, self.output_size)
            target[:-1, : self.bits] = bits.repeat(times, 1)
            target[-1, self.bits] = 1
            sequences.append(x)
            counted.append(torch.arange(length + 1, len(x)))
            targets.append(target)
        return join(sequences, counted, targets)
