"""Saturation and the plane of states."""

from __future__ import annotations

import pytest
import torch

from recurra.errors import ShapeError
from recurra.inspect import project, saturation
from tests.tolerance import assert_close


def test_saturation_counts_units_near_the_ends_of_what_is_there() -> None:
    gate = torch.tensor([[[0.05, 0.5, 0.95, 0.99]], [[0.5, 0.5, 0.5, 0.5]]])
    ended = torch.full((2, 1, 4), float("nan"))
    ended[0] = 0.5
    tanh = gate * 2 - 1

    sigmoid, same = saturation({"z (σ)": torch.cat([gate, ended], 1), "n (tanh)": tanh})

    assert (sigmoid.gate, sigmoid.low, sigmoid.high) == ("z (σ)", [0.125, 0.0], [0.25, 0.0])
    assert (same.low, same.high) == ([0.25, 0.0], [0.5, 0.0])


def test_the_plane_keeps_the_two_directions_in_which_states_differ_most() -> None:
    plane = torch.randn(20, 3, 2).double() * torch.tensor([5.0, 2.0])
    basis = torch.linalg.qr(torch.randn(6, 6).double())[0][:2]
    states = plane @ basis + 7
    states[15:, 1] = float("nan")

    found = project(states)

    there = ~states.isnan().any(-1)
    assert found[~there].isnan().all()
    points, original = found[there], plane[there]
    # distances are kept, for nothing was lost
    assert_close((points[:, None] - points).norm(dim=-1), (original[:, None] - original).norm(dim=-1))


def test_a_state_of_one_number_has_no_plane() -> None:
    with pytest.raises(ShapeError, match="two numbers a state"):
        project(torch.randn(4, 2, 1))


def test_no_steps_and_no_sequences_have_no_points() -> None:
    assert project(torch.randn(0, 2, 3)).shape == (0, 2, 2)
    assert project(torch.randn(4, 0, 3)).shape == (4, 0, 2)
