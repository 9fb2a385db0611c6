"""The simple recurrent unit: gates that see the cell state unit by unit, and a highway past the recurrence."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn, sigmoid
from torch.nn.functional import linear

from recurra.checks import check_bool, check_number
from recurra.engine.contract import Cell, Source

__all__ = ["SRU", "SRUState"]


class SRUState(NamedTuple):
    """c: cell state, [B, H]."""

    c: Tensor


class SRU(Cell):
    """Simple recurrent unit (SRU), one time step.

        f = σ(W_f x + v_f ⊙ c + b_f)             forget gate
        r = σ(W_r x + v_r ⊙ c + b_r)             reset gate, of the highway
        c' = f ⊙ c + (1 - f) ⊙ (W_c x)           cell state
        y = r ⊙ c' + (1 - r) ⊙ α x               output; α W_s x where the sizes I and H differ

    α = √(1 + 2 exp(b_r at the start)) keeps the variance of y near that of x in a deep stack; it is 1 with
    rescale=False. W is weight_ih, v weight_ch, b bias.

    Every gate sees its own unit of c alone, so the loop over time holds no matrix product; without `peephole` the state
    enters linearly.

    Shapes: x [B, I], state.c [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        peephole: whether there are v_f and v_r, with which the gates see the cell state.
        rescale: whether the highway is scaled by α.
        highway_bias: b_r at the start; a negative one favours the highway, which deep stacks like.

    Raises:
        ConfigError: `highway_bias` is no number.

    Source: Lei et al. 2018, arXiv:1709.02755, section 3. W begins uniform with variance 1/I, v with variance 1/2, the
        gates' rows of W then scaled by √½, biases zero but for b_r, as in the authors' code.
    """

    State = SRUState
    gates: tuple[str, ...] = ("c", "f", "r")  # row blocks of weight_ih, and "s" where I is not H
    source = Source(
        key="lei2018simple",
        authors="Lei, Tao and Zhang, Yu and Wang, Sida I. and Dai, Hui and Artzi, Yoav",
        title="Simple Recurrent Units for Highly Parallelizable Recurrence",
        year=2018,
        venue="EMNLP",
        url="https://arxiv.org/abs/1709.02755",
        where="section 3",
    )

    weight_ch: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        peephole: bool = True,
        rescale: bool = True,
        highway_bias: float = 0.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.peephole, self.rescale = check_bool("peephole", peephole), check_bool("rescale", rescale)
        self.highway_bias = check_number("highway_bias", highway_bias)
        if input_size != hidden_size:
            self.gates = (*self.gates, "s")
        self.weight_ih = nn.Parameter(torch.empty(len(self.gates) * hidden_size, input_size))
        self.weight_ch = nn.Parameter(torch.empty(2 * hidden_size)) if peephole else None  # of f and r
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))  # of f and r
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew; biases are 0 but for that of the highway."""
        size = self.hidden_size
        bound = math.sqrt(3 / self.input_size)
        nn.init.uniform_(self.weight_ih, -bound, bound)
        with torch.no_grad():
            self.bias[:size], self.bias[size:] = 0.0, self.highway_bias
            if self.weight_ch is not None:
                # the two sums that go into a gate have a variance of 1 together
                nn.init.uniform_(self.weight_ch, -math.sqrt(1.5), math.sqrt(1.5))
                self.weight_ih[size : 3 * size] *= math.sqrt(0.5)

    @property
    def alpha(self) -> float:
        """α, by which the highway is scaled."""
        return math.sqrt(1 + 2 * math.exp(self.highway_bias)) if self.rescale else 1.0

    def step(self, x: Tensor, state: SRUState) -> tuple[Tensor, SRUState]:
        """One time step; the equations stand on the class."""
        c = state.c
        candidate, f, r, *skip = linear(x, self.weight_ih).chunk(len(self.gates), dim=-1)  # each [B, H]
        b_f, b_r = self.bias.chunk(2)
        f, r = f + b_f, r + b_r
        if self.weight_ch is not None:
            v_f, v_r = self.weight_ch.chunk(2)
            f, r = f + v_f * c, r + v_r * c
        f, r = sigmoid(f), sigmoid(r)
        c = f * c + (1 - f) * candidate
        output = r * c + (1 - r) * (self.alpha * (skip[0] if skip else x))
        return output, SRUState(c)
