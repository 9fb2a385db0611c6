"""Random numbers can be repeated, from a seed and from a saved state."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra.training.seed import random_state, same_random_numbers_after, seed_everything, set_random_state


def draw() -> tuple[float, ...]:
    return (
        random.random(),
        random.gauss(),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(1)),
        float(torch.randn(1)),
    )


def test_the_same_seed_draws_the_same_numbers() -> None:
    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first


def test_streams_of_a_seed_differ() -> None:
    drawn = set()
    for stream in range(3):
        seed_everything(5, stream=stream)
        drawn.add(draw())
    assert len(drawn) == 3


def test_a_state_brings_every_generator_back() -> None:
    draw()  # leaves half a pair of Gaussian numbers in Python and NumPy
    state = random_state()
    first = [draw() for _ in range(700)]  # more than the words of a Mersenne twister
    set_random_state(state)
    assert [draw() for _ in range(700)] == first


def test_a_state_without_a_cached_gaussian_comes_back_too() -> None:
    seed_everything(1)
    state = random_state()
    first = draw()
    set_random_state(state)
    assert draw() == first


def test_each_device_there_gets_its_own_state_back(monkeypatch: pytest.MonkeyPatch) -> None:
    set_back: dict[int, int] = {}

    def note(state: Tensor, device: int) -> None:
        set_back[device] = int(state)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_rng_state", note)
    set_random_state({**random_state(), **{f"cuda.{index}": torch.tensor(index) for index in range(11)}})
    assert set_back == {0: 0, 1: 1, 2: 2}


def test_a_stretch_can_leave_no_trace() -> None:
    seed_everything(1)
    expected = draw()
    seed_everything(1)
    with same_random_numbers_after():
        draw()
    assert draw() == expected
