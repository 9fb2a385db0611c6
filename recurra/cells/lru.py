"""The linear recurrent unit: complex numbers that turn and fade, one for each unit."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.checks import check_count, check_number
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["LRU", "LRUState"]


class LRUState(NamedTuple):
    """re, im: real and imaginary part of the hidden state h, each [B, H]."""

    re: Tensor
    im: Tensor


class LRU(Cell):
    """Linear recurrent unit (LRU), one time step; h, λ, B and C are complex.

        λ = exp(-exp(ν) + i exp(θ))             eigenvalues, always within the unit circle
        h' = λ ⊙ h + exp(γ) ⊙ (B x)             hidden state
        y = Re(C h') + D x                      output

    The state enters linearly, unit by unit: the loop over time holds no matrix product. What is not linear stands
    between the layers of a network, not in the recurrence.

    ν, θ and γ are nu_log, theta_log and gamma_log [H]; B is weight_ih [2H, I] and C weight_ho [O, 2H], each with its
    real parts first, and D weight_io [O, I].

    Shapes: x [B, I], state.re and state.im [B, H] -> output [B, O], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, complex units.
        output_size: O; H where not given.
        r_min: the smallest |λ| at the start, from 0.
        r_max: the largest, above r_min, up to 1: the nearer to 1, the longer the memory.
        max_phase: the largest phase of λ at the start, above 0 and up to 2π, in radians: a small one for slow swings.

    Raises:
        ConfigError: r_min, r_max, max_phase or output_size cannot be.

    Source: Orvieto et al. 2023, arXiv:2303.06349, section 3. λ begins uniform on the ring between r_min and r_max, γ at
        log √(1 - |λ|²), which keeps the variance of h at that of B x; B begins normal with variance 1/(2I), C with 1/H,
        real and imaginary parts each, D with 1/I.
    """

    State = LRUState
    gates = ("re", "im")  # row blocks of weight_ih, column blocks of weight_ho
    source = Source(
        key="orvieto2023resurrecting",
        authors="Orvieto, Antonio and Smith, Samuel L. and Gu, Albert and Fernando, Anushan and Gulcehre, Caglar and "
        "Pascanu, Razvan and De, Soham",
        title="Resurrecting Recurrent Neural Networks for Long Sequences",
        year=2023,
        venue="ICML",
        url="https://arxiv.org/abs/2303.06349",
        where="section 3",
    )

    nu_log: Tensor
    theta_log: Tensor
    gamma_log: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        output_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.output_size = hidden_size if output_size is None else check_count("output_size", output_size)
        self.r_min, self.r_max = check_number("r_min", r_min, least=0), check_number("r_max", r_max)
        if not self.r_min < self.r_max <= 1:
            raise ConfigError(f"`r_max` must be above `r_min={r_min}` and at most 1, got {r_max!r}.")
        self.max_phase = check_number("max_phase", max_phase, above=0)
        if self.max_phase > 2 * math.pi:
            raise ConfigError(f"`max_phase` must be at most 2π, a full turn, got {max_phase!r}.")
        for name in ("nu_log", "theta_log", "gamma_log"):
            self.register_parameter(name, nn.Parameter(torch.empty(hidden_size)))
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_ho = nn.Parameter(torch.empty(self.output_size, 2 * hidden_size))
        self.weight_io = nn.Parameter(torch.empty(self.output_size, input_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the eigenvalues from their ring and all weights from their normal distributions."""
        tiny = 1e-12  # of 0 there is no logarithm
        area, phase = torch.rand(2, self.hidden_size, dtype=torch.float64)
        squared = (self.r_min**2 + (self.r_max**2 - self.r_min**2) * area).clamp(tiny, 1 - tiny)  # |λ|²
        with torch.no_grad():
            self.nu_log.copy_(torch.log(-0.5 * torch.log(squared)))
            self.theta_log.copy_(torch.log(self.max_phase * phase.clamp_min(tiny)))
            self.gamma_log.copy_(0.5 * torch.log1p(-squared))
        nn.init.normal_(self.weight_ih, std=1 / math.sqrt(2 * self.input_size))
        nn.init.normal_(self.weight_ho, std=1 / math.sqrt(self.hidden_size))
        nn.init.normal_(self.weight_io, std=1 / math.sqrt(self.input_size))

    def step(self, x: Tensor, state: LRUState) -> tuple[Tensor, LRUState]:
        """One time step; the equations stand on the class."""
        size, phase = torch.exp(-torch.exp(self.nu_log)), torch.exp(self.theta_log)
        l_re, l_im = size * torch.cos(phase), size * torch.sin(phase)
        gain = torch.exp(self.gamma_log)
        x_re, x_im = linear(x, self.weight_ih).chunk(2, dim=-1)  # each [B, H]
        re = l_re * state.re - l_im * state.im + gain * x_re
        im = l_re * state.im + l_im * state.re + gain * x_im
        output = linear(torch.cat([re, -im], dim=-1), self.weight_ho) + linear(x, self.weight_io)
        return output, LRUState(re, im)
