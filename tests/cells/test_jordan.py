"""What is special to the Jordan network: its output is its memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import Jordan, RecurrentDropout
from recurra.errors import ConfigError, ShapeError
from tests.tolerance import assert_close


def test_the_state_is_as_long_as_the_output_and_no_longer() -> None:
    cell = Jordan(3, 8, output_size=2)
    assert cell.initial_state(5).c.shape == (5, 2)
    outputs, state = recurra.scan(cell, torch.randn(4, 5, 3))
    assert outputs.shape == (4, 5, 2)
    assert torch.equal(state.c, outputs[-1])


def test_the_context_is_the_fading_sum_of_all_outputs() -> None:
    cell = Jordan(3, 8, output_size=2, decay=0.5).double()
    outputs, state = recurra.scan(cell, torch.randn(6, 1, 3).double())
    weights = 0.5 ** torch.arange(5, -1, -1).double()
    assert_close(state.c[0], weights @ outputs[:, 0])


def test_a_context_can_be_put_in_as_the_outputs_that_a_teacher_would_have_given() -> None:
    cell = Jordan(3, 8, output_size=2).double()
    x, wanted = torch.randn(1, 3).double(), torch.randn(1, 2).double()
    y, _ = cell(x, cell.State(wanted))
    hidden = torch.tanh(x @ cell.weight_ih.T + wanted @ cell.weight_ch.T + cell.bias_h)
    assert_close(y, hidden @ cell.weight_ho.T + cell.bias_o)


def test_weights_begin_from_one_over_the_root_of_what_goes_into_a_sum() -> None:
    cell = Jordan(60, 400, output_size=40)
    for weight in (cell.weight_ih, cell.weight_ch):
        assert 0.98 / math.sqrt(100) < weight.abs().max() <= 1 / math.sqrt(100)
    assert 0.98 / math.sqrt(400) < cell.weight_ho.abs().max() <= 1 / math.sqrt(400)
    assert cell.bias_h.abs().max() <= 1 / math.sqrt(100)
    assert cell.bias_o.abs().max() <= 1 / math.sqrt(400)


def test_dropout_of_the_context_leaves_what_is_carried_on_whole() -> None:
    cell = Jordan(3, 8, output_size=50, decay=0.5).double()
    nn.init.zeros_(cell.weight_ho)  # the output is d, whatever the product with U sees
    dropped = RecurrentDropout(cell, 0.5, fields=("c",))
    _, state = recurra.scan(dropped, torch.randn(3, 2, 3).double())
    assert_close(state.c, (1.75 * cell.bias_o).expand(2, 50))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": 1.0}, "`decay` must be a number from 0 to below 1, got 1.0."),
        ({"decay": "slow"}, "`decay` must be a number from 0 to below 1, got 'slow'."),
        ({"output_size": 0}, "`output_size` must be a whole number of at least 1, got 0."),
        ({"output_activation": "sigmoidal"}, "Unknown activation `sigmoidal`. Did you mean `sigmoid`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Jordan(3, 4, **options)


def test_a_state_as_long_as_the_hidden_layer_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"`state.c` of `Jordan` must have shape \[5, 2\]"):
        recurra.scan(Jordan(3, 8, output_size=2), torch.randn(4, 5, 3), torch.zeros(5, 8))
