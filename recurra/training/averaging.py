"""The weights of a model, and their averages over training.

Source: exponential average: Polyak & Juditsky 1992, with the warm-up of its decay that TensorFlow's
`ExponentialMovingAverage` introduced; average of the last evaluations: checkpoint averaging as in
Vaswani et al. 2017, arXiv:1706.03762, section 6.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn

from recurra.errors import RunError

__all__ = [
    "Average",
    "ExponentialAverage",
    "LastAverage",
    "copy_of",
    "make_average",
    "set_weights",
    "weights_in_use",
    "weights_of",
]

Weights = dict[str, Tensor]


def weights_of(model: nn.Module) -> Weights:
    """Parameters and saved buffers by name, the tensors themselves; a tensor with two names comes once."""
    saved = model.state_dict().keys()
    named = chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach() for name, tensor in named if name in saved}


def copy_of(weights: Mapping[str, Tensor]) -> Weights:
    """The same numbers in memory of their own."""
    return {name: tensor.clone() for name, tensor in weights.items()}


@torch.no_grad()
def set_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy numbers into a model.

    Raises:
        RunError: the names or shapes are not those of this model.
    """
    own = weights_of(model)
    strangers = own.keys() ^ weights.keys()
    strangers |= {name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape}
    if strangers:
        raise RunError(
            f"The saved weights are of another network: {_some(strangers)} differ{'s' * (len(strangers) == 1)}; "
            "build the model with the options it was saved with."
        )
    for name, tensor in own.items():
        tensor.copy_(weights[name])


def _some(names: set[str], limit: int = 3) -> str:
    shown = ", ".join(f"`{name}`" for name in sorted(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


@contextmanager
def weights_in_use(model: nn.Module, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """The model has other weights inside, and its own again afterwards; None changes nothing."""
    if weights is None:
        yield
        return
    own = copy_of(weights_of(model))
    set_weights(model, weights)
    try:
        yield
    finally:
        set_weights(model, own)


class Average:
    """No average, and the three moments at which one may act."""

    def after_update(self, model: nn.Module) -> None:
        """An update has changed the weights."""

    def before_evaluation(self, model: nn.Module) -> None:
        """The weights are about to be judged."""

    def weights(self) -> Weights | None:
        """The averaged weights, or None where the model's own are to be used."""
        return None

    def tensors(self) -> Weights:
        """All that a checkpoint must hold."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""


class ExponentialAverage(Average):
    """avg' = d avg + (1 - d) weights after every update, d = min(decay, (1 + n) / (10 + n)) after n updates.

    Without the warm-up of d the random weights of the start would weigh for many updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = copy_of(weights_of(model))

    @torch.no_grad()
    def after_update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        weights = weights_of(model)
        smooth = [name for name, tensor in weights.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.average[name] for name in smooth], [weights[name] for name in smooth], 1 - decay)
        for name in weights.keys() - smooth:
            self.average[name].copy_(weights[name])

    def weights(self) -> Weights:
        return self.average

    def tensors(self) -> Weights:
        return {"updates": torch.tensor(self.updates), **{f"mean.{k}": v for k, v in self.average.items()}}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.updates = int(tensors["updates"])
        for name, tensor in self.average.items():
            tensor.copy_(tensors[f"mean.{name}"])


class LastAverage(Average):
    """The plain mean of the weights at the last evaluations."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.snapshots: list[Weights] = []

    def before_evaluation(self, model: nn.Module) -> None:
        self.snapshots = [*self.snapshots, copy_of(weights_of(model))][-self.last :]

    def weights(self) -> Weights | None:
        if not self.snapshots:
            return None
        newest = self.snapshots[-1]
        return {name: self._mean(name) if newest[name].is_floating_point() else newest[name] for name in newest}

    def _mean(self, name: str) -> Tensor:
        return torch.stack([snapshot[name] for snapshot in self.snapshots]).mean(0)

    def tensors(self) -> Weights:
        return {f"{i}.{name}": t for i, snapshot in enumerate(self.snapshots) for name, t in snapshot.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        snapshots: dict[int, Weights] = {}
        for key, tensor in tensors.items():
            index, name = key.split(".", 1)
            snapshots.setdefault(int(index), {})[name] = tensor
        self.snapshots = [snapshots[index] for index in sorted(snapshots)]


def make_average(kind: Literal["none", "ema", "last"], model: nn.Module, *, decay: float, last: int) -> Average:
    """The average that the configuration names."""
    if kind == "ema":
        return ExponentialAverage(model, decay)
    return LastAverage(last) if kind == "last" else Average()
