"""Long expressive memory: two states, each with a time step of its own that the network chooses."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import linear

from recurra.checks import check_number
from recurra.engine.contract import Cell, Source

__all__ = ["LEM", "LEMState"]


class LEMState(NamedTuple):
    """y: memory that is also the output, [B, H]. z: the other memory, [B, H]."""

    y: Tensor
    z: Tensor


class LEM(Cell):
    """Long expressive memory (LEM), one time step.

        t_z = Δt σ(W_1 y + V_1 x + b_1)                                time step of z
        t_y = Δt σ(W_2 y + V_2 x + b_2)                                time step of y
        z' = (1 - t_z) ⊙ z + t_z ⊙ tanh(W_z y + V_z x + b_z)           first memory
        y' = (1 - t_y) ⊙ y + t_y ⊙ tanh(W_y z' + V_y x + b_y)          second memory, and output

    V is weight_ih, b bias, W_1, W_2 and W_z together weight_yh, W_y weight_zh.

    Shapes: x [B, I], state.y [B, H], state.z [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units of each memory; also the size of the output.
        dt: Δt, the largest time step that a unit can take, above 0. Up to 1, both memories stay within ±1.

    Raises:
        ConfigError: dt is no number above 0.

    Source: Rusch, Mishra, Erichson and Mahoney 2022, arXiv:2110.04744, section 2. All weights begin uniform from ±1/√H,
        as in the authors' code.
    """

    State = LEMState
    gates = ("t_z", "t_y", "z", "y")  # row blocks of weight_ih and bias; the first three are those of weight_yh
    source = Source(
        key="rusch2022long",
        authors="Rusch, T. Konstantin and Mishra, Siddhartha and Erichson, N. Benjamin and Mahoney, Michael W.",
        title="Long Expressive Memory for Sequence Modeling",
        year=2022,
        venue="ICLR",
        url="https://arxiv.org/abs/2110.04744",
        where="section 2",
    )

    def __init__(self, input_size: int, hidden_size: int, *, dt: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.dt = check_number("dt", dt, above=0)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_yh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.weight_zh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±1/√H."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, state: LEMState) -> tuple[Tensor, LEMState]:
        """One time step; the equations stand on the class."""
        y, z = state
        x_1, x_2, x_z, x_y = linear(x, self.weight_ih, self.bias).chunk(4, dim=-1)  # each [B, H]
        y_1, y_2, y_z = linear(y, self.weight_yh).chunk(3, dim=-1)
        t_z = self.dt * sigmoid(x_1 + y_1)
        t_y = self.dt * sigmoid(x_2 + y_2)
        z = (1 - t_z) * z + t_z * tanh(x_z + y_z)
        y = (1 - t_y) * y + t_y * tanh(x_y + linear(z, self.weight_zh))
        return y, LEMState(y, z)
