"""What is special to LEM: each unit has a time step of its own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import recurra
from recurra.cells import LEM
from recurra.errors import ConfigError
from tests.tolerance import assert_close


def test_a_time_step_of_zero_holds_a_memory_for_ever() -> None:
    cell = LEM(3, 4)
    with torch.no_grad():
        cell.bias[:8] = -1e4  # both time steps
    state = cell.State(torch.randn(2, 4), torch.randn(2, 4))
    _, after = recurra.scan(cell, torch.randn(100, 2, 3), state)
    assert torch.equal(after.y, state.y)
    assert torch.equal(after.z, state.z)


def test_a_whole_time_step_forgets_all() -> None:
    cell = LEM(3, 4)
    with torch.no_grad():
        cell.bias[:8] = 1e4
        cell.weight_yh[8:] = 0
    x = torch.randn(2, 3)
    assert_close(cell(x, cell.State(torch.randn(2, 4), torch.randn(2, 4)))[0], cell(x)[0])


def test_memories_stay_within_one() -> None:
    cell = LEM(3, 8)
    for parameter in cell.parameters():
        nn.init.normal_(parameter, std=5.0)
    outputs, state = recurra.scan(cell, 10 * torch.randn(500, 2, 3))
    assert outputs.abs().max() <= 1
    assert state.z.abs().max() <= 1


def test_a_time_step_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`dt` must be a number above 0, got -0.5\."):
        LEM(3, 4, dt=-0.5)
