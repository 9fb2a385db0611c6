"""What RNN, LSTM and GRU share: weights as torch lays them out, with two biases, one or none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recurra.cells import GRU, LSTM, RNN
from recurra.engine.scan import scan
from recurra.errors import ConfigError
from tests.tolerance import assert_close

CELLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rnn": (RNN, {}),
    "gru": (GRU, {}),
    "gru before": (GRU, {"reset": "before"}),
    "lstm": (LSTM, {}),
    "lstm projected": (LSTM, {"proj_size": 2}),
    "lstm with layer norm": (LSTM, {"layer_norm": True}),
    "lstm with forget bias": (LSTM, {"forget_bias": 1.0}),
}


@pytest.mark.parametrize(("cell", "options"), CELLS.values(), ids=CELLS)
def test_a_single_bias_equals_two_of_which_one_is_zero(cell: Any, options: dict[str, Any]) -> None:
    single = cell(3, 4, bias="single", **options).double()
    double = cell(3, 4, **options).double()
    double.load_state_dict({**single.state_dict(), "bias_hh": torch.zeros_like(double.bias_hh)})
    x = torch.randn(5, 2, 3, dtype=torch.float64)

    outputs, state = scan(single, x)
    expected, last = scan(double, x)
    reference, _ = scan(single, x, engine="reference")
    outputs.sum().backward()
    expected.sum().backward()

    assert single.bias_hh is None
    assert_close(outputs, expected)
    assert_close(outputs, reference)
    assert_close(state.h, last.h)
    assert_close(single.bias_ih.grad, double.bias_ih.grad)


def test_a_single_bias_has_the_parameters_that_keras_counts() -> None:
    assert sum(parameter.numel() for parameter in LSTM(64, 128, bias="single").parameters()) == 98_816


def test_a_clone_keeps_its_single_bias() -> None:
    assert GRU(3, 4, bias="single").clone(input_size=5).bias_hh is None


def test_an_unknown_bias_is_refused() -> None:
    with pytest.raises(ConfigError, match="`bias` must be True, False or 'single', got 'double'"):
        GRU(3, 4, bias="double")  # type: ignore[arg-type]
