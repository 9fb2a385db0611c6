"""What is special to the QRNN: a convolution over time, cut into steps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import QRNN, Zoneout
from recurra.errors import ConfigError


@pytest.mark.parametrize("window", [1, 2, 5])
def test_its_sums_are_those_of_torchs_convolution_over_the_inputs_so_far(window: int) -> None:
    cell = QRNN(3, 4, window=window, pooling="ifo").double()
    convolution = nn.Conv1d(3, 16, window).double()
    convolution.load_state_dict({"weight": cell.weight_ih, "bias": cell.bias})
    x = torch.randn(9, 2, 3).double()
    padded = nn.functional.pad(x.permute(1, 2, 0), (window - 1, 0))
    z, f, o, i = convolution(padded).permute(2, 0, 1).chunk(4, dim=-1)  # each [T, B, H]
    c, outputs = torch.zeros(2, 4).double(), []
    for t in range(9):
        c = f[t].sigmoid() * c + i[t].sigmoid() * z[t].tanh()
        outputs.append(o[t].sigmoid() * c)
    torch.testing.assert_close(recurra.scan(cell, x)[0], torch.stack(outputs))


def test_its_state_carries_the_window_from_chunk_to_chunk() -> None:
    cell = QRNN(3, 4, window=4).double()
    x = torch.randn(7, 2, 3).double()
    whole, last = recurra.scan(cell, x)
    pieces, state = [], None
    for chunk in x.split([1, 2, 4]):
        y, state = recurra.scan(cell, chunk, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces), whole)
    for got, want in zip(state, last, strict=True):
        torch.testing.assert_close(got, want)


def test_its_state_has_one_field_for_each_step_ahead() -> None:
    assert QRNN(3, 4, window=1).State._fields == ("c",)
    assert QRNN(3, 4, window=3).State._fields == ("c", "ahead_1", "ahead_2")
    assert QRNN(3, 4, window=3).State is QRNN(5, 6, window=3).State
    assert [list(field.shape) for field in QRNN(3, 4, window=2).initial_state(5)] == [[5, 4], [5, 12]]


def test_its_zoneout_keeps_pooled_units_and_no_sums() -> None:
    cell = Zoneout(QRNN(3, 4), 1.0)
    state = QRNN(3, 4).State(torch.full((2, 4), 7.0), torch.zeros(2, 12))
    _, after = cell(torch.randn(2, 3), state)
    assert torch.equal(after.c, state.c)
    assert not torch.equal(after.ahead_1, state.ahead_1)


def test_weights_begin_as_those_of_a_convolution() -> None:
    cell = QRNN(8, 100, window=2)
    for parameter in cell.parameters():
        assert parameter.abs().max() <= 1 / 4
        assert parameter.std().item() == pytest.approx(1 / (4 * math.sqrt(3)), rel=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "`window` must be a whole number of at least 1, got 0."),
        ({"pooling": "fio"}, "`pooling` must be 'f', 'fo' or 'ifo', got 'fio'. Did you mean"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        QRNN(3, 4, **options)
