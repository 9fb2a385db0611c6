"""`Problem`: a problem of the proving ground; what it gives to read, which answers count, and how they are judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, one_hot

from recurra.checks import check_count
from recurra.errors import ConfigError
from recurra.ragged import Ragged

__all__ = [
    "BITS",
    "CLASSES",
    "NUMBERS",
    "Answer",
    "Batch",
    "Problem",
    "Published",
    "Settings",
    "join",
    "pieces",
    "symbols",
]


@dataclass(frozen=True, eq=False)
class Batch:
    """What is read, and the answers that count.

    Shapes:
        x.values [N, I]: all steps of all sequences.
        rows [M]: int64, increasing; the steps whose answers count.
        target [M] int64 where the answers are classes, [M, O] where they are bits or numbers.
    """

    x: Ragged
    rows: Tensor
    target: Tensor

    def to(self, device: Any) -> Batch:
        """The same on another device."""
        return Batch(self.x.to(device), self.rows.to(device), self.target.to(device))


@dataclass(frozen=True)
class Answer:
    """A kind of answer.

    Args:
        loss: of outputs [M, O] and target, the sum over all answers.
        count: how many answers these are, of the target.
        measure: what the result is called.
        judge: the result of outputs and target.
        show: the result as text.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int]
    measure: str
    judge: Callable[[Tensor, Tensor], float]
    show: str = "{:.2e}"


def _right(y: Tensor, target: Tensor) -> float:
    return 100 * float((y.argmax(-1) == target).double().mean())


def _wrong_bits(y: Tensor, target: Tensor) -> float:
    return 100 * float(((y > 0) != (target > 0.5)).double().mean())


def _mean_square(y: Tensor, target: Tensor) -> float:
    return float(mse_loss(y.double(), target.double()))


CLASSES = Answer(lambda y, t: cross_entropy(y, t, reduction="sum"), len, "right answers (%)", _right, "{:.2f}")
BITS = Answer(
    lambda y, t: binary_cross_entropy_with_logits(y, t, reduction="sum"),
    Tensor.numel,
    "wrong bits (%)",
    _wrong_bits,
    "{:.3f}",
)
NUMBERS = Answer(lambda y, t: mse_loss(y, t, reduction="sum"), Tensor.numel, "mean squared error", _mean_square)


@dataclass(frozen=True)
class Published:
    """A figure that a paper reports for a network."""

    who: str  # a cell by its name in `recurra cells`, or a network that is none
    value: str
    source: str
    test: str | None = None  # the test it belongs to, by its label; None: to all


@dataclass(frozen=True)
class Settings:
    """How a cell is trained on a problem.

    Args:
        hidden_size: H, units.
        num_layers: layers.
        steps: updates at most.
        batch_size: sequences of an update.
        learning_rate: of Adam.
        schedule: course of the learning rate, as in `TrainingConfig`.
        clip_norm: largest norm of the gradient; None for no limit.
        goal: training ends when the loss of an answer on fresh sequences is at most this; None: never.
        evaluate_every: updates between two looks at the goal.
        options: keywords of the cell.
        training: further options of `TrainingConfig`, as `{"averaging": "ema"}`; they go before `schedule` and
            `clip_norm`.
    """

    hidden_size: int = 64
    num_layers: int = 1
    steps: int = 2000
    batch_size: int = 32
    learning_rate: float = 1e-3
    schedule: str = "constant"
    clip_norm: float | None = 1.0
    goal: float | None = None
    evaluate_every: int = 100
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Self:
        """The same with some values changed."""
        return replace(self, **changes)


class Problem(ABC):
    """One problem. A subclass is a frozen dataclass of the problem's own sizes.

    Attributes:
        name: as it is typed.
        summary: what is asked, in half a line.
        origin: the paper that made it famous.
        answer: what kind of answer is asked for.
        published: figures of papers.
        settings: how cells are trained unless they need something else.
        cell_settings: changes to `settings`, by the name of the cell.
        input_size: I.
        output_size: O, classes where the answers are classes.
        least: the smallest value of a size, where it is not 1.

    Raises:
        ConfigError: a size cannot be.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    origin: ClassVar[str]
    answer: ClassVar[Answer]
    published: ClassVar[Sequence[Published]] = ()
    settings: ClassVar[Settings] = Settings()
    cell_settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    least: ClassVar[Mapping[str, int]] = {}

    def __post_init__(self) -> None:
        """Check the sizes, before hours are spent on a test that cannot be made."""
        for name, default in _sizes(type(self)).items():
            _check_size(name, getattr(self, name), default, self.least.get(name, 1))

    @property
    @abstractmethod
    def input_size(self) -> int: ...

    @property
    @abstractmethod
    def output_size(self) -> int: ...

    @abstractmethod
    def draw(self, batch_size: int, random: Generator) -> Batch:
        """A batch to learn from; the same for a generator in the same state."""

    def draw_unseen(self, batch_size: int, random: Generator) -> Batch:
        """A batch for the goal: of sequences that `draw` never gives, where those to learn from are few."""
        return self.draw(batch_size, random)

    @abstractmethod
    def tests(self, random: Generator) -> dict[str, list[Batch]]:
        """What a trained network is judged on: batches by the label of the test."""

    def settings_of(self, cell: str) -> Settings:
        """How a cell is trained, by its name."""
        return self.settings.but(**self.cell_settings.get(cell, {}))

    def judge(self, y: Tensor, target: Tensor) -> float:
        """The result of outputs [M, O] and their targets."""
        return self.answer.judge(y, target)

    def published_for(self, cell: str, test: str) -> Published | None:
        """The figure to compare with: that of the cell itself, or else the first there is."""
        fitting = [one for one in self.published if one.test in (None, test)]
        return next((one for one in fitting if one.who == cell), fitting[0] if fitting else None)


def _sizes(kind: type[Problem]) -> dict[str, Any]:
    """The sizes among the fields of a problem, with their defaults: whole numbers, and tuples of them."""
    defaults = {one.name: one.default for one in fields(kind)}  # type: ignore[arg-type]
    return {name: value for name, value in defaults.items() if type(value) in (int, tuple)}


def _check_size(name: str, value: Any, default: Any, least: int) -> None:
    if not isinstance(default, tuple):
        check_count(name, value, least=least)
        return
    if not isinstance(value, tuple) or not value:
        raise ConfigError(f"`{name}` must be one or more like {default!r}, got {value!r}.")
    for one in value:
        if isinstance(default[0], tuple) and (not isinstance(one, tuple) or len(one) != len(default[0])):
            raise ConfigError(f"`{name}` must be one or more like {default!r}, got {value!r}.")
        for number in one if isinstance(one, tuple) else (one,):
            check_count(name, number, least=least)


def join(sequences: Sequence[Tensor], counted: Sequence[Tensor], targets: Sequence[Tensor]) -> Batch:
    """A batch of sequences one by one.

    Shapes: each of sequences [T, I], of counted [m] the steps of it that count, of targets [m] or [m, O].
    """
    x = Ragged.from_list(sequences)
    rows = torch.cat([start + steps for start, steps in zip(x.offsets[:-1], counted, strict=True)])
    return Batch(x, rows, torch.cat(list(targets)))


def pieces(total: int, most: int) -> list[int]:
    """The sizes of the batches of a test of `total` sequences, `most` in each but the last."""
    return [min(most, total - begin) for begin in range(0, total, most)]


def symbols(numbers: Tensor, size: int) -> Tensor:
    """Symbols as vectors with a single 1. Shapes: numbers [...] int64 -> [..., size]."""
    return one_hot(numbers, size).float()
