"""Zoneout: some units keep their old state at each step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.cells.wrapper import Wrapper, field_probabilities, step_reading
from recurra.engine.contract import Cell, Source, kernel_of
from recurra.engine.kernel import Kernel

__all__ = ["Zoneout"]


class Zoneout(Wrapper):
    """Zoneout around any cell: each unit of the state keeps its old value with probability p.

        s' = d ⊙ s + (1 - d) ⊙ step(x, s)        d ~ Bernoulli(p), drawn for every unit and step, in training
        s' = p · s + (1 - p) · step(x, s)        the expectation, in evaluation

    An output that is a field of the new state (h of RNN, LSTM and GRU) is zoned out with it. Fields that are not free,
    as the clock of a clockwork network, and those that are no floating-point numbers are left alone.

    Args:
        cell: any cell.
        p: probability of keeping the old value, of all free fields, or by field, e.g. `{"c": 0.5, "h": 0.05}`.

    Raises:
        ConfigError: a field is unknown, p is no probability, or one p is given and no field is free.

    Source: Krueger et al. 2016, arXiv:1606.01305.
    """

    source = Source(
        key="krueger2016zoneout",
        authors="Krueger, David and Maharaj, Tegan and Kramár, János and Pezeshki, Mohammad and Ballas, Nicolas and "
        "Ke, Nan Rosemary and Goyal, Anirudh and Bengio, Yoshua and Courville, Aaron and Pal, Christopher",
        title="Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations",
        year=2016,
        venue="arXiv",
        url="https://arxiv.org/abs/1606.01305",
    )

    def __init__(self, cell: Cell, p: float | dict[str, float]) -> None:
        super().__init__(cell)
        self.p = field_probabilities(cell, p)

    def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
        """One step of the cell inside, some of whose units keep their old state."""
        output, new = step_reading(self.cell, x, state, read)
        mixed = self.State(*(self._mix(self.p[name], getattr(state, name), getattr(new, name)) for name in new._fields))
        for fresh, kept in zip(new, mixed, strict=True):
            if output is fresh:
                return kept, mixed
        return output, mixed

    def _mix(self, p: float, old: Tensor, new: Tensor) -> Tensor:
        if p == 0 or not new.is_floating_point():
            return new
        if self.training:
            return torch.where(torch.rand_like(new) < p, old, new)
        return p * old + (1 - p) * new

    def kernel(self) -> Kernel | None:
        """That of the cell inside where p is 0."""
        return None if any(self.p.values()) else kernel_of(self.cell)
