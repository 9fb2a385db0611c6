"""Attention by modules of torch over slots of a state, which they want with the batch second: compiled and right."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recurra import Cell
from tests.engine.engines import assert_engines_agree


class State(NamedTuple):
    h: Tensor  # [B, n, d]


class Slots(Cell):
    """`h' = function(part, W x + h)`, for n slots of d numbers."""

    State = State

    def __init__(self, part: Any, function: Any) -> None:
        super().__init__(4, 24)
        torch.manual_seed(0)
        self.input, self.part, self.function = nn.Linear(4, 24), part, function

    def initial_state(self, batch_size: int, *, dtype: Any = None, device: Any = None) -> State:
        return State(torch.zeros(batch_size, 6, 4, dtype=dtype, device=device))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.function(self.part, self.input(x).unflatten(-1, (6, 4)) + state.h)
        return h.flatten(1), State(h)


def attention(part: Any, h: Tensor) -> Tensor:
    return torch.tanh(part(h, h, h, need_weights=False)[0] + h)


def attention_with_weights(part: Any, h: Tensor) -> Tensor:
    read, weights = part(h, h, h)
    return torch.tanh(read + weights.sum(1)[..., None] * h)


def attention_to_others(part: Any, h: Tensor) -> Tensor:
    return torch.tanh(part(h, h[:, :2], h[:, :2])[0])


def attention_time_first(part: Any, h: Tensor) -> Tensor:
    h = h.transpose(0, 1)
    return torch.tanh(part(h, h, h, need_weights=False)[0]).transpose(0, 1)


def masked(_: Any, h: Tensor) -> Tensor:
    heads, mask = h.unflatten(-1, (2, 2)).transpose(1, 2), torch.tensor([[True, False, True]] * 6).repeat(1, 2)
    return F.scaled_dot_product_attention(heads, heads.tanh(), heads, mask, scale=0.3).transpose(1, 2).flatten(2)


CELLS: dict[str, Any] = {
    "attention": lambda: Slots(nn.MultiheadAttention(4, 2, batch_first=True), attention),
    "with weights": lambda: Slots(nn.MultiheadAttention(4, 2, batch_first=True), attention_with_weights),
    "to others": lambda: Slots(nn.MultiheadAttention(4, 1, batch_first=True), attention_to_others),
    "time first": lambda: Slots(nn.MultiheadAttention(4, 2), attention_time_first),
    "masked": lambda: Slots(None, masked),
    "encoder layer": lambda: Slots(nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), lambda part, h: part(h)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_attention_of_torch_is_compiled_and_right(name: str, dtype: torch.dtype) -> None:
    cell = CELLS[name]().to(dtype)
    for _ in range(4):  # from the third time on passes are recorded
        assert_engines_agree(cell, [3, 0, 2])
