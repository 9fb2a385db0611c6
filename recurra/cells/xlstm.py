"""The two cells of xLSTM: exponential gates, with a scalar memory (sLSTM) and with a matrix memory (mLSTM).

An exponential gate overflows where its argument is large, so both cells keep their memory divided by e^m, with a
stabiliser m that grows and shrinks with the gates. The output does not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, exp, maximum, nn, sigmoid, tanh, where
from torch.nn.functional import linear, logsigmoid

from recurra.cells.rnn import ACTIVATIONS
from recurra.checks import check_choice, check_count, check_number
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["MLSTM", "SLSTM", "MLSTMState", "SLSTMState"]

_SOURCE = Source(
    key="beck2024xlstm",
    authors="Beck, Maximilian and Pöppel, Korbinian and Spanring, Markus and Auer, Andreas and Prudnikova, Oleksandra "
    "and Kopp, Michael and Klambauer, Günter and Brandstetter, Johannes and Hochreiter, Sepp",
    title="xLSTM: Extended Long Short-Term Memory",
    year=2024,
    venue="NeurIPS",
    url="https://arxiv.org/abs/2405.04517",
    where="section 2",
)


class SLSTMState(NamedTuple):
    """h: hidden state, also the output. c: cell state, divided by e^m. n: normaliser, likewise. m: stabiliser.

    Each [B, H].
    """

    h: Tensor
    c: Tensor
    n: Tensor
    m: Tensor


class SLSTM(Cell):
    """sLSTM: a long short-term memory with exponential gates and memory mixing within heads, one time step.

        i, f, z, o = W x + R h + b             four blocks of rows, in this order
        l = log σ(f), or l = f                 log of the forget gate, with forget_gate="sigmoid" or "exp"
        m' = max(l + m, i)                     stabiliser; m' = i where nothing is kept yet, n = 0
        c' = e^(l + m - m') c + e^(i - m') tanh(z)          cell state
        n' = e^(l + m - m') n + e^(i - m')                  normaliser
        h' = σ(o) ⊙ c' / n'                    hidden state and output

    One of the two powers is always 1, so n' is at least 1 and nothing overflows. The state begins as zeros. A plain
    max with m = 0 would then lose a first input gate far below 1, and divide 0 by 0: hence the rule for n = 0, which is
    m = -∞ without an infinity.

    W is weight_ih [4H, I], b bias_ih. R is weight_hh [K, 4H/K, H/K]: unit by unit within one of K heads, with rows
    i, f, z, o of that head. Beware of other code: there are weights about in which gates stand in another order than
    their names say.

    Shapes: x [B, I], every field of the state [B, H] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        num_heads: K, blocks of R; it divides H. Units of two heads do not see each other.
        forget_gate: `"sigmoid"` or `"exp"`. The second is no bound on what is kept: the past may gain weight.
        forget_bias: b_f at the start: `"powerlaw"`, from 5 down to -7 over the units of a head, as 12 r^0.3 with r from
            0 to 1; `"linspace"`, from 3 to 6, for a long memory in all; or one number.

    Raises:
        ConfigError: num_heads does not divide H, or forget_gate or forget_bias cannot be.

    Source: Beck et al. 2024, arXiv:2405.04517, section 2; the blocks around the cell (norms, convolution, projections)
        are no part of it. Initialisation is that of the authors' code: W normal with deviation √(2 / 5I), R and all
        biases but b_f zero.
    """

    State = SLSTMState
    free_fields = ("h",)  # c and n are divided by the same e^m
    gates = ("i", "f", "z", "o")  # row blocks of weight_ih, of bias_ih, and of each head of weight_hh
    source = _SOURCE

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 1,
        forget_gate: Literal["sigmoid", "exp"] = "sigmoid",
        forget_bias: float | Literal["powerlaw", "linspace"] = "powerlaw",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.num_heads = _check_heads(num_heads, hidden_size)
        self.log_forget = _log_forget(forget_gate)
        self.forget_bias = _check_bias(forget_bias, ("powerlaw", "linspace"))
        size = hidden_size // num_heads
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(num_heads, 4 * size, size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W; set R and the biases, as the class says."""
        _small_normal(self.weight_ih)
        nn.init.zeros_(self.weight_hh)
        nn.init.zeros_(self.bias_ih)
        with torch.no_grad():
            forget = self.bias_ih.view(4, self.num_heads, -1)[1]  # [K, H/K]
            forget.copy_(_biases(self.forget_bias, forget.shape[1]).expand_as(forget))

    def step(self, x: Tensor, state: SLSTMState) -> tuple[Tensor, SLSTMState]:
        """One time step; the equations stand on the class."""
        h, c, n, m = state
        rows = zip(linear(x, self.weight_ih, self.bias_ih).chunk(4, dim=-1), self._mix(h), strict=True)
        i, f, z, o = (of_x + of_h for of_x, of_h in rows)  # each [B, H]
        kept = where(n == 0, i, self.log_forget(f) + m)
        m = maximum(kept, i)
        forget, write = exp(kept - m), exp(i - m)
        c = forget * c + write * tanh(z)
        n = forget * n + write
        h = sigmoid(o) * c / n
        return h, SLSTMState(h, c, n, m)

    def _mix(self, h: Tensor) -> list[Tensor]:
        """R h for i, f, z, o, each [B, H]."""
        heads = zip(h.chunk(self.num_heads, dim=-1), self.weight_hh, strict=True)
        rows = torch.stack([linear(head, weight) for head, weight in heads], dim=1)  # [B, K, 4H/K]
        return [gate.flatten(1) for gate in rows.chunk(4, dim=-1)]


class MLSTMState(NamedTuple):
    """C: matrix memory divided by e^m, [B, K, d, d]. n: normaliser, likewise, [B, K, d]. m: stabiliser, [B, K]."""

    C: Tensor
    n: Tensor
    m: Tensor


class MLSTM(Cell):
    """mLSTM: a matrix memory of keys and values with exponential gates, one time step.

        q, k, v, o = W x + b                   four blocks of rows, in this order, each cut into K heads of d numbers
        i, f = W_g x + b_g                     one of each a head
        l = log σ(f), or l = f                 log of the forget gate, with forget_gate="sigmoid" or "exp"
        m' = max(l + m, i)                     stabiliser
        C' = e^(l + m - m') C + e^(i - m') v kᵀ / √d        memory, of what v was stored at which k
        n' = e^(l + m - m') n + e^(i - m') k / √d           normaliser
        h = σ(o) ⊙ C' q / max(|n'ᵀ q|, e^-m')               output

    No gate sees the state: the memory is linear in its past, and nothing but it is carried on. The floor e^-m' is 1 in
    the numbers of C and n before they were divided. It is held within e^-15 and e^60, the first below what rounding
    leaves of n'ᵀ q in float32 and the second above what any output could tell from infinity, so that huge gates give
    no division by 0 and no overflow. The state begins as zeros, where the stabiliser makes no difference: m = 0.

    W is weight_ih [4H, I], b bias_ih, W_g weight_if [2K, I], b_g bias_if.

    Shapes: x [B, I], state.C [B, K, d, d], state.n [B, K, d], state.m [B, K] with d = H/K -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, size of the output.
        num_heads: K, memories; it divides H. A state has about H²/K numbers.
        forget_gate: `"sigmoid"` or `"exp"`.
        forget_bias: b_f at the start: `"linspace"`, from 3 to 6 over the heads, or one number.

    Raises:
        ConfigError: num_heads does not divide H, or forget_gate or forget_bias cannot be.

    Source: Beck et al. 2024, arXiv:2405.04517, section 2; the blocks around the cell (norms, convolution, projections)
        are no part of it. Initialisation is that of the authors' code: W normal with deviation √(2 / 5I), b and W_g
        zero, b_i normal with deviation 0.1.
    """

    State = MLSTMState
    free_fields = ()  # C and n are divided by the same e^m
    gates = ("q", "k", "v", "o")  # row blocks of weight_ih and bias_ih; those of weight_if and bias_if are i, f
    source = _SOURCE

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        num_heads: int = 1,
        forget_gate: Literal["sigmoid", "exp"] = "sigmoid",
        forget_bias: float | Literal["linspace"] = "linspace",
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.num_heads = _check_heads(num_heads, hidden_size)
        self.log_forget = _log_forget(forget_gate)
        self.forget_bias = _check_bias(forget_bias, ("linspace",))
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.weight_if = nn.Parameter(torch.empty(2 * num_heads, input_size))
        self.bias_if = nn.Parameter(torch.empty(2 * num_heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw W and b_i; set all others, as the class says."""
        _small_normal(self.weight_ih)
        nn.init.zeros_(self.bias_ih)
        nn.init.zeros_(self.weight_if)
        nn.init.normal_(self.bias_if, std=0.1)
        with torch.no_grad():
            self.bias_if[self.num_heads :] = _biases(self.forget_bias, self.num_heads)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """As the class says them."""
        size = self.hidden_size // self.num_heads
        return (self.num_heads, size, size), (self.num_heads, size), (self.num_heads,)

    def step(self, x: Tensor, state: MLSTMState) -> tuple[Tensor, MLSTMState]:
        """One time step; the equations stand on the class."""
        C, n, m = state
        *blocks, o = linear(x, self.weight_ih, self.bias_ih).chunk(4, dim=-1)  # each [B, H]
        q, k, v = (block.unflatten(-1, (self.num_heads, -1)) for block in blocks)  # each [B, K, d]
        k = k / math.sqrt(k.shape[-1])
        i, f = linear(x, self.weight_if, self.bias_if).chunk(2, dim=-1)  # each [B, K]
        kept = self.log_forget(f) + m
        m = maximum(kept, i)
        forget, write = exp(kept - m)[..., None], exp(i - m)[..., None]  # each [B, K, 1]
        C = forget[..., None] * C + (write * v)[..., :, None] * k[..., None, :]  # [B, K, d, d]
        n = forget * n + write * k
        floor = exp(-m.clamp(-60, 15))
        found = (C * q[..., None, :]).sum(-1) / maximum((n * q).sum(-1).abs(), floor)[..., None]  # [B, K, d]
        return sigmoid(o) * found.flatten(1), MLSTMState(C, n, m)


def _log_forget(forget_gate: str) -> Callable[[Tensor], Tensor]:
    check_choice("forget_gate", forget_gate, ("sigmoid", "exp"))
    return logsigmoid if forget_gate == "sigmoid" else ACTIVATIONS["identity"]


def _check_heads(num_heads: int, hidden_size: int) -> int:
    check_count("num_heads", num_heads)
    if hidden_size % num_heads:
        raise ConfigError(f"`num_heads` must divide `hidden_size={hidden_size}`, got {num_heads}.")
    return num_heads


def _check_bias(forget_bias: float | str, names: tuple[str, ...]) -> float | str:
    if isinstance(forget_bias, str):
        return check_choice("forget_bias", forget_bias, names)
    return check_number("forget_bias", forget_bias)


def _biases(forget_bias: float | str, count: int) -> Tensor:
    """The forget biases of that many units or heads."""
    if forget_bias == "powerlaw":
        return 5 - 12 * torch.linspace(0, 1, count) ** 0.3
    if forget_bias == "linspace":
        return torch.linspace(3, 6, count)
    return torch.full((count,), float(forget_bias))


def _small_normal(weight: Tensor) -> None:
    nn.init.normal_(weight, std=math.sqrt(2 / (5 * weight.shape[1])))
