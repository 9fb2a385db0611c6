"""The minimal gated unit: a GRU whose one gate both resets and updates."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.functional import linear

from recurra.checks import check_bool, check_choice
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["MGU", "MGUState"]

Variant = Literal["mgu", "mgu1", "mgu2", "mgu3"]


class MGUState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class MGU(Cell):
    """Minimal gated unit (MGU), one time step.

        f = σ(W_f x + U_f h + b_f)                  forget, variant="mgu"
        f = σ(U_f h + b_f)                          forget, variant="mgu1"
        f = σ(U_f h)                                forget, variant="mgu2"
        f = σ(b_f)                                  forget, variant="mgu3"
        n = tanh(W_n x + U_n (f ⊙ h) + b_n)         candidate, reset="before" the product
        n = tanh(W_n x + f ⊙ (U_n h) + b_n)         candidate, reset="after" it
        h' = (1 - f) ⊙ h + f ⊙ n                    hidden state and output

    W is weight_ih, U weight_hh, b bias; those of the gate are missing where the variant has none.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        variant: what the gate sees: the input, the state and a bias (`"mgu"`), the state and a bias (`"mgu1"`), the
            state alone (`"mgu2"`), or a bias alone (`"mgu3"`).
        reset: where the gate acts on the candidate: `"before"` the product with U_n, as in the paper, or `"after"` it,
            which makes one product of the two.
        bias: whether there is b.

    Raises:
        ConfigError: variant or reset is none of these, or there is no bias for mgu3.

    Source: Zhou et al. 2016, arXiv:1603.09420; the variants: Heck and Salem 2017, arXiv:1701.03452. Weights begin
        uniform from ±1/√H, as those of `GRU`.
    """

    State = MGUState
    gates = ("f", "n")  # row blocks of weight_ih, weight_hh and bias; n alone where the variant has no row for f
    source = Source(
        key="zhou2016minimal",
        authors="Zhou, Guo-Bing and Wu, Jianxin and Zhang, Chen-Lin and Zhou, Zhi-Hua",
        title="Minimal Gated Unit for Recurrent Neural Networks",
        year=2016,
        venue="International Journal of Automation and Computing 13(3), 226-234",
        url="https://arxiv.org/abs/1603.09420",
    )
    option_sources: ClassVar[dict[str, Source]] = {
        "variant": Source(
            key="heck2017simplified",
            authors="Heck, Joel and Salem, Fathi M.",
            title="Simplified Minimal Gated Unit Variations for Recurrent Neural Networks",
            year=2017,
            venue="MWSCAS",
            url="https://arxiv.org/abs/1701.03452",
        )
    }

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        variant: Variant = "mgu",
        reset: Literal["before", "after"] = "before",
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.variant = check_choice("variant", variant, get_args(Variant))
        self.reset = check_choice("reset", reset, ("before", "after"))
        if not check_bool("bias", bias) and variant == "mgu3":
            raise ConfigError("The gate of `variant='mgu3'` is its bias alone: `bias` must be True, got False.")
        rows = {True: 2 * hidden_size, False: hidden_size}
        self.weight_ih = nn.Parameter(torch.empty(rows[variant == "mgu"], input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows[variant != "mgu3"], hidden_size))
        self.bias = nn.Parameter(torch.empty(rows[variant != "mgu2"])) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights uniformly from ±1/√H."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def step(self, x: Tensor, state: MGUState, read: MGUState | None = None) -> tuple[Tensor, MGUState]:
        """One time step; the equations stand on the class.

        Args:
            x: [B, I].
            state: the state that is carried on.
            read: the state that the products with U see; `state` where not given.
        """
        h = state.h
        seen = h if read is None else read.h
        x_f, x_n = self._blocks(linear(x, self.weight_ih))  # each [B, H]
        b_f, b_n = self._blocks(self.bias)
        if self.reset == "after":
            h_f, h_n = self._blocks(linear(seen, self.weight_hh))
            f = sigmoid(_sum(x_f, b_f, h_f))
            n = tanh(_sum(x_n, b_n, f * h_n))
        else:
            U_f, U_n = self._blocks(self.weight_hh, dim=0)
            f = sigmoid(_sum(x_f, b_f, None if U_f is None else linear(seen, U_f)))
            n = tanh(_sum(x_n, b_n, linear(f * seen, U_n)))
        h = (1 - f) * h + f * n
        return h, MGUState(h)

    def _blocks(self, rows: Tensor | None, dim: int = -1) -> tuple[Tensor | None, Any]:
        """What is for f and what is for n; None where there is nothing."""
        if rows is None:
            return None, None
        if rows.shape[dim] == self.hidden_size:
            return None, rows
        f, n = rows.chunk(2, dim=dim)
        return f, n


def _sum(*terms: Tensor | None) -> Tensor:
    there = [term for term in terms if term is not None]
    return functools.reduce(torch.add, there)
