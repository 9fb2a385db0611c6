"""The closed-form continuous-time network: a step of any length, without a solver."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, exp, nn, sigmoid, tanh
from torch.nn.functional import linear

from recurra.checks import check_bool, check_choice, check_count
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["CfC", "CfCState"]


class CfCState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class CfC(Cell):
    """Closed-form continuous-time network (CfC), one time step.

        u = λ(W x + U h + d)                           backbone, further layers u ← λ(W_l u + d_l)
        g, k, a, b = affine maps of u
        s = σ(a t + b)                                 how much of g there is after the time t
        h' = s ⊙ tanh(g) + (1 - s) ⊙ tanh(k)           hidden state and output, mode="default"
        h' = s ⊙ tanh(g) + tanh(k)                     mode="no_gate"
        h' = A - A ⊙ exp(-t (|w| + |g|)) ⊙ g           mode="pure", the closed form itself; g alone is mapped from u

    t is the time since the last step and λ(v) = 1.7159 tanh(2/3 v), LeCun's tanh. The paper's σ(-f t) is s with f = -a;
    the shift b is that of the authors' code. W is weight_ih, U weight_hh, d bias_ih, the maps after it `layers`, A
    amplitude, w rate.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector, the time among them where there is one.
        hidden_size: H, units; also the size of the output.
        mode: how the state follows from the backbone: `"default"`, `"no_gate"` or `"pure"`.
        backbone_units: width of the backbone.
        backbone_layers: its depth; 0 for no backbone.
        time_column: whether the last number of x is t, in units of your choice; t is 1 otherwise.

    Raises:
        ConfigError: mode, backbone_units or backbone_layers cannot be, or the time is the only number of the input.

    Source: Hasani et al. 2022, arXiv:2106.13898. Weights begin Glorot uniform, biases and w zero, A one.
    """

    State = CfCState
    source = Source(
        key="hasani2022closed",
        authors="Hasani, Ramin and Lechner, Mathias and Amini, Alexander and Liebenwein, Lucas and Ray, Aaron and "
        "Tschaikowski, Max and Teschl, Gerald and Rus, Daniela",
        title="Closed-form continuous-time neural networks",
        year=2022,
        venue="Nature Machine Intelligence 4, 992-1003",
        url="https://arxiv.org/abs/2106.13898",
    )

    gates: tuple[str, ...] = ("g", "k", "a", "b")  # row blocks of the last map; g alone in mode="pure"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        mode: Literal["default", "no_gate", "pure"] = "default",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        time_column: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.mode = check_choice("mode", mode, ("default", "no_gate", "pure"))
        check_count("backbone_units", backbone_units)
        check_count("backbone_layers", backbone_layers, least=0)
        if check_bool("time_column", time_column) and input_size == 1:
            raise ConfigError("`time_column=True` takes the last number of x, so `input_size` must be above 1, got 1.")
        self.time_column = time_column
        if mode == "pure":
            self.gates = ("g",)
            self.amplitude = nn.Parameter(torch.empty(hidden_size))
            self.rate = nn.Parameter(torch.empty(hidden_size))
        widths = [backbone_units] * backbone_layers + [len(self.gates) * hidden_size]
        first = widths[0]
        self.weight_ih = nn.Parameter(torch.empty(first, input_size - time_column))
        self.weight_hh = nn.Parameter(torch.empty(first, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(first))
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights Glorot uniform, W and U as the one matrix that they are; biases and w 0, A 1."""
        bound = math.sqrt(6 / (self.weight_ih.shape[1] + sum(self.weight_hh.shape)))
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.uniform_(weight, -bound, bound)
        nn.init.zeros_(self.bias_ih)
        for parameter in self.layers.parameters():
            (nn.init.xavier_uniform_ if parameter.dim() == 2 else nn.init.zeros_)(parameter)
        if self.mode == "pure":
            nn.init.ones_(self.amplitude)
            nn.init.zeros_(self.rate)

    def step(self, x: Tensor, state: CfCState) -> tuple[Tensor, CfCState]:
        """One time step; the equations stand on the class."""
        t: Tensor | float = 1.0
        if self.time_column:
            x, t = x.split([self.input_size - 1, 1], dim=-1)
        u = linear(x, self.weight_ih, self.bias_ih) + linear(state.h, self.weight_hh)
        for layer in self.layers:
            u = layer(_lecun_tanh(u))
        h = self._flow(u, t)
        return h, CfCState(h)

    def _flow(self, u: Tensor, t: Tensor | float) -> Tensor:
        """The state after the time t, from what comes out of the last map."""
        if self.mode == "pure":
            return self.amplitude - self.amplitude * exp(-t * (self.rate.abs() + u.abs())) * u
        g, k, a, b = u.chunk(4, dim=-1)  # each [B, H]
        s = sigmoid(a * t + b)
        return s * tanh(g) + (tanh(k) if self.mode == "no_gate" else (1 - s) * tanh(k))


def _lecun_tanh(v: Tensor) -> Tensor:
    return 1.7159 * tanh(2 / 3 * v)
