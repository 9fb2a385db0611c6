"""The network that turns its state: an Elman network whose recurrent matrix stays orthogonal while it learns."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.checks import check_number
from recurra.engine.contract import Cell, Source

__all__ = ["ORNN", "ORNNState"]


class ORNNState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class ORNN(Cell):
    """Recurrent network with an orthogonal recurrent matrix (expRNN), one time step.

        U = exp(ρ (A - Aᵀ))                      orthogonal, whatever A is
        a = W x + U h
        h' = sign(a) ⊙ max(0, |a| + b)           modReLU: hidden state and output

    U neither shrinks nor stretches a vector, so that without an input, and with b = 0, nothing of the state is lost and
    no gradient vanishes or explodes, over any number of steps. W is weight_ih, A the part of skew_hh above its
    diagonal, b is bias.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    At the start U turns pairs of units by angles uniform in [-π, π]; W is drawn as N(0, 2/I), and b is 0.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        rate: ρ, above 0: A is kept 1/ρ times as large, so that an optimiser of one learning rate for all, such
            as Adam, moves U more slowly than the rest. The paper gives U a learning rate of its own for that.

    Raises:
        ConfigError: `rate` cannot be.

    Source: Lezcano-Casado and Martínez-Rubio 2019, arXiv:1901.08428; modReLU, over real numbers here: Arjovsky, Shah
        and Bengio 2016, arXiv:1511.06464; the start: Henaff, Szlam and LeCun 2016, arXiv:1602.06662.
    """

    State = ORNNState
    source = Source(
        key="lezcano2019cheap",
        authors="Lezcano-Casado, Mario and Martínez-Rubio, David",
        title="Cheap Orthogonal Constraints in Neural Networks: A Simple Parametrization of the Orthogonal and Unitary "
        "Group",
        year=2019,
        venue="ICML",
        url="https://arxiv.org/abs/1901.08428",
    )

    def __init__(self, input_size: int, hidden_size: int, *, rate: float = 0.1) -> None:
        super().__init__(input_size, hidden_size)
        self.rate = check_number("rate", rate, above=0)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.skew_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw angles for pairs of units and W; set b to 0."""
        nn.init.kaiming_normal_(self.weight_ih)
        nn.init.zeros_(self.bias)
        with torch.no_grad():
            self.skew_hh.zero_()
            first = torch.arange(0, self.hidden_size - 1, 2)
            self.skew_hh[first, first + 1] = torch.empty(len(first)).uniform_(-math.pi, math.pi) / self.rate

    def recurrent_matrix(self) -> Tensor:
        """U, orthogonal. Shape: [H, H]."""
        above = self.rate * self.skew_hh.triu(1)
        return torch.linalg.matrix_exp(above - above.T)

    def step(self, x: Tensor, state: ORNNState) -> tuple[Tensor, ORNNState]:
        """One time step; the equations stand on the class."""
        a = linear(x, self.weight_ih) + linear(state.h, self.recurrent_matrix())
        h = a.sign() * (a.abs() + self.bias).relu()
        return h, ORNNState(h)
