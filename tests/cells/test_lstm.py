"""What is special to the LSTM: its options, and which of them go together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from recurra.cells import GRU, LSTM
from recurra.errors import ConfigError
from tests.tolerance import assert_close


def test_forget_bias_is_set_at_the_start_and_after_a_reset_of_parameters() -> None:
    cell = LSTM(3, 4, forget_bias=1.5)
    for _ in range(2):
        assert cell.bias_ih is not None
        assert cell.bias_hh is not None
        assert cell.bias_ih[4:8].tolist() == [1.5] * 4
        assert cell.bias_hh[4:8].tolist() == [0.0] * 4
        assert 0 < cell.bias_ih[:4].abs().max() <= 0.5
        with torch.no_grad():
            cell.bias_ih.zero_()
        cell.reset_parameters()


def test_a_projection_shortens_the_output_and_h_only() -> None:
    cell = LSTM(3, 5, proj_size=2)
    assert cell.output_size == 2
    assert [list(field.shape) for field in cell.initial_state(7)] == [[7, 2], [7, 5]]


def test_layer_norms_begin_as_identities_of_scale() -> None:
    cell = LSTM(3, 4, layer_norm=True)
    assert cell.norm_ih.weight.tolist() == [1.0] * 16
    assert cell.norm_c.bias.tolist() == [0.0] * 4


@pytest.mark.parametrize("bias", [True, "single"])
def test_chrono_begins_with_memories_of_all_lengths(bias: Any) -> None:
    cell = LSTM(3, 400, chrono=1000, bias=bias)
    b = cell.bias_ih if cell.bias_hh is None else cell.bias_ih + cell.bias_hh
    assert b is not None
    i, f, _, _ = b.detach().chunk(4)
    assert_close(i, -f)
    steps = f.exp()  # a gate σ(log u) keeps u / (1 + u): for about u steps
    assert 1 <= float(steps.min()) < 20
    assert 980 < float(steps.max()) <= 999
    assert abs(float(steps.mean()) - 500) < 50
    coupled = LSTM(3, 400, chrono=1000, coupled=True)
    assert coupled.bias_ih is not None
    assert float(coupled.bias_ih[:400].detach().max()) < 0
    gru = GRU(3, 400, chrono=1000)
    assert gru.bias_ih is not None
    assert 980 < float(gru.bias_ih[400:800].detach().exp().max()) <= 999


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proj_size": 4}, "`proj_size` must be below `hidden_size=4`, got 4"),
        ({"proj_size": -1}, "`proj_size` must be a whole number of at least 0, got -1"),
        ({"proj_size": 1.5}, "`proj_size` must be a whole number of at least 0, got 1.5"),
        ({"proj_size": True}, "`proj_size` must be a whole number of at least 0, got True"),
        ({"forget_bias": "one"}, "`forget_bias` must be a number, got 'one'"),
        ({"forget_bias": 1.0, "coupled": True}, "there is no forget gate"),
        ({"forget_bias": 1.0, "bias": False}, "there is no forget bias"),
        ({"chrono": 2}, r"`chrono=2` cannot be: it is the longest memory in steps, at least 3\."),
        ({"chrono": 9, "bias": False}, "`chrono=9` cannot be: there are no biases"),
        ({"chrono": 9, "forget_bias": 1.0}, "`forget_bias` and `chrono` set the same biases"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LSTM(3, 4, **options)
