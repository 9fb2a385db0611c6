"""The Jordan network: what it answered is what it remembers."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.cells.rnn import Activation, find_activation
from recurra.checks import check_bool, check_count
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["Jordan", "JordanState"]


class JordanState(NamedTuple):
    """c: context, the outputs so far, fading, [B, O]."""

    c: Tensor


class Jordan(Cell):
    """Jordan network, one time step.

        h = φ(W x + U c + b)        hidden layer, which is not remembered
        y = ψ(V h + d)              output
        c' = μ c + y                context: the outputs so far, fading

    W is weight_ih, U weight_ch, b bias_h, V weight_ho, d bias_o. With μ = 0 the context is the last output alone, the
    Jordan network of most textbooks.

    Shapes: x [B, I], state.c [B, O] -> output [B, O], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units of the hidden layer.
        output_size: O, numbers in one output vector; H where not given.
        decay: μ, how much of the context stays from step to step, from 0 to below 1.
        activation: φ, a name (`"tanh"`, `"sigmoid"`, `"relu"`, ...) or any function or module on tensors [B, H].
        output_activation: ψ, likewise on tensors [B, O]; `"sigmoid"` for outputs between 0 and 1.
        bias: whether there are b and d.

    Raises:
        ConfigError: the output size, the decay or an activation cannot be.

    Source: Jordan 1986, "Serial order: a parallel distributed processing approach". Weights and biases begin uniform
        from ±1/√(I + O) into the hidden layer and ±1/√H into the output, one over the square root of the numbers that
        go into a sum, as those of torch's layers do.
    """

    State = JordanState
    source = Source(
        key="jordan1986serial",
        authors="Jordan, Michael I.",
        title="Serial Order: A Parallel Distributed Processing Approach",
        year=1986,
        venue="ICS Report 8604, Institute for Cognitive Science, University of California, San Diego",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        decay: float = 0.0,
        activation: str | Activation = "tanh",
        output_activation: str | Activation = "identity",
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.output_size = hidden_size if output_size is None else check_count("output_size", output_size)
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 <= decay < 1:
            raise ConfigError(f"`decay` must be a number from 0 to below 1, got {decay!r}.")
        self.decay = float(decay)
        self.activation = find_activation(activation)
        self.output_activation = find_activation(output_activation)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_ch = nn.Parameter(torch.empty(hidden_size, self.output_size))
        self.weight_ho = nn.Parameter(torch.empty(self.output_size, hidden_size))
        check_bool("bias", bias)
        self.bias_h = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.bias_o = nn.Parameter(torch.empty(self.output_size)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly, from one over the square root of the numbers that go into a sum."""
        hidden, output = 1 / math.sqrt(self.input_size + self.output_size), 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters(recurse=False):
            bound = output if name in ("weight_ho", "bias_o") else hidden
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """c is as long as the output."""
        return ((self.output_size,),)

    def step(self, x: Tensor, state: JordanState, read: JordanState | None = None) -> tuple[Tensor, JordanState]:
        """One time step; the equations stand on the class.

        Args:
            x: [B, I].
            state: the state that is carried on.
            read: the state that the product with U sees; `state` where not given.
        """
        seen = state.c if read is None else read.c
        h = self.activation(linear(x, self.weight_ih, self.bias_h) + linear(seen, self.weight_ch))
        y = self.output_activation(linear(h, self.weight_ho, self.bias_o))
        c = self.decay * state.c + y if self.decay else y
        return y, JordanState(c)
