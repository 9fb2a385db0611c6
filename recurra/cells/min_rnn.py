"""minGRU and minLSTM: gates that see the input alone, so that the state enters linearly, unit by unit."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn, sigmoid, where
from torch.nn.functional import linear, logsigmoid

from recurra.checks import check_bool, check_choice, check_number
from recurra.engine.contract import Cell, Source

__all__ = ["MinCell", "MinGRU", "MinGRUState", "MinLSTM", "MinLSTMState"]

Candidate = Literal["linear", "positive"]

_SOURCE = Source(
    key="feng2024were",
    authors="Feng, Leo and Tung, Frederick and Ahmed, Mohamed Osama and Bengio, Yoshua and Hajimirsadeghi, Hossein",
    title="Were RNNs All We Needed?",
    year=2024,
    venue="arXiv:2410.01201",
    url="https://arxiv.org/abs/2410.01201",
)


class MinCell(Cell):
    """The ground of minGRU and minLSTM: one product of the input, cut into gates and a candidate.

    Attributes:
        gates: names of the row blocks of weight_ih and bias, the candidate last.
        weight_ih: [G*H, I].
        bias: [G*H].
    """

    source = _SOURCE
    gates: ClassVar[tuple[str, ...]]

    def __init__(self, input_size: int, hidden_size: int, *, candidate: str) -> None:
        super().__init__(input_size, hidden_size)
        self.candidate = check_choice("candidate", candidate, ("linear", "positive"))
        self.weight_ih = nn.Parameter(torch.empty(len(self.gates) * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(len(self.gates) * hidden_size))

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly from ±1/√I, as torch draws those of a linear layer."""
        bound = 1 / math.sqrt(self.input_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def _gates_and_candidate(self, x: Tensor) -> tuple[Tensor, ...]:
        """The numbers that go into each gate, then the candidate, each [B, H]."""
        *gates, n = linear(x, self.weight_ih, self.bias).chunk(len(self.gates), dim=-1)
        return *gates, _positive(n) if self.candidate == "positive" else n


class MinGRUState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class MinGRU(MinCell):
    """Minimal gated recurrent unit (minGRU), one time step.

        z = σ(W_z x + b_z)                  update
        n = W_n x + b_n                     candidate, with candidate="linear"
        n = g(W_n x + b_n)                  with candidate="positive": g(a) = a + 1/2 where a ≥ 0, σ(a) elsewhere
        h' = (1 - z) ⊙ h + z ⊙ n            hidden state and output

    No gate sees the state: it enters linearly, unit by unit, and the loop over time holds no matrix product. W is
    weight_ih, b bias.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        candidate: `"linear"`, or `"positive"`, through g, as the paper has it in log space: the state then stays above
            0 from a start that is not below.

    Raises:
        ConfigError: `candidate` is neither of the two.

    Source: Feng et al. 2024, arXiv:2410.01201. Weights and biases begin uniform from ±1/√I, as in a linear layer of
        torch.
    """

    State = MinGRUState
    gates = ("z", "n")

    def __init__(self, input_size: int, hidden_size: int, *, candidate: Candidate = "linear") -> None:
        super().__init__(input_size, hidden_size, candidate=candidate)
        self.reset_parameters()

    def step(self, x: Tensor, state: MinGRUState) -> tuple[Tensor, MinGRUState]:
        """One time step; the equations stand on the class."""
        z, n = self._gates_and_candidate(x)
        z = sigmoid(z)
        h = (1 - z) * state.h + z * n
        return h, MinGRUState(h)


class MinLSTMState(NamedTuple):
    """h: hidden state, also the output, [B, H]."""

    h: Tensor


class MinLSTM(MinCell):
    """Minimal long short-term memory (minLSTM), one time step.

        f = σ(W_f x + b_f)                      forget gate
        i = σ(W_i x + b_i)                      input gate
        n = W_n x + b_n                         candidate, with candidate="linear"
        n = g(W_n x + b_n)                      with candidate="positive": g(a) = a + 1/2 where a ≥ 0, σ(a) elsewhere
        f̄ = f / (f + i),  ī = i / (f + i)       together 1; f and i themselves with normalise=False
        h' = f̄ ⊙ h + ī ⊙ n                      hidden state and output

    No gate sees the state: it enters linearly, unit by unit, and the loop over time holds no matrix product. W is
    weight_ih, b bias.

    Shapes: x [B, I], state.h [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        candidate: `"linear"`, or `"positive"`, through g, as the paper has it in log space: the state then stays above
            0 from a start that is not below.
        normalise: whether the two gates are made to add up to 1, so that the state keeps its scale over time.
        forget_bias: b_f at the start; drawn like all others where not given. A large one lets the cell remember from
            the beginning.

    Raises:
        ConfigError: `candidate` is neither of the two, or `forget_bias` is no number.

    Source: Feng et al. 2024, arXiv:2410.01201. Weights and biases begin uniform from ±1/√I, as in a linear layer of
        torch.
    """

    State = MinLSTMState
    gates = ("f", "i", "n")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        candidate: Candidate = "linear",
        normalise: bool = True,
        forget_bias: float | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, candidate=candidate)
        self.normalise = check_bool("normalise", normalise)
        self.forget_bias = None if forget_bias is None else check_number("forget_bias", forget_bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases uniformly from ±1/√I; then set the forget bias where one is given."""
        super().reset_parameters()
        if self.forget_bias is not None:
            with torch.no_grad():
                self.bias[: self.hidden_size] = self.forget_bias

    def step(self, x: Tensor, state: MinLSTMState) -> tuple[Tensor, MinLSTMState]:
        """One time step; the equations stand on the class."""
        f, i, n = self._gates_and_candidate(x)
        if self.normalise:
            f = sigmoid(logsigmoid(f) - logsigmoid(i))  # f / (f + i), where both may be too small for a division
            i = 1 - f
        else:
            f, i = sigmoid(f), sigmoid(i)
        h = f * state.h + i * n
        return h, MinLSTMState(h)


def _positive(a: Tensor) -> Tensor:
    """g of the paper: above 0 everywhere, and without a jump."""
    return where(a >= 0, a + 0.5, sigmoid(a))
