"""How the state of a step enters the next one, read from the loop program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import recurra
from recurra import Cell
from recurra.cells import GRU, LMU, LRU, MLSTM, QRNN, SRU, MinGRU, MinLSTM, Zoneout
from recurra.engine.compiled import compiled
from recurra.engine.linearity import Recurrence, recurrence
from recurra.engine.lower import lower


class State(NamedTuple):
    h: Tensor


class One(Cell):
    """A field h, W x and any function of the two and of a weight [H, H]."""

    State = State

    def __init__(self, function: Callable[..., Tensor], input_size: int = 3, hidden_size: int = 4) -> None:
        super().__init__(input_size, hidden_size)
        self.input = nn.Linear(input_size, hidden_size)
        self.weight = nn.Parameter(torch.randn(hidden_size, hidden_size))
        self.function = function

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h = self.function(state.h, self.input(x), self.weight)
        return torch.tanh(h @ self.weight), State(h)  # what the output does is no matter of the recurrence


class Two(NamedTuple):
    a: Tensor
    b: Tensor


class Pair(Cell):
    """Two fields and any function of them and W x that gives both anew."""

    State = Two

    def __init__(self, function: Callable[..., tuple[Tensor, Tensor]], input_size: int = 3, hidden_size: int = 4):
        super().__init__(input_size, hidden_size)
        self.input = nn.Linear(input_size, hidden_size)
        self.function = function

    def step(self, x: Tensor, state: Two) -> tuple[Tensor, Two]:
        a, b = self.function(*state, self.input(x))
        return a + b, Two(a, b)


def found(cell: Any) -> Recurrence:
    return recurrence(lower(compiled(cell, torch.float32).plan.forward))


@pytest.mark.parametrize(
    "function",
    [
        lambda h, x, w: torch.sigmoid(x) * h + x,
        lambda h, x, w: h,
        lambda h, x, w: -h / (1 + x * x) - 3,
        lambda h, x, w: torch.where(x > 0, h, x),
        lambda h, x, w: h * w.diagonal() + w[0],
        lambda h, x, w: h * (x @ w),
        lambda h, x, w: h * x.sum(-1, keepdim=True),
        lambda h, x, w: 0.5 * (h + (h - x)) + (h + h),
        lambda h, x, w: h * torch.exp(x).cumsum(-1),
    ],
)
def test_what_the_input_alone_scales_and_shifts_is_linear(function: Any) -> None:
    assert found(One(function)) is Recurrence.LINEAR


@pytest.mark.parametrize(
    "function",
    [
        lambda h, x, w: torch.tanh(h) + x,
        lambda h, x, w: torch.relu(h + x),
        lambda h, x, w: h * h + x,
        lambda h, x, w: torch.sigmoid(x + h) * h,
        lambda h, x, w: x / (1 + h.abs()),
        lambda h, x, w: torch.where(h > 0, x, 2 * x),
        lambda h, x, w: torch.maximum(h, x),
        lambda h, x, w: (h - x) * (h + x),
    ],
)
def test_a_function_of_a_unit_itself_is_elementwise(function: Any) -> None:
    assert found(One(function)) is Recurrence.ELEMENTWISE


@pytest.mark.parametrize(
    "function",
    [
        lambda h, x, w: x + h.sum(-1, keepdim=True),
        lambda h, x, w: x * torch.softmax(h, -1),
        lambda h, x, w: x + h.flip(-1),
        lambda h, x, w: torch.cat([x[:, :1], h[:, :-1]], -1),
        lambda h, x, w: x * h[:, :1],
        lambda h, x, w: nn.functional.layer_norm(h + x, (4,)),
    ],
)
def test_units_that_see_each_other_are_across(function: Any) -> None:
    assert found(One(function)) is Recurrence.ACROSS


@pytest.mark.parametrize(
    "function",
    [lambda h, x, w: h @ w + x, lambda h, x, w: x * (torch.sigmoid(h) @ w), lambda h, x, w: h + torch.tanh(x + h @ w)],
)
def test_a_matrix_times_the_state_is_a_product(function: Any) -> None:
    assert found(One(function)) is Recurrence.PRODUCTS


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, b, x: (a - b + x, a + b), Recurrence.LINEAR),
        (lambda a, b, x: (a * b + x, x + b), Recurrence.ELEMENTWISE),
        (lambda a, b, x: (x, b * torch.tanh(a)), Recurrence.LINEAR),  # a is the input of the step before
        (lambda a, b, x: (x, torch.tanh(a + x)), Recurrence.WINDOW),  # and b made of two inputs
        (lambda a, b, x: (torch.tanh(b), x), Recurrence.WINDOW),
        (lambda a, b, x: (b, a), Recurrence.LINEAR),
        (lambda a, b, x: (x * b, torch.tanh(a)), Recurrence.ELEMENTWISE),
    ],
)
def test_a_field_made_of_the_input_alone_counts_as_input(function: Any, expected: Recurrence) -> None:
    assert found(Pair(function)) is expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (MinGRU(3, 4), Recurrence.LINEAR),
        (MinLSTM(3, 4, candidate="positive"), Recurrence.LINEAR),
        (LRU(3, 4), Recurrence.LINEAR),
        (QRNN(3, 4, window=1), Recurrence.LINEAR),
        (QRNN(3, 4, window=3, pooling="ifo"), Recurrence.LINEAR),
        (SRU(3, 4, peephole=False), Recurrence.LINEAR),
        (Zoneout(MinGRU(3, 4), 0.3), Recurrence.LINEAR),
        (SRU(3, 4), Recurrence.ELEMENTWISE),
        (MLSTM(3, 4), Recurrence.ACROSS),
        (GRU(3, 4), Recurrence.PRODUCTS),
        (LMU(3, 4), Recurrence.PRODUCTS),
    ],
    ids=str,
)
def test_cells_are_told_apart_and_explained_in_one_line(cell: Any, expected: Recurrence) -> None:
    assert found(cell) is expected
    assert recurra.explain(cell).splitlines()[1] == f"  recurrence: {expected}"
