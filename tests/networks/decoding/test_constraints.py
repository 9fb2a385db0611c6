"""Which tokens are ruled out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.errors import ConfigError
from recurra.networks.decoding.constraints import LAST_RESORT, Limits, log_probabilities, repeated_ngrams

NEVER = float("-inf")


@settings(max_examples=60)
@given(history=st.lists(st.integers(0, 3), max_size=10), size=st.integers(1, 4))
def test_repeated_ngrams_are_those_found_by_hand(history: list[int], size: int) -> None:
    seen = {tuple(history[start : start + size]) for start in range(len(history) - size + 1)}
    latest = tuple(history[len(history) - size + 1 :]) if size > 1 else ()
    expected = {token for token in range(4) if (*latest, token) in seen and len(latest) == size - 1}

    tokens, ruled_out = repeated_ngrams(torch.tensor([history], dtype=torch.int64), size)

    assert set(tokens[ruled_out].tolist()) == expected


def test_log_probabilities_are_in_memory_of_their_own_and_wide_enough() -> None:
    logits = torch.randn(2, 5).bfloat16()

    log_probs = log_probabilities(logits, 2)

    assert log_probs.dtype == torch.float32
    assert log_probs.exp().sum(1).tolist() == pytest.approx([1.0, 1.0])
    double = torch.randn(2, 5, dtype=torch.float64)
    kept = double.clone()
    log_probabilities(double, 2).fill_(0)
    assert torch.equal(double, kept)


def test_the_end_comes_before_its_time_only_where_nothing_else_is_left() -> None:
    limits = Limits(eos=1, max_length=5, min_length=3, forbidden=(0,))
    log_probs = torch.tensor([[-1.0, -1.0, -1.0], [-1.0, -1.0, NEVER], [-1.0, NEVER, NEVER]])

    allowed = limits.rule_out(log_probs, torch.zeros(3, 1, dtype=torch.int64), torch.ones(3, dtype=torch.bool))

    # LAST_RESORT as float32 writes it
    last_resort = float(torch.tensor(LAST_RESORT))
    assert allowed.tolist() == [[NEVER, NEVER, -1.0], [NEVER, -1.0, NEVER], [NEVER, last_resort, NEVER]]


def test_without_room_only_the_end_is_left() -> None:
    limits = Limits(eos=1, max_length=5)
    log_probs = torch.full((2, 3), -1.0)

    allowed = limits.rule_out(log_probs, torch.zeros(2, 1, dtype=torch.int64), torch.tensor([True, False]))

    assert allowed.tolist() == [[-1.0, -1.0, -1.0], [NEVER, -1.0, NEVER]]


def test_tokens_are_not_counted_from_the_end() -> None:
    with pytest.raises(ConfigError, match=r"`forbidden` must hold tokens of at least 0, got \[3, -1\]"):
        Limits(eos=1, max_length=5, forbidden=(3, -1))
