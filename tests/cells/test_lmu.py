"""What is special to the LMU: its memory is a window of the past, as a polynomial."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import legval

import recurra
from recurra.cells import LMU
from recurra.cells.lmu import legendre_memory
from recurra.errors import ConfigError
from tests.tolerance import assert_close


def remembering(**options: Any) -> Any:
    """An LMU that remembers its one input and nothing else."""
    cell = LMU(1, 2, **options).double()
    with torch.no_grad():
        cell.encoder_x.fill_(1.0)
        cell.encoder_h.zero_()
        cell.encoder_m.zero_()
    return cell


@pytest.mark.parametrize("ago", [0, 25, 50, 75, 100])
def test_the_memory_tells_what_the_input_was_that_many_steps_ago(ago: int) -> None:
    cell = remembering(order=16, theta=100.0)
    cell.A, cell.B = legendre_memory(16, 100.0)  # not those that were rounded to float32
    time = torch.arange(700, dtype=torch.float64)
    u = (2 * math.pi * time / 97).sin() + 0.5 * (2 * math.pi * time / 41 + 1).cos()
    for last in (400, 555, 698):
        _, state = recurra.scan(cell, u[: last + 1, None, None])
        told = legval(2 * ago / 100 - 1, state.m[0].detach().numpy())
        # an input that is held through its step is that of the middle of the step
        assert abs(told - float(u[last - ago] + u[last - ago + 1]) / 2) < 0.02


def test_a_memory_taken_to_steps_is_the_one_of_the_paper() -> None:
    i, j = np.meshgrid(np.arange(6), np.arange(6), indexing="ij")
    A = (2 * i + 1) * np.where(i < j, -1.0, (-1.0) ** (i - j + 1)) / 20
    B = (2 * np.arange(6) + 1) * (-1.0) ** np.arange(6) / 20
    values, vectors = np.linalg.eig(A)
    flow = (vectors * np.exp(values)) @ np.linalg.inv(vectors)  # exp A
    drive = np.linalg.solve(A, (flow.real - np.eye(6)) @ B)
    for got, want in zip(legendre_memory(6, 20.0), (flow.real, drive), strict=True):
        assert_close(got, torch.from_numpy(want))
    for got, want in zip(legendre_memory(6, 20.0, "euler"), (A + np.eye(6), B), strict=True):
        assert_close(got, torch.from_numpy(want))


def test_two_steps_are_one_of_twice_the_length() -> None:
    A, B = legendre_memory(9, 60.0)
    twice, both = legendre_memory(9, 30.0)
    assert_close(A @ A, twice)
    assert_close(A @ B + B, both)


def test_even_a_large_memory_fades_when_its_input_ends() -> None:
    A, _ = legendre_memory(256, 784.0)
    assert torch.linalg.eigvals(A).abs().max() < 1


def test_the_memory_is_trained_only_when_asked() -> None:
    fixed, learned = LMU(3, 4, order=5), LMU(3, 4, order=5, learn_memory=True)
    assert {"A", "B"} == dict(learned.named_parameters()).keys() - dict(fixed.named_parameters()).keys()
    assert fixed.state_dict().keys() == learned.state_dict().keys()
    learned.load_state_dict(fixed.state_dict())
    x = torch.randn(5, 2, 3)
    assert_close(recurra.scan(fixed, x)[0], recurra.scan(learned, x)[0])
    assert [list(field.shape) for field in fixed.initial_state(7)] == [[7, 4], [7, 5]]


def test_a_trained_memory_begins_anew_with_the_other_weights() -> None:
    cell = LMU(3, 4, order=5, theta=9.0, learn_memory=True)
    with torch.no_grad():
        cell.A.zero_()
    cell.reset_parameters()
    assert_close(cell.A.detach(), legendre_memory(5, 9.0)[0].float())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": 0}, "`order` must be a whole number of at least 1, got 0."),
        ({"theta": 0.0}, "`theta` must be a number above 0, got 0.0."),
        ({"discretisation": "zho"}, "`discretisation` must be 'zoh' or 'euler', got 'zho'. Did you mean `zoh`"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LMU(3, 4, **options)
