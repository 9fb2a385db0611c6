"""Intrinsic plasticity: units adapt gain and bias until their outputs are spread as they should be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import linear

from recurra.cells.echo_state import ESN
from recurra.cells.rnn import ACTIVATIONS
from recurra.checks import check_count, check_number
from recurra.errors import ConfigError

__all__ = ["IntrinsicPlasticity"]


@dataclass(frozen=True)
class IntrinsicPlasticity:
    """Adaptation of a reservoir to its inputs, before the read-out learns, without any target.

    Every unit's net input is multiplied by a gain and shifted, y = f(g n + s), and after each step g and s go up the
    gradient of the likelihood of its output: Gaussian for tanh units, exponential for sigmoid units.

        tanh      Δs = -η (-μ/σ² + y/σ² (2σ² + 1 - y² + μ y)),   Δg = η/g + n Δs
        sigmoid   Δs =  η (1 - (2 + 1/μ) y + y²/μ),              Δg = η/g + n Δs

    The gains then become part of the weights, so that the spectral radius is no longer what it was.

    Args:
        mean: μ, the wanted mean output; above 0 for sigmoid units.
        deviation: σ, the wanted standard deviation, for tanh units.
        rate: η, the size of a step.
        epochs: how often the data are gone through.

    Raises:
        ConfigError: a number cannot be.

    Source: Schrauwen et al. 2008, "Improving reservoirs using intrinsic plasticity"; Steil 2007, "Online reservoir
        adaptation by intrinsic plasticity for backpropagation-decorrelation and echo state learning".
    """

    mean: float = 0.0
    deviation: float = 0.2
    rate: float = 1e-3
    epochs: int = 1

    def __post_init__(self) -> None:
        check_number("mean", self.mean)
        check_number("deviation", self.deviation, above=0)
        check_number("rate", self.rate, above=0)
        check_count("epochs", self.epochs, least=0)

    @torch.no_grad()
    def adapt(self, cell: ESN, x: Tensor) -> None:
        """Adapt one reservoir to its inputs.

        Shapes: x [T, B, I].

        Raises:
            ConfigError: the cell's units have neither tanh nor sigmoid.
        """
        if cell.activation not in ("tanh", "sigmoid"):
            raise ConfigError(f"Intrinsic plasticity is for tanh and sigmoid units, not for `{cell.activation}`.")
        if cell.activation == "sigmoid" and not self.mean > 0:
            raise ConfigError(f"`mean` of IntrinsicPlasticity must be above 0 for sigmoid units, got {self.mean!r}.")
        gain, shift = torch.ones_like(cell.bias), torch.zeros_like(cell.bias)
        driven = linear(x, cell.weight_ih, cell.bias)
        for _ in range(self.epochs):
            h = driven.new_zeros(driven.shape[1:])
            for drive in driven:
                net = drive + cell.recurrent(h)
                y = ACTIVATIONS[cell.activation](gain * net + shift)
                change = self._change(y, cell.activation)
                shift += self.rate * change.mean(dim=0)
                gain += self.rate * (1 / gain + (net * change).mean(dim=0))
                h = (1 - cell.leak) * h + cell.leak * y
        cell.rescale(gain, shift)

    def _change(self, y: Tensor, activation: str) -> Tensor:
        """The gradient of the log likelihood with respect to s."""
        if activation == "sigmoid":
            return 1 - (2 + 1 / self.mean) * y + y.square() / self.mean
        variance = self.deviation**2
        return self.mean / variance - y / variance * (2 * variance + 1 - y.square() + self.mean * y)
