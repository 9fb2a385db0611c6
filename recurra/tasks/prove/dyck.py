"""Dyck language: brackets of several kinds, nested; after each one, which may come next?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from recurra.errors import ConfigError
from recurra.tasks.prove.problem import BITS, Answer, Batch, Problem, Settings, join, symbols

__all__ = ["Dyck"]


def _all_right(y: Tensor, target: Tensor) -> float:
    return 100 * float(((y > 0) == (target > 0.5)).all(-1).double().mean())


@dataclass(frozen=True)
class Dyck(Problem):
    """Balanced strings of brackets. Symbols 0 to K-1 open, K to 2K-1 close; the answer has a bit for each of them.

    The next opening bracket may be any unless the string is nested as deep as it can be; the next closing one must be
    that of the bracket opened last.

    Args:
        kinds: K, kinds of brackets.
        max_depth: deepest nesting.
        max_length: symbols of the longest string to learn from; lengths are even.
        tests_at: symbols of the strings of each test, even.
        test_size: strings of each test.

    Raises:
        ConfigError: a size cannot be, or a length of `tests_at` is odd.
    """

    name: ClassVar[str] = "dyck"
    summary: ClassVar[str] = "which brackets may come next? A stack of bounded depth"
    origin: ClassVar[str] = "Chomsky and Schützenberger 1963; of bounded depth: Hewitt et al. 2020, arXiv:2010.07515"
    answer = Answer(BITS.loss, BITS.count, "steps all right (%)", _all_right, "{:.2f}")
    settings = Settings(hidden_size=64, steps=4000, batch_size=32, learning_rate=2e-3, goal=1e-5)

    least: ClassVar = {"max_length": 2, "tests_at": 2}

    kinds: int = 2
    max_depth: int = 4
    max_length: int = 50
    tests_at: tuple[int, ...] = (50, 200)
    test_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        odd = [length for length in self.tests_at if length % 2]
        if odd:
            raise ConfigError(f"`tests_at` must be even, since every bracket is closed in the end, got {odd[0]}.")

    @property
    def input_size(self) -> int:
        """A symbol."""
        return 2 * self.kinds

    @property
    def output_size(self) -> int:
        """A bit for each symbol."""
        return 2 * self.kinds

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, 2 K], every step counts, target [N, 2 K]."""
        lengths = 2 * torch.randint(1, self.max_length // 2 + 1, (batch_size,), generator=random)
        return self._batch(lengths.tolist(), random)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """Strings of one length."""
        return {f"length {length}": [self._batch([length] * self.test_size, random)] for length in self.tests_at}

    def _batch(self, lengths: Sequence[int], random: Generator) -> Batch:
        strings, targets = zip(*(self._string(length, random) for length in lengths), strict=True)
        return join(
            [symbols(string, 2 * self.kinds) for string in strings], [torch.arange(n) for n in lengths], targets
        )

    def _string(self, length: int, random: Generator) -> tuple[Tensor, Tensor]:
        """Shapes: symbols [length], what may follow each [length, 2 K]."""
        coins = torch.rand(length, generator=random).tolist()
        kinds = torch.randint(self.kinds, (length,), generator=random).tolist()
        stack: list[int] = []
        string, target = [], torch.zeros(length, 2 * self.kinds)
        for step, (coin, kind) in enumerate(zip(coins, kinds, strict=True)):
            must_close = len(stack) in (self.max_depth, length - step)
            if stack and (must_close or coin < 0.5):
                string.append(self.kinds + stack.pop())
            else:
                stack.append(kind)
                string.append(kind)
            target[step, : self.kinds] = float(len(stack) < self.max_depth)
            if stack:
                target[step, self.kinds + stack[-1]] = 1
        return torch.tensor(string), target
