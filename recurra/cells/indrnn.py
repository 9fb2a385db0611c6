"""The independently recurrent network: each unit remembers itself alone."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.cells.rnn import Activation, find_activation
from recurra.checks import check_bool, check_choice, check_count, check_number
from recurra.engine.contract import Cell, Source

__all__ = ["IndRNN", "IndRNNState"]


class IndRNNState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class IndRNN(Cell):
    """Independently recurrent neural network (IndRNN), one time step.

        h' = φ(W x + u ⊙ h + b)        hidden state and output

    Units do not see each other: those of the next layer bring them together, so two layers are the least. Over T
    steps a unit's gradient is multiplied by u^T, which stays below γ while

        |u| ≤ γ^(1/T)

    With `recurrent_clip` the step sees u cut to this bound. The gradient passes the cut as if it were not there, so
    that a weight beyond the bound can come back; `clip()` brings the parameter itself back at once. W is weight_ih,
    u weight_hh, b bias.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        activation: φ, a name (`"relu"`, `"tanh"`, ...) or any function or module on tensors [B, H].
        num_steps: T, steps that a gradient goes back: the length of the sequences. Where not given, the bound is 1,
            which is safe at any length.
        gamma: γ, the most that a gradient may grow over T steps, at least 1.
        memory: where u begins: `"any"`, uniform from 0 to the bound, or `"long"`, from γ^(-1/T) to the bound, for a
            layer whose last output alone is used.
        recurrent_clip: whether the bound holds during training; it shapes the start in any case.
        bias: whether there is b.

    Raises:
        ConfigError: the activation, num_steps, gamma or memory cannot be.

    Source: Li et al. 2018, arXiv:1803.04831, section 3. W begins uniform from ±1/√I and b zero.
    """

    State = IndRNNState
    source = Source(
        key="li2018independently",
        authors="Li, Shuai and Li, Wanqing and Cook, Chris and Zhu, Ce and Gao, Yanbo",
        title="Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper RNN",
        year=2018,
        venue="CVPR",
        url="https://arxiv.org/abs/1803.04831",
        where="section 3",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        activation: str | Activation = "relu",
        num_steps: int | None = None,
        gamma: float = 2.0,
        memory: Literal["any", "long"] = "any",
        recurrent_clip: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.activation = find_activation(activation)
        self.num_steps = None if num_steps is None else check_count("num_steps", num_steps)
        self.gamma = check_number("gamma", gamma, least=1)
        self.memory = check_choice("memory", memory, ("any", "long"))
        self.recurrent_clip = check_bool("recurrent_clip", recurrent_clip)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size)) if check_bool("bias", bias) else None
        self.reset_parameters()

    @property
    def bound(self) -> float:
        """γ^(1/T), the largest |u|; 1 where T is not given."""
        return 1.0 if self.num_steps is None else self.gamma ** (1 / self.num_steps)

    def reset_parameters(self) -> None:
        """Draw u as `memory` says and W uniformly from ±1/√I; set b to 0."""
        nn.init.uniform_(self.weight_ih, -1 / math.sqrt(self.input_size), 1 / math.sqrt(self.input_size))
        nn.init.uniform_(self.weight_hh, 1 / self.bound if self.memory == "long" else 0.0, self.bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def clip(self) -> None:
        """Cut the parameter u itself to the bound, as the authors do between two updates."""
        with torch.no_grad():
            self.weight_hh.clamp_(-self.bound, self.bound)

    def step(self, x: Tensor, state: IndRNNState) -> tuple[Tensor, IndRNNState]:
        """One time step; the equation stands on the class."""
        u: Tensor = self.weight_hh
        if self.recurrent_clip:
            u = u + (u.clamp(-self.bound, self.bound) - u).detach()  # the gradient passes
        h = self.activation(linear(x, self.weight_ih, self.bias) + u * state.h)
        return h, IndRNNState(h)
