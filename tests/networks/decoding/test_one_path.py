"""Greedy decoding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ShapeError
from recurra.networks.decoding import Hypothesis, greedy
from tests.networks.decoding.models import BOS, EOS, Table


def decode(table: Table, **options: Any) -> list[Hypothesis]:
    return greedy(table.step, table.start(), **{"bos": BOS, "eos": EOS, "max_length": 4, **options})


def test_a_step_that_returns_no_pair_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"must return the pair \(logits, state\), got \[1, 7\]"):
        greedy(lambda tokens, state: torch.zeros(1, 7), torch.zeros(1, 1), bos=BOS, eos=EOS, max_length=4)  # type: ignore


def by_hand(table: Table, sentence: int, max_length: int) -> list[int]:
    tokens: list[int] = []
    while len(tokens) < max_length:
        row = table.logits[sentence, len(tokens), tokens[-1] if tokens else BOS]
        token = int(row.argmax())
        if token == EOS:
            break
        tokens.append(token)
    return tokens


@settings(max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_greedy_takes_the_most_probable_token_and_stops_at_the_end(seed: int) -> None:
    table = Table.random(seed, batch_size=4, vocab_size=5)

    found = decode(table)

    for sentence, hypothesis in enumerate(found):
        tokens = by_hand(table, sentence, 4)
        log_probs = table.log_probs(sentence, tuple(tokens))
        assert hypothesis.tokens == tokens
        assert hypothesis.log_probs == pytest.approx(log_probs)
        assert hypothesis.score == pytest.approx(sum(log_probs))


def test_ended_rows_leave_the_batch() -> None:
    sizes: list[int] = []
    table = Table.random(0, batch_size=3)
    table.logits[..., EOS] -= 60

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        sizes.append(len(tokens))
        return table.step(tokens, state)

    found = greedy(step, table.start(), bos=BOS, eos=EOS, max_length=torch.tensor([0, 4, 2]))

    assert sizes == [3, 2, 2, 1, 1]
    assert [len(hypothesis.tokens) for hypothesis in found] == [0, 4, 2]


def test_alignments_are_kept_row_by_row() -> None:
    table = Table.random(1, batch_size=4, vocab_size=5)

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        logits, inner = table.step(tokens, state[0])
        return logits, (inner, tokens[:, None].double())

    state = (table.start(), torch.zeros(4, 1, dtype=torch.float64))
    for hypothesis in greedy(step, state, bos=BOS, eos=EOS, max_length=4, alignment=lambda state: state[1]):
        assert hypothesis.alignment is not None
        assert hypothesis.alignment[:, 0].tolist() == [BOS, *hypothesis.tokens]


def test_limits_hold() -> None:
    table = Table.random(0, batch_size=3, vocab_size=5, steps=9)
    table.logits[..., EOS] += 3

    for hypothesis in decode(table, max_length=8, min_length=3, no_repeat_ngram=1, forbidden=(2,)):
        assert len(hypothesis.tokens) == 3
        assert sorted(hypothesis.tokens) == [0, 3, 4]  # three tokens are left, each comes once


def test_no_sentences_give_no_hypotheses() -> None:
    assert decode(Table.random(0, batch_size=0)) == []
