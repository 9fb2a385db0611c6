"""A cell whose input, output and state are images of one size, with a step of a test's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recurra import Cell


class State(NamedTuple):
    h: Tensor


class Images(Cell):
    """A step of images [channels, *size] that is `f(cell, x, h)`."""

    State = State

    def __init__(
        self, channels: int, size: tuple[int, ...], weights: dict[str, tuple[int, ...]], f: Callable[..., Tensor]
    ) -> None:
        super().__init__()
        self.shape, self.f = (channels, *size), f
        for name, shape in weights.items():
            self.register_parameter(name, nn.Parameter(0.3 * torch.randn(shape, dtype=torch.float64)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.shape

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> State:
        return State(torch.zeros(batch_size, *self.shape, dtype=dtype, device=device))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(self.f(self, x, state.h))
        return h, State(h)
