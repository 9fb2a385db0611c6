"""The coupled oscillatory recurrent network: units that swing, damped, and drive each other."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn, tanh
from torch.nn.functional import linear

from recurra.checks import check_choice, check_number
from recurra.engine.contract import Cell, Source

__all__ = ["CoRNN", "CoRNNState"]


class CoRNNState(NamedTuple):
    """y: positions, also the output, [B, H]. z: velocities, [B, H]."""

    y: Tensor
    z: Tensor


class CoRNN(Cell):
    """Coupled oscillatory recurrent network (coRNN), one time step.

        y'' = tanh(W y + W_z y' + V x + b) - γ y - ε y'      the oscillators, with z = y'

        z' = z + Δt (tanh(W y + W_z z + V x + b) - γ y - ε z̄)     velocities
        y' = y + Δt z'                                            positions, and output

    The second line is implicit: positions move with the new velocities. The damping ε z̄ sees the velocities before the
    step, z̄ = z, with damping="explicit", or after it, z̄ = z', with "implicit"; then

        z' = (z + Δt (tanh(...) - γ y)) / (1 + Δt ε)

    V is weight_ih, W weight_yh, W_z weight_zh, b bias.

    Shapes: x [B, I], state.y [B, H], state.z [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, oscillators; also the size of the output.
        dt: Δt, the time between two steps, above 0. A sequence of many steps wants a small one.
        gamma: γ, stiffness: the square of the frequency that an oscillator has alone; not below 0.
        epsilon: ε, damping, not below 0. The paper tunes all three; the defaults are those of its sequential MNIST.
        damping: whether the damping is `"explicit"`, as in the authors' experiments, or `"implicit"`, which stays
            stable at any ε.

    Raises:
        ConfigError: dt, gamma, epsilon or damping cannot be.

    Source: Rusch and Mishra 2021, arXiv:2010.00951, section 2. All weights begin uniform from ±1/√(I + 2H), one over
        the square root of the numbers that go into a sum.
    """

    State = CoRNNState
    source = Source(
        key="rusch2021coupled",
        authors="Rusch, T. Konstantin and Mishra, Siddhartha",
        title="Coupled Oscillatory Recurrent Neural Network (coRNN): An accurate and (gradient) stable architecture "
        "for learning long time dependencies",
        year=2021,
        venue="ICLR",
        url="https://arxiv.org/abs/2010.00951",
        where="section 2",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        dt: float = 0.042,
        gamma: float = 2.7,
        epsilon: float = 4.7,
        damping: Literal["explicit", "implicit"] = "explicit",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.dt = check_number("dt", dt, above=0)
        self.gamma = check_number("gamma", gamma, least=0)
        self.epsilon = check_number("epsilon", epsilon, least=0)
        self.damping = check_choice("damping", damping, ("explicit", "implicit"))
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_yh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±1/√(I + 2H)."""
        bound = 1 / math.sqrt(self.input_size + 2 * self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, state: CoRNNState) -> tuple[Tensor, CoRNNState]:
        """One time step; the equations stand on the class."""
        y, z = state
        drive = tanh(linear(x, self.weight_ih, self.bias) + linear(y, self.weight_yh) + linear(z, self.weight_zh))
        force = drive - self.gamma * y
        if self.damping == "explicit":
            z = z + self.dt * (force - self.epsilon * z)
        else:
            z = (z + self.dt * force) / (1 + self.dt * self.epsilon)
        y = y + self.dt * z
        return y, CoRNNState(y, z)
