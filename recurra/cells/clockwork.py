"""The clockwork network: modules that tick at different periods, slow ones telling the fast ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from recurra.cells.rnn import Activation, find_activation
from recurra.checks import check_bool, check_count
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["Clockwork", "ClockworkState"]

DEFAULT_MODULES = 8
LONGEST_CYCLE = 2**23  # float32 counts halves exactly up to here


class ClockworkState(NamedTuple):
    """h: hidden state, also the output, [B, H]. t: steps since the beginning of the cycle, [B, 1], float32 at least."""

    h: Tensor
    t: Tensor


class Clockwork(Cell):
    """Clockwork recurrent network (CW-RNN), one time step.

        ĥ = φ(W x + U h + b)                               as in an Elman network
        h'_i = ĥ_i where t mod P_i = 0, h_i elsewhere      hidden state and output
        t' = t + 1                                         steps so far, from 0 again after the last period ends

    The units are M modules; those of module i have the period P_i and rest in between. U is block-upper-triangular: a
    module sees itself and slower ones. At the first step, t = 0, all modules tick. W is weight_ih, U weight_hh ⊙ mask,
    b bias.

    A resting module is computed and thrown away: what this cell offers is the paper's memory, not its saving. t is a
    clock and stays one: h alone is free for wrappers and networks that change the state.

    Shapes: x [B, I], state.h [B, H], state.t [B, 1] -> output [B, H], state.

    Args:
        input_size: I, numbers in one input vector.
        hidden_size: H, units, shared out among the modules, fast ones first, as evenly as can be.
        periods: P, steps between two ticks of each module, each longer than the one before; 1, 2, 4, 8, ... where not
            given.
        modules: M, how many where `periods` is not given; 8, or H where that is less.
        activation: φ, a name (`"tanh"`, `"relu"`, ...) or any function or module on tensors [B, H].
        bias: whether there is b.

    Raises:
        ConfigError: the periods do not grow, are not one a module, or leave a module without a unit; or the activation
            is unknown.

    Source: Koutník et al. 2014, arXiv:1402.3511, section 3. W and U begin normal with standard deviation 0.1, as in its
        experiments, and b zero.
    """

    State = ClockworkState
    free_fields = ("h",)  # t is a clock
    source = Source(
        key="koutnik2014clockwork",
        authors="Koutník, Jan and Greff, Klaus and Gomez, Faustino and Schmidhuber, Jürgen",
        title="A Clockwork RNN",
        year=2014,
        venue="ICML",
        url="https://arxiv.org/abs/1402.3511",
        where="section 3",
    )

    mask: Tensor
    unit_period: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        periods: Sequence[int] | None = None,
        modules: int | None = None,
        activation: str | Activation = "tanh",
        bias: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.periods = _periods(periods, modules, hidden_size)
        self.cycle = math.lcm(*self.periods)
        if self.cycle > LONGEST_CYCLE:
            raise ConfigError(
                f"`periods` must come together again within {LONGEST_CYCLE:,} steps, got {list(self.periods)}, "
                f"which take {self.cycle:,}."
            )
        self.activation = find_activation(activation)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size)) if check_bool("bias", bias) else None
        # the first modules have one unit more where H is not a multiple of M
        module = torch.arange(len(self.periods)).repeat_interleave(torch.tensor(self.module_sizes))
        self.register_buffer("mask", module[:, None] <= module[None, :], persistent=False)
        self.register_buffer("unit_period", torch.tensor(self.periods)[module].float(), persistent=False)
        self.reset_parameters()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """As of every module, but periods are not rounded to half precision: the clock they go with is none of it."""
        periods = self.unit_period
        super()._apply(fn, recurse)
        if self.unit_period.dtype in (torch.bfloat16, torch.float16):
            self.unit_period = periods.to(self.unit_period.device)
        return self

    @property
    def module_sizes(self) -> list[int]:
        """Units of each module."""
        least, more = divmod(self.hidden_size, len(self.periods))
        return [least + (at < more) for at in range(len(self.periods))]

    def reset_parameters(self) -> None:
        """Draw W and U normally with standard deviation 0.1; set b to 0."""
        nn.init.normal_(self.weight_ih, std=0.1)
        nn.init.normal_(self.weight_hh, std=0.1)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        """t is one number a sequence."""
        return (self.hidden_size,), (1,)

    def initial_state(
        self, batch_size: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ClockworkState:
        """Zeros; t counts in float32 where h is less exact."""
        return _exact_clock(super().initial_state(batch_size, dtype=dtype, device=device))

    def as_state(self, state: Any, batch_size: int, *, like: Tensor) -> ClockworkState:
        """As in every cell; t is made as exact as it begins."""
        return _exact_clock(super().as_state(state, batch_size, like=like))

    def step(
        self, x: Tensor, state: ClockworkState, read: ClockworkState | None = None
    ) -> tuple[Tensor, ClockworkState]:
        """One time step; the equations stand on the class.

        Args:
            x: [B, I].
            state: the state that is carried on.
            read: the state that the product with U sees; `state` where not given.
        """
        h, t = state
        seen = h if read is None else read.h
        new = self.activation(linear(x, self.weight_ih, self.bias) + linear(seen, self.weight_hh * self.mask))
        # half a step from where t mod P is 0, so that rounding cannot move a tick
        middle = t + 0.5
        phase = middle - self.unit_period * (middle / self.unit_period).floor()  # [B, H]
        h = torch.where(phase < 1, new, h)
        t = torch.where(t > self.cycle - 1.5, 0.0, t + 1)
        return h, ClockworkState(h, t)


def _exact_clock(state: ClockworkState) -> ClockworkState:
    return state._replace(t=state.t.float()) if state.t.dtype in (torch.bfloat16, torch.float16) else state


def _periods(periods: Sequence[int] | None, modules: int | None, hidden_size: int) -> tuple[int, ...]:
    if periods is not None and (not isinstance(periods, list | tuple) or not periods):
        raise ConfigError(f"`periods` must be a list of periods, one a module, got {periods!r}.")
    if periods is None:
        count = min(DEFAULT_MODULES, hidden_size) if modules is None else check_count("modules", modules)
        periods = [2**at for at in range(count)]
    elif modules is not None and modules != len(periods):
        raise ConfigError(f"`modules` must be the number of `periods`, {len(periods)}, or left out, got {modules!r}.")
    if not all(isinstance(period, int) and not isinstance(period, bool) for period in periods) or not all(
        one < later for one, later in pairwise((0, *periods))
    ):
        raise ConfigError(
            f"`periods` must be whole numbers of at least 1, each larger than the one before, got {list(periods)}."
        )
    if len(periods) > hidden_size:
        raise ConfigError(
            f"{len(periods)} modules need at least {len(periods)} units, got `hidden_size` {hidden_size}."
        )
    return tuple(periods)
