"""A look at gradients through time while a network learns, and a word when they vanish or explode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from recurra.inspect import GradientFlow, passage_gradients, record
from recurra.training.seed import same_random_numbers_after

__all__ = ["GradientWatch", "at_some_lags"]

LAGS = (1, 2, 5)  # and their multiples by powers of ten


class GradientWatch:
    """Looks on, and says each thing once.

    Args:
        model: the network in training.
        every: updates between two looks; None: it never looks.
    """

    def __init__(self, model: nn.Module, every: int | None) -> None:
        self.model, self.every = model, every
        self.said: set[tuple[str, str]] = set()

    def is_due(self, step: int) -> bool:
        """Whether to look before the update after `step` updates: never at the first, where nothing is learned yet."""
        return self.every is not None and step > 0 and step % self.every == 0

    def look(self, run: Callable[[nn.Module], object]) -> list[GradientFlow]:
        """Run the model once, step by step and without dropout, and leave no trace of it.

        Returns: the gradient through time of every layer, of a layer that runs twice that of its first run.
        """
        self.model.eval()
        try:
            with same_random_numbers_after(), torch.enable_grad(), record(self.model) as passages:
                run(self.model)
            first = {passage.name: passage for passage in reversed(passages) if passage.num_steps}
            return [passage_gradients(passage) for passage in reversed(first.values())]
        finally:
            self.model.train()

    def new_advice(self, flows: list[GradientFlow]) -> list[str]:
        """What has not been said before."""
        found = []
        for flow in flows:
            if (flow.layer, flow.verdict) not in self.said and (advice := flow.advice()):
                self.said.add((flow.layer, flow.verdict))
                found.append(advice)
        return found


def at_some_lags(flow: GradientFlow) -> dict[str, Any]:
    """The norms at lags 1, 2, 5, 10, 20, 50 and so on, for a line of metrics."""
    longest = len(flow.norms)
    lags = sorted({lag * 10**power for power in range(len(str(longest))) for lag in LAGS if lag * 10**power <= longest})
    return {"factor": flow.to_json()["factor"], "norms": {str(lag): flow.norms[lag - 1] for lag in lags}}
