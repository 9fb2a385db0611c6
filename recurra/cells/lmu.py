"""The Legendre memory unit: a linear memory of a sliding window beside a small nonlinear state."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn, tanh
from torch.nn.functional import linear

from recurra.checks import check_bool, check_choice, check_count, check_number
from recurra.engine.contract import Cell, Source

__all__ = ["LMU", "LMUState", "legendre_memory"]


class LMUState(NamedTuple):
    """h: hidden state, also the output, [B, H]. m: memory, Legendre coefficients of the window, [B, D]."""

    h: Tensor
    m: Tensor


class LMU(Cell):
    """Legendre memory unit (LMU), one time step.

        u = e_x·x + e_h·h + e_m·m                    what is remembered, one number
        m' = A m + B u                               memory
        h' = tanh(W_x x + W_h h + W_m m')            hidden state and output

    A [D, D] and B [D] are those of a perfect delay line of θ steps, cut to D numbers and taken to steps of length 1
    (`legendre_memory`): m' holds the last θ values of u as a polynomial, and the one of r θ steps ago, 0 ≤ r ≤ 1, is
    Σ_i m'_i P_i(2 r - 1) with the Legendre polynomials P_i. They are not trained unless asked for.

    e_x, e_h and e_m are encoder_x [1, I], encoder_h [1, H] and encoder_m [1, D]; W_x weight_ih, W_h weight_hh,
    W_m weight_mh [H, D].

    Shapes: x [B, I], state.h [B, H], state.m [B, D] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units; also the size of the output.
        order: D, numbers in the memory. It follows up to about D/5 swings of u within the window.
        theta: θ, length of the window in steps, above 0.
        discretisation: how A and B are taken to whole steps: `"zoh"`, exactly for a u that is held between two steps,
            or `"euler"`, to first order, which is stable for θ above about D²/3.
        learn_memory: train A and B too.

    Raises:
        ConfigError: order, theta or discretisation cannot be.

    Source: Voelker, Kajić and Eliasmith 2019, "Legendre Memory Units", section 2. Encoders of x and h begin LeCun
        uniform, that of m zero, W Glorot normal, as in the authors' code.
    """

    State = LMUState
    source = Source(
        key="voelker2019legendre",
        authors="Voelker, Aaron R. and Kajić, Ivana and Eliasmith, Chris",
        title="Legendre Memory Units: Continuous-Time Representation in Recurrent Neural Networks",
        year=2019,
        venue="NeurIPS",
        url="https://papers.nips.cc/paper/9689-legendre-memory-units-continuous-time-representation-in-recurrent-neural-networks",
        where="section 2",
    )

    A: Tensor
    B: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        order: int = 32,
        theta: float = 100.0,
        discretisation: Literal["zoh", "euler"] = "zoh",
        learn_memory: bool = False,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.order = check_count("order", order)
        self.theta = check_number("theta", theta, above=0)
        self.discretisation = check_choice("discretisation", discretisation, ("zoh", "euler"))
        self.encoder_x = nn.Parameter(torch.empty(1, input_size))
        self.encoder_h = nn.Parameter(torch.empty(1, hidden_size))
        self.encoder_m = nn.Parameter(torch.empty(1, order))
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.weight_mh = nn.Parameter(torch.empty(hidden_size, order))
        check_bool("learn_memory", learn_memory)
        for name, matrix in zip("AB", self._memory(), strict=True):
            if learn_memory:
                self.register_parameter(name, nn.Parameter(matrix))
            else:
                self.register_buffer(name, matrix)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw encoders and weights anew; A and B are those of the delay line."""
        for encoder in (self.encoder_x, self.encoder_h):
            bound = math.sqrt(3 / encoder.shape[1])
            nn.init.uniform_(encoder, -bound, bound)
        nn.init.zeros_(self.encoder_m)
        for weight in (self.weight_ih, self.weight_hh, self.weight_mh):
            nn.init.xavier_normal_(weight)
        with torch.no_grad():
            for old, new in zip((self.A, self.B), self._memory(), strict=True):
                old.copy_(new)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """m has D numbers."""
        return (self.hidden_size,), (self.order,)

    def step(self, x: Tensor, state: LMUState) -> tuple[Tensor, LMUState]:
        """One time step; the equations stand on the class."""
        h, m = state
        u = linear(x, self.encoder_x) + linear(h, self.encoder_h) + linear(m, self.encoder_m)  # [B, 1]
        m = linear(m, self.A) + u * self.B
        h = tanh(linear(x, self.weight_ih) + linear(h, self.weight_hh) + linear(m, self.weight_mh))
        return h, LMUState(h, m)

    def _memory(self) -> tuple[Tensor, Tensor]:
        A, B = legendre_memory(self.order, self.theta, self.discretisation)
        return A.to(torch.get_default_dtype()), B.to(torch.get_default_dtype())


def legendre_memory(order: int, theta: float, discretisation: str = "zoh") -> tuple[Tensor, Tensor]:
    """A and B of a memory of the last `theta` steps, m' = A m + B u.

        θ dm/dt = A_c m + B_c u        A_c[i, j] = (2i + 1) (-1 where i < j, (-1)^(i-j+1) elsewhere)
                                       B_c[i] = (2i + 1) (-1)^i

    With `"zoh"`, A = exp(A_c/θ) and B = ∫ exp(A_c s/θ) B_c/θ ds from 0 to 1; with `"euler"`, A = 1 + A_c/θ, B = B_c/θ.

    Args:
        order: D, numbers in the memory.
        theta: θ, length of the window in steps.
        discretisation: `"zoh"` or `"euler"`.

    Returns: A [D, D] and B [D], float64.

    Source: Voelker et al. 2019, section 2.
    """
    i = torch.arange(order, dtype=torch.float64)
    sign = 1 - 2 * (i % 2)  # (-1)^i
    later = i[:, None] < i[None, :]
    A = (2 * i + 1)[:, None] * torch.where(later, -1.0, -sign[:, None] * sign[None, :])
    B = (2 * i + 1) * sign
    # both at once: exp [[A, B], [0, 0]] = [[exp A, ∫ exp(A s) B ds], [0, 1]]
    flow = torch.zeros(order + 1, order + 1, dtype=torch.float64)
    flow[:order] = torch.cat([A, B[:, None]], dim=1) / theta
    step = torch.linalg.matrix_exp(flow) if discretisation == "zoh" else torch.eye(order + 1).double() + flow
    return step[:order, :order].contiguous(), step[:order, order].contiguous()
