"""How weights change: optimisers, the course of the learning rate, clipping.

The learning rate is a plain function of the step, so a resumed run needs no memory of it. A plateau depends on the
scores so far; what it needs is in `Judge`, which the checkpoint holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from recurra.errors import ConfigError, RunError
from recurra.training.config import TrainingConfig

__all__ = [
    "Judge",
    "clip_gradients",
    "learning_rate_at",
    "make_optimizer",
    "optimizer_tensors",
    "restore_optimizer",
    "set_learning_rate",
]


def make_optimizer(model: nn.Module, config: TrainingConfig) -> Optimizer:
    """The optimiser that the configuration names, fused where torch has that.

    Weight decay pulls on matrices alone: biases, gains of normalisations and other vectors are left free.

    Raises:
        ConfigError: the model has no weights that learn.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise ConfigError("There is nothing to train: no parameter of the model requires a gradient.")
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    rate = config.learning_rate
    beta2, momentum = config.beta2, config.momentum
    if config.optimizer == "rmsprop":  # the one that has no fused kernel
        # its average begins at 0 and is not corrected: the first step is the rate / sqrt(1 - beta2), 10 times with 0.99
        alpha = 0.99 if beta2 is None else beta2
        return RMSprop(groups, lr=rate, alpha=alpha, eps=config.epsilon, momentum=momentum or 0.0)
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    if config.optimizer == "sgd":
        return SGD(groups, lr=rate, momentum=0.9 if momentum is None else momentum, fused=fused)
    kind = Adam if config.optimizer == "adam" else AdamW
    betas = (config.beta1, 0.999 if beta2 is None else beta2)
    return kind(groups, lr=rate, betas=betas, eps=config.epsilon, fused=fused)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """The same learning rate for all weights."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def learning_rate_at(config: TrainingConfig, step: int, total_steps: int | None, reductions: int = 0) -> float:
    """The learning rate of one update.

    Args:
        config: the largest rate, the warm-up and the schedule.
        step: updates made so far, from 0.
        total_steps: updates of the whole training; linear and cosine need it.
        reductions: plateaus met so far.

    Source: cosine: Loshchilov & Hutter 2017, arXiv:1608.03983, Eq. 5, without restarts.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    low = config.final_fraction
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "plateau":
        return config.learning_rate * max(low, config.plateau_factor**reductions)
    assert total_steps is not None, "linear and cosine schedules have an end"
    # the last update has the lowest rate
    done = (step - config.warmup_steps) / max(1, total_steps - 1 - config.warmup_steps)
    done = min(1.0, done)
    left = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * (low + (1 - low) * left)


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[nn.Parameter], *, scale: float = 1.0, norm: float | None = None, value: float | None = None
) -> float:
    """Multiply all gradients by `scale`, then limit their numbers to ±value, then their common norm.

    Returns: the Euclidean norm before either limit; not finite if any number is not.

    Source: the norm: Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    before = scale * _norm(gradients)
    clipped = before
    if value is not None:
        torch._foreach_mul_(gradients, scale)
        torch._foreach_clamp_min_(gradients, -value)
        torch._foreach_clamp_max_(gradients, value)
        scale, clipped = 1.0, _norm(gradients)
    if norm is not None and clipped > norm:
        scale *= norm / clipped
    if scale != 1.0:
        torch._foreach_mul_(gradients, scale)
    return before


def _norm(gradients: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(each) for each in gradients])))


@dataclass
class Judge:
    """Which evaluation was best, and how long ago; early stopping and plateaus follow from it.

    Args:
        better: `min` where a small score is good, else `max`.
        patience: evaluations without a better one before `is_tired`; None: never.
        plateau: evaluations without a better one that count as a plateau.
    """

    better: str
    patience: int | None
    plateau: int
    best: float | None = None
    best_step: int = 0
    waited: int = 0
    waited_since_reduction: int = 0
    reductions: int = 0

    def see(self, score: float, step: int) -> bool:
        """Take a score in; True where it is the best so far. A score that is no number is never the best."""
        if not math.isnan(score) and (self.best is None or self._is_better(score, self.best)):
            self.best, self.best_step, self.waited, self.waited_since_reduction = score, step, 0, 0
            return True
        self.waited += 1
        self.waited_since_reduction += 1
        if self.waited_since_reduction >= self.plateau:
            self.reductions, self.waited_since_reduction = self.reductions + 1, 0
        return False

    def _is_better(self, score: float, than: float) -> bool:
        return score < than if self.better == "min" else score > than

    @property
    def is_tired(self) -> bool:
        """Whether it has waited long enough to stop."""
        return self.patience is not None and self.waited >= self.patience

    MEMORY = ("best", "best_step", "waited", "waited_since_reduction", "reductions")

    def memory(self) -> dict[str, Any]:
        """What a checkpoint must hold; the limits come from the configuration, which may change."""
        return {name: getattr(self, name) for name in self.MEMORY}

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take back what `memory` gave."""
        for name in self.MEMORY:
            setattr(self, name, memory[name])


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The memory of an optimiser as tensors by name, `<number of the parameter>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take back what `optimizer_tensors` gave; the options of the optimiser stay as they are.

    Raises:
        RunError: the tensors do not fit the parameters.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        if int(index) >= len(parameters) or (tensor.dim() and tensor.shape != parameters[int(index)].shape):
            raise RunError(
                "The saved optimiser is of another network; build the model with the options it was saved with."
            )
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
