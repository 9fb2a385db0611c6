"""The reference engine: it steps a cell, checks what comes back, and lets no sequence see another."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import recurra
from recurra.errors import ShapeError


class State(NamedTuple):
    h: Tensor


class Faulty(recurra.Cell):
    State = State

    def __init__(self, input_size: int, hidden_size: int, fault: Any) -> None:
        super().__init__()
        self.fault = fault

    def step(self, x: Tensor, state: State) -> tuple[Tensor, Any]:
        result: tuple[Tensor, Any] = self.fault(x, state)
        return result


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda x, s: (s.h, s.h), r"`Faulty.step` must return \(output, State\), got a state of \[2, 4\]"),
        (lambda x, s: (s.h, [s.h]), r"`Faulty.step` must return \(output, State\), got a state of a list"),
        (lambda x, s: s.h, r"`Faulty.step` must return \(output, State\), got \[2, 4\]"),
        (lambda x, s: s, r"`Faulty.step` must return \(output, State\), got a State"),
        (lambda x, s: None, r"`Faulty.step` must return \(output, State\), got a NoneType"),
        (lambda x, s: (s.h, s, s), r"`Faulty.step` must return \(output, State\), got 3 things"),
        (lambda x, s: (s.h, State(s.h[:, :3])), r"must keep the shape of `state.h` \[2, 4\], returned \[2, 3\]"),
        (lambda x, s: (s.h, State(None)), r"must keep the shape of `state.h` \[2, 4\], returned a NoneType"),
        (lambda x, s: (s.h, State(s.h.long())), r"the type of `state.h` torch.float32, returned torch.int64"),
        (lambda x, s: (s.h[:, :3], s), r"must return an output of shape \[B=2, O=4\], got \[2, 3\]"),
        (lambda x, s: (s.h.sum(), s), r"must return an output of shape \[B=2, O=4\], got \[\]"),
        (lambda x, s: (s.h[:1], s), r"must return an output of shape \[B=2, O=4\], got \[1, 4\]"),
        (lambda x, s: (None, s), r"must return an output of shape \[B=2, O=4\], got a NoneType"),
    ],
)
@pytest.mark.parametrize("engine", ["reference", "compiled", "auto", "zoneout", "stream"])
def test_a_step_that_breaks_the_contract_is_refused(fault: Any, message: str, engine: str) -> None:
    cell, x = Faulty(3, 4, fault), torch.randn(5, 2, 3)
    if engine != "reference":  # whichever number of rows they look at
        message = message.replace("B=2", r"B(=\d+)?").replace(r"\[2, ", r"\[\w+, ")
    doors: dict[str, Any] = {
        "zoneout": lambda: recurra.Recurrent(cell, zoneout=0.1)(x),
        "stream": lambda: recurra.Recurrent(cell).stream(),
    }
    with pytest.raises(ShapeError, match=message):
        doors.get(engine, lambda: recurra.scan(cell, x, engine=engine))()


def test_sequences_that_have_ended_are_not_stepped() -> None:
    sizes = []

    def record(x: Tensor, state: State) -> tuple[Tensor, State]:
        sizes.append(len(x))
        return state.h, state

    recurra.scan(Faulty(3, 4, record), torch.randn(5, 3, 3), lengths=[2, 5, 0], engine="reference")
    assert sizes == [2, 2, 1, 1, 1]
