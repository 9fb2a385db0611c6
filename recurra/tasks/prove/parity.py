"""State tracking: parity, and arithmetic modulo 5. One step that is missed makes every later answer wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from recurra.ragged import Ragged
from recurra.tasks.prove.problem import CLASSES, Batch, Problem, Published, Settings, symbols

__all__ = ["ModularArithmetic", "Parity"]

DELETANG = "Delétang et al. 2022, arXiv:2207.02098, table 1 (lengths up to 500, last answer)"
SETTINGS = Settings(
    hidden_size=64, steps=4000, batch_size=64, learning_rate=2e-3, goal=2e-5, evaluate_every=200, schedule="cosine"
)
CELLS: dict[str, dict[str, Any]] = {
    # memory that fades by default would have to be unlearned
    "slstm": {"options": {"forget_bias": "linspace"}},
    "mingru": {"steps": 3000},
    "lru": {"steps": 3000},
}


@dataclass(frozen=True)
class Parity(Problem):
    """Bits come in; after each the network says whether the ones so far are even or odd.

    Args:
        max_length: longest sequence to learn from; lengths are drawn from 1 on.
        test_length: of the test; only the answer after the last bit counts there.
        test_size: sequences of the test.
    """

    name: ClassVar[str] = "parity"
    summary: ClassVar[str] = "is the number of ones so far even or odd? Learned on short sequences, asked on long ones"
    origin: ClassVar[str] = (
        "Minsky and Papert 1969, Perceptrons; as state tracking: Merrill et al. 2024, arXiv:2404.08819"
    )
    answer = CLASSES
    settings = SETTINGS
    cell_settings = CELLS
    published = (Published("rnn", "100", DELETANG), Published("lstm", "100", DELETANG))

    max_length: int = 40
    test_length: int = 256
    test_size: int = 2048

    input_size: ClassVar[int] = 2  # 0 or 1
    output_size: ClassVar[int] = 2  # even or odd

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, 2], every step counts."""
        lengths = torch.randint(1, self.max_length + 1, (batch_size,), generator=random)
        bits = torch.randint(2, (self.max_length, batch_size), generator=random)
        return _every_step(symbols(bits, 2), bits.cumsum(0) % 2, lengths)

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """The last answer of long sequences."""
        bits = torch.randint(2, (self.test_length, self.test_size), generator=random)
        return {f"length {self.test_length}": _last_step(symbols(bits, 2), bits.sum(0) % 2)}


@dataclass(frozen=True)
class ModularArithmetic(Problem):
    """A sum is read symbol by symbol, as 3 + 4 * 2 - 1; after each number the network says what it comes to, modulo 5.

    Operations are done from left to right as they come. Symbols 0 to 4 are the numbers, 5, 6 and 7 are + - *.

    Args:
        max_length: most symbols of a sequence to learn from; there are an odd number of them.
        test_length: symbols of the test, made odd by one less; only the answer after the last number counts there.
        test_size: sequences of the test.
        times: whether there are products. A 0 in one makes all before it worthless, which helps those who forget.
    """

    name: ClassVar[str] = "modular-arithmetic"
    summary: ClassVar[str] = "what does 3 + 4 * 2 - 1 come to, modulo 5? Learned on short sequences, asked on long ones"
    origin: ClassVar[str] = "Delétang et al. 2022, arXiv:2207.02098"
    answer = CLASSES
    settings = SETTINGS
    cell_settings: ClassVar[dict[str, dict[str, Any]]] = {
        **CELLS,
        "rnn": {"hidden_size": 256, "steps": 8000, "learning_rate": 1e-3},
    }
    published = (Published("rnn", "100", DELETANG), Published("lstm", "100", DELETANG))

    max_length: int = 40
    test_length: int = 256
    test_size: int = 2048
    times: bool = True

    input_size: ClassVar[int] = 8  # five numbers, three operations
    output_size: ClassVar[int] = 5  # the numbers

    def draw(self, batch_size: int, random: Generator) -> Batch:
        """Shapes: x.values [N, 8], every other step counts."""
        terms = torch.randint(1, (self.max_length + 1) // 2 + 1, (batch_size,), generator=random)
        x, values = self._sums((self.max_length + 1) // 2, batch_size, random)
        batch = _every_step(x, values.repeat_interleave(2, 0)[: len(x)], 2 * terms - 1)
        numbers = batch.x.position % 2 == 0
        return Batch(batch.x, batch.rows[numbers], batch.target[numbers])

    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """The last answer of long sequences."""
        x, values = self._sums((self.test_length + 1) // 2, self.test_size, random)
        return {f"length {self.test_length}": _last_step(x, values[-1])}

    def _sums(self, terms: int, batch_size: int, random: Generator) -> tuple[Tensor, Tensor]:
        """Shapes: symbols [2 terms - 1, B, 8], what they come to after each number [terms, B]."""
        numbers = torch.randint(5, (terms, batch_size), generator=random)
        operations = torch.randint(3 if self.times else 2, (terms - 1, batch_size), generator=random)
        values = [numbers[0]]
        for number, operation in zip(numbers[1:], operations, strict=True):
            outcomes = torch.stack([values[-1] + number, values[-1] - number, values[-1] * number])
            values.append(outcomes.gather(0, operation[None])[0] % 5)
        read = torch.empty(2 * terms - 1, batch_size, dtype=torch.int64)
        read[::2], read[1::2] = numbers, operations + 5
        return symbols(read, 8), torch.stack(values)


def _every_step(x: Tensor, target: Tensor, lengths: Tensor) -> Batch:
    """Shapes: x [T, B, I], target [T, B], lengths [B]."""
    read = Ragged.from_padded(x, lengths)
    return Batch(read, torch.arange(read.num_steps), Ragged.from_padded(target, lengths).values)


def _last_step(x: Tensor, target: Tensor) -> list[Batch]:
    """Shapes: x [T, B, I], target [B]."""
    batches = []
    for piece, answers in zip(x.split(256, 1), target.split(256), strict=True):
        read = Ragged.from_padded(piece)
        batches.append(Batch(read, read.offsets[1:] - 1, answers))
    return batches
