"""What training is told: the loss of a batch as a sum and a count, and where batches come from.

A loss is a *sum* over items (tokens, steps, sequences) beside their *count*, not a mean. An update divides the sum of
all its micro-batches on all processes by the sum of their counts, once. So the gradient of a batch is the same however
it is cut into micro-batches, windows of time and processes; a mean of means would not be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from recurra.errors import ConfigError, ShapeError
from recurra.shapes import describe

__all__ = ["BatchSource", "Loss", "Objective", "StatefulObjective", "check_loss", "check_source", "sum_losses"]


# what an update is counted by, and what a line of the metrics says beside the means
_COUNTED = ("total", "count", "stop", "save", "updates", "gradient_norm")
_SAID = ("split", "step", "epoch", "seconds", "loss", "learning_rate")


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss of one batch.

    Args:
        total: sum over the items, a single number that gradients flow from.
        count: how many items were summed.
        extra: further sums over the same items, to be logged as means (correct tokens, say), the same in all
            losses of a training.

    Raises:
        ConfigError: a name of `extra` is taken by what training counts and logs itself.
        ShapeError: `total` is no single number.
    """

    total: Tensor
    count: int | Tensor
    extra: Mapping[str, Tensor | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.total, Tensor) or self.total.dim() != 0:
            raise ShapeError(
                f"`total` of a Loss must be a single number, the sum over items, got {describe(self.total)}."
            )
        for name in self.extra:
            if name in _COUNTED + _SAID:
                raise ConfigError(
                    f"`extra` of a Loss has a name that training uses itself, `{name}`: take another one."
                )

    @property
    def mean(self) -> Tensor:
        """The loss of an item, for a bare loop: `loss.mean.backward()`."""
        return self.total / self.count

    def muted(self) -> Loss:
        """The same graph, weighing nothing."""
        return Loss(self.total * 0, self.count * 0, {name: value * 0 for name, value in self.extra.items()})

    def __add__(self, other: Loss) -> Loss:
        _expect_same_extra([self, other])
        extra = {name: value + other.extra[name] for name, value in self.extra.items()}
        return Loss(self.total + other.total, self.count + other.count, extra)

    def detach(self) -> Loss:
        """The same numbers without their graph."""
        extra = {name: value.detach() if isinstance(value, Tensor) else value for name, value in self.extra.items()}
        return Loss(self.total.detach(), self.count, extra)


def check_loss(loss: Any) -> Loss:
    """What an objective returned, if it is a loss that gradients flow from where gradients are asked for.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(loss, Loss):
        raise ConfigError(
            f"The objective must return a `Loss(total, count)`, the sum over items and how many they are, got a "
            f"{type(loss).__name__}."
        )
    if torch.is_grad_enabled() and not loss.total.requires_grad:
        raise ConfigError(
            "No gradient flows from the `total` of the objective's Loss: it was detached, or is of no weight."
        )
    return loss


def check_source(source: Any) -> None:
    """Refuse what gives no batches by their number.

    Raises:
        ConfigError: it has no `plan` or no `load`.
    """
    if not (callable(getattr(source, "plan", None)) and callable(getattr(source, "load", None))):
        raise ConfigError(
            f"`source` must have the methods `plan(epoch)`, the items of an epoch, and `load(item)`, a batch, got "
            f"{describe(source)}."
        )


def sum_losses(losses: Iterable[Loss]) -> dict[str, float]:
    """`total`, `count` and every `extra`, summed, as plain numbers; one wait for the device, however many losses."""
    losses = list(losses)
    _expect_same_extra(losses)
    rows = [
        {name: _number(value, loss) for name, value in {"total": loss.total, "count": loss.count, **loss.extra}.items()}
        for loss in losses
    ]
    names = list(rows[0])
    sums = torch.stack([torch.stack([row[name] for name in names]) for row in rows]).sum(0)
    return dict(zip(names, sums.tolist(), strict=True))


def _expect_same_extra(losses: Sequence[Loss]) -> None:
    for loss in losses:
        differing = losses[0].extra.keys() ^ loss.extra.keys()
        if differing:
            raise ConfigError(
                f"All losses of a training must have the same `extra`, but some lack `{min(differing)}`: give it in "
                "each, 0 where there is nothing to count."
            )


def _number(value: Tensor | float, loss: Loss) -> Tensor:
    return torch.as_tensor(value, device=loss.total.device).detach().double()


class Objective(Protocol):
    """What is made small: the loss of one batch."""

    def __call__(self, model: nn.Module, batch: Any, /) -> Loss: ...


class StatefulObjective(Protocol):
    """The same for truncated BPTT: a stretch of time comes with the state before it, and the state after it leaves."""

    def __call__(self, model: nn.Module, batch: Any, state: Any, /) -> tuple[Loss, Any]: ...


class BatchSource(Protocol):
    """Where batches come from, as a function of the epoch, so that a resumed run needs no memory of the order.

    An item is a `list` of whatever names examples; with several processes each takes every n-th of them. A source with
    items of another type has a third method, `split(item, parts) -> list of items (None where a part is empty)`.
    """

    def plan(self, epoch: int) -> Sequence[Any]:
        """One item a batch, in the order of training; the same for the same epoch, always."""
        ...

    def load(self, item: Any) -> Any:
        """The batch of an item; the same for the same item, always. It has `.to(device)` or is a pytree of tensors."""
        ...
