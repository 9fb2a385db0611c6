"""Averages of weights are the sums they say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recurra.errors import RunError
from recurra.training.averaging import (
    Average,
    ExponentialAverage,
    LastAverage,
    make_average,
    set_weights,
    weights_in_use,
    weights_of,
)
from tests.tolerance import assert_close


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.tied = self.weight
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


def at(model: Counted, value: float) -> Counted:
    with torch.no_grad():
        model.weight.fill_(value)
        model.count.fill_(int(value))
    return model


def test_weights_are_named_once_and_scratch_is_left_out() -> None:
    assert weights_of(Counted()).keys() == {"weight", "count"}


def test_the_exponential_average_follows_its_recursion() -> None:
    model = at(Counted(), 1.0)
    average, expected = ExponentialAverage(model, decay=0.3), 1.0
    for update, value in enumerate([2.0, 5.0, -1.0, 3.0, 8.0]):
        average.after_update(at(model, value))
        decay = min(0.3, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    assert_close(average.weights()["weight"], torch.full((3,), expected, dtype=torch.float64))
    assert average.weights()["count"] == 8  # whole numbers are not averaged


def test_the_last_average_is_the_mean_of_the_last() -> None:
    model, average = Counted(), LastAverage(2)
    assert average.weights() is None
    for value in (1.0, 4.0, 6.0):
        average.before_evaluation(at(model, value))
    weights = average.weights()
    assert weights is not None
    assert_close(weights["weight"], torch.full((3,), 5.0, dtype=torch.float64))
    assert weights["count"] == 6


@pytest.mark.parametrize("kind", ["none", "ema", "last"])
def test_an_average_survives_a_checkpoint(kind: str) -> None:
    def advance(average: Average, value: float) -> None:
        average.after_update(at(model, value))
        average.before_evaluation(model)

    model = Counted()
    unbroken, broken = (make_average(kind, model, decay=0.5, last=2) for _ in range(2))  # type: ignore[arg-type]
    for average in (unbroken, broken):
        advance(average, 1.0)
        advance(average, 4.0)
    resumed = make_average(kind, Counted(), decay=0.5, last=2)  # type: ignore[arg-type]
    resumed.restore(broken.tensors())
    for average in (unbroken, resumed):
        advance(average, -3.0)
    want, got = unbroken.weights(), resumed.weights()
    assert (want is None) == (got is None)
    assert want is None or (got is not None and all(torch.equal(want[name], got[name]) for name in want))


def test_other_weights_are_used_for_a_while() -> None:
    model = at(Counted(), 1.0)
    with weights_in_use(model, {"weight": torch.full((3,), 7.0), "count": torch.tensor(2)}):
        assert model.weight.tolist() == [7, 7, 7]
    assert model.weight.tolist() == [1, 1, 1]
    assert model.count == 1


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(RunError, match="another network: `stranger`, `weight` differ;"):
        set_weights(Counted(), {"weight": torch.zeros(4), "count": torch.tensor(0), "stranger": torch.zeros(1)})
    with pytest.raises(RunError, match="another network: `weight` differs;"):
        set_weights(Counted(), {"count": torch.tensor(0)})
