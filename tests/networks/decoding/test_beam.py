"""Beam search against enumeration of every sequence, greedy search, and its own promises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recurra.errors import ConfigError, DecodingError, ShapeError
from recurra.networks.decoding import Hypothesis, beam_search, greedy
from recurra.networks.decoding.beam import LENGTH_PENALTIES, best, length_penalty_of
from tests.networks.decoding.models import BOS, EOS, Table

seeds = st.integers(0, 2**31)


def search(table: Table, **options: Any) -> list[list[Hypothesis]]:
    return beam_search(table.step, table.start(), **{"bos": BOS, "eos": EOS, "max_length": 4, **options})


def assert_same(ones: list[Hypothesis], others: list[Hypothesis]) -> None:
    assert [one.tokens for one in ones] == [other.tokens for other in others]
    for one, other in zip(ones, others, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-9)
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-9)


def penalty(kind: str, alpha: float, length: int) -> float:
    return {"none": 1.0, "average": length**alpha, "wu": ((5 + length) / 6) ** alpha}[kind]


@settings(max_examples=40)
@given(seed=seeds, kind=st.sampled_from(LENGTH_PENALTIES), alpha=st.sampled_from([0.0, 0.6, 1.0, 2.0]))
def test_a_beam_of_all_sequences_finds_the_best_ones(seed: int, kind: str, alpha: float) -> None:
    table = Table.random(seed, batch_size=2, vocab_size=3, steps=4)

    found = search(table, max_length=3, beam_size=27, num_best=5, length_penalty=kind, alpha=alpha, early_stop=False)

    for sentence in range(2):
        every = table.every_sequence(sentence, 3)
        scores = {tokens: total / penalty(kind, alpha, len(tokens) + 1) for tokens, total in every.items()}
        ranked = sorted(scores, key=lambda tokens: -scores[tokens])[:5]
        assert [tuple(one.tokens) for one in found[sentence]] == ranked
        for one in found[sentence]:
            assert one.score == pytest.approx(scores[tuple(one.tokens)], abs=1e-9)
            assert one.log_probs == pytest.approx(table.log_probs(sentence, tuple(one.tokens)), abs=1e-9)


@settings(max_examples=40)
@given(seed=seeds, vocab_size=st.integers(2, 40), spread=st.sampled_from([0.3, 1.5, 5.0]))
def test_a_beam_of_one_is_greedy(seed: int, vocab_size: int, spread: float) -> None:
    table = Table.random(seed, batch_size=3, vocab_size=vocab_size, spread=spread)

    found = search(table, beam_size=1, alpha=0.0)
    first = greedy(table.step, table.start(), bos=BOS, eos=EOS, max_length=4)

    assert_same([hypotheses[0] for hypotheses in found], first)


@settings(max_examples=40)
@given(
    seed=seeds,
    beam_size=st.integers(1, 6),
    early_stop=st.booleans(),
    kind=st.sampled_from(LENGTH_PENALTIES),
    no_repeat_ngram=st.integers(0, 2),
    min_length=st.integers(0, 2),
)
def test_a_batch_is_its_sentences_one_by_one(
    seed: int, beam_size: int, early_stop: bool, kind: str, no_repeat_ngram: int, min_length: int
) -> None:
    table = Table.random(seed, batch_size=5, vocab_size=5)
    options: dict[str, Any] = {
        "beam_size": beam_size,
        "num_best": beam_size,
        "early_stop": early_stop,
        "length_penalty": kind,
        "no_repeat_ngram": no_repeat_ngram,
        "min_length": min_length,
    }
    longest = torch.tensor([4, 2, 6, 3, 5])

    found = search(table, max_length=longest, **options)

    for sentence in range(5):
        alone = search(table.alone(sentence), max_length=int(longest[sentence]), **options)
        assert_same(found[sentence], alone[0])


@settings(max_examples=40)
@given(seed=seeds, beam_size=st.integers(1, 8), vocab_size=st.integers(2, 6))
def test_hypotheses_are_sorted_different_and_ended(seed: int, beam_size: int, vocab_size: int) -> None:
    table = Table.random(seed, batch_size=2, vocab_size=vocab_size)

    for hypotheses in search(table, beam_size=beam_size, num_best=beam_size, min_length=1):
        scores = [one.score for one in hypotheses]
        assert 1 <= len(hypotheses) <= beam_size
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(one.tokens) for one in hypotheses}) == len(hypotheses)
        for one in hypotheses:
            assert 1 <= len(one.tokens) <= 4
            assert EOS not in one.tokens
            assert len(one.log_probs) == len(one.tokens) + 1
            assert one.score == pytest.approx(sum(one.log_probs) / len(one.log_probs), abs=1e-9)


@settings(max_examples=30)
@given(seed=seeds, size=st.integers(1, 3))
def test_no_ngram_comes_twice(seed: int, size: int) -> None:
    table = Table.random(seed, batch_size=3, vocab_size=4, steps=8)
    table.logits[..., EOS] -= 4  # long ones

    for hypotheses in search(table, max_length=8, beam_size=4, num_best=4, no_repeat_ngram=size):
        for one in hypotheses:
            grams = [tuple(one.tokens[start : start + size]) for start in range(len(one.tokens) - size + 1)]
            assert len(set(grams)) == len(grams)


@settings(max_examples=30)
@given(seed=seeds, beam_size=st.integers(1, 5))
def test_without_early_stop_the_score_is_never_worse(seed: int, beam_size: int) -> None:
    table = Table.random(seed, batch_size=3, vocab_size=5)

    early = search(table, beam_size=beam_size)
    late = search(table, beam_size=beam_size, early_stop=False)

    for one, other in zip(early, late, strict=True):
        assert other[0].score >= one[0].score - 1e-12


@pytest.mark.parametrize("beam_size", [2, 3, 5])
@pytest.mark.parametrize("kind", LENGTH_PENALTIES)
def test_a_model_that_is_sure_of_each_token_is_not_left_for_hopeless_ends(kind: str, beam_size: int) -> None:
    """The end is always the second token in rank: as many hypotheses as the beam has end before the right one does."""
    right, num_tokens = [3, 4, 5, 3, 4, 5, 3], 6

    def step(_: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        at = state[:, 0].long()
        rows = torch.full((len(at), num_tokens), math.log(1e-9))
        rows[:, EOS] = math.log(1e-4)
        sure = torch.tensor([*right, EOS])[at.clamp(max=len(right))]
        rows[torch.arange(len(at)), sure] = 0.0
        return rows, state + 1

    found = beam_search(
        step, torch.zeros(2, 1), bos=BOS, eos=EOS, max_length=20, beam_size=beam_size, length_penalty=kind
    )

    assert [hypotheses[0].tokens for hypotheses in found] == [right, right]


def test_every_row_has_its_own_maximum_length() -> None:
    table = Table.random(0, batch_size=4)
    table.logits[..., EOS] -= 50

    found = search(table, max_length=torch.tensor([0, 1, 4, 2]))

    assert [len(hypotheses[0].tokens) for hypotheses in found] == [0, 1, 4, 2]


def test_a_model_that_never_ends_is_ended() -> None:
    table = Table.random(0, batch_size=2)
    table.logits[..., EOS] = -math.inf

    found = search(table, max_length=6)

    assert all(len(hypotheses[0].tokens) == 6 for hypotheses in found)
    assert all(hypotheses[0].log_probs[-1] == -1e30 for hypotheses in found)
    assert table.calls == 7


def test_finished_sentences_leave_the_batch_and_the_search_ends_early() -> None:
    sizes: list[int] = []
    table = Table.random(0, batch_size=3)
    table.logits[0, :, :, EOS] += 60  # done at once
    table.logits[1:, :, :, EOS] -= 60

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        sizes.append(len(tokens))
        return table.step(tokens, state)

    beam_search(step, table.start(), bos=BOS, eos=EOS, max_length=torch.tensor([9, 3, 6]), beam_size=2, alpha=0.0)

    assert sizes == [6, 4, 4, 4, 2, 2, 2]


def test_equals_are_taken_by_the_lower_token_and_the_better_parent() -> None:
    table = Table(torch.zeros(1, 5, 4, 4))

    found = search(table, beam_size=3, num_best=3, length_penalty="none", max_length=2, early_stop=False)

    assert [one.tokens for one in found[0]] == [[], [0], [0, 0]]
    assert_same(found[0], search(table, beam_size=3, num_best=3, length_penalty="none", max_length=2)[0])


def test_a_vocabulary_smaller_than_the_beam_gives_what_there_is() -> None:
    table = Table.random(0, vocab_size=2)

    found = search(table, beam_size=5, num_best=5, max_length=3, early_stop=False)

    assert sorted(one.tokens for one in found[0]) == [[], [0], [0, 0], [0, 0, 0]]
    only_end = search(Table.random(0, vocab_size=2), forbidden=(0,), num_best=5)
    assert [one.tokens for one in only_end[0]] == [[]]


def test_forbidden_tokens_never_come_and_min_length_is_kept() -> None:
    table = Table.random(0, batch_size=3, vocab_size=6)
    table.logits[..., EOS] += 5

    found = search(table, forbidden=(0, 3), min_length=2, num_best=5)

    for hypotheses in found:
        for one in hypotheses:
            assert set(one.tokens) <= {2, 4, 5}
            assert len(one.tokens) >= 2


def test_each_sentence_may_begin_with_its_own_token() -> None:
    table = Table.random(0, batch_size=2)

    found = search(table, bos=torch.tensor([2, 3]))

    assert_same(found[1], search(table.alone(1), bos=3)[0])


def test_alignments_follow_their_hypothesis() -> None:
    """The step "attends" to a mark of the token that it read, so that alignments can be told from tokens."""
    table = Table.random(3, batch_size=3, vocab_size=6)

    def step(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        inner, _ = state
        logits, inner = table.step(tokens, inner)
        return logits, (inner, tokens[:, None].double() + torch.tensor([0.0, 0.5]))

    state = (table.start(), torch.zeros(3, 2, dtype=torch.float64))
    found = beam_search(
        step, state, bos=BOS, eos=EOS, max_length=4, beam_size=4, num_best=4, alignment=lambda state: state[1]
    )

    for hypotheses in found:
        for one in hypotheses:
            assert one.alignment is not None
            read = torch.tensor([BOS, *one.tokens], dtype=torch.float64)
            assert torch.equal(one.alignment, read[:, None] + torch.tensor([0.0, 0.5]))


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_numbers_that_are_no_distribution_are_refused(number: float, place: int) -> None:
    table = Table.random(0, batch_size=2)
    table.logits[1, 0, :, place] = number

    with pytest.raises(DecodingError, match="are no distribution"):
        search(table)


def test_minus_infinity_alone_is_refused_and_single_ones_rule_out() -> None:
    table = Table.random(0)
    table.logits[0, :, :, 2] = -math.inf

    assert all(2 not in one.tokens for one in search(table, num_best=5)[0])
    table.logits[0, 0] = -math.inf
    with pytest.raises(DecodingError, match="minus infinity alone"):
        search(table)


def test_no_sentences_give_no_hypotheses() -> None:
    assert search(Table.random(0, batch_size=0)) == []


@pytest.mark.parametrize("count", [1, 5, 12])
@pytest.mark.parametrize("num_columns", [3, 100, 128, 129, 1000, 1023])
@pytest.mark.parametrize("levels", [3, 1000])
def test_best_is_a_stable_sort(count: int, num_columns: int, levels: int) -> None:
    scores = torch.randint(levels, (7, num_columns)).double()
    scores[3] = -math.inf

    values, columns = best(scores, count)

    expected, order = scores.sort(dim=1, descending=True, stable=True)
    assert torch.equal(values, expected[:, :count])
    assert torch.equal(columns, order[:, :count])


def test_penalties_are_their_formulas() -> None:
    lengths = torch.tensor([1.0, 7.0], dtype=torch.float64)

    assert length_penalty_of("wu", 0.6, lengths).tolist() == pytest.approx([1.0, 2**0.6])
    assert length_penalty_of("average", 2.0, lengths).tolist() == [1.0, 49.0]
    assert length_penalty_of("none", 2.0, lengths).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "`beam_size` must be a whole number of at least 1"),
        ({"beam_size": 2.5}, "`beam_size` must be a whole number of at least 1, got 2.5"),
        ({"num_best": 6}, r"`num_best` must lie within 1\.\.5"),
        ({"length_penalty": "averag"}, "Did you mean `average`"),
        ({"alpha": -1.0}, "`alpha` must be a number of at least 0"),
        ({"alpha": "1"}, "`alpha` must be a number of at least 0, got '1'"),
        ({"max_length": -1}, "`max_length` must be whole numbers of at least 0"),
        ({"max_length": 3, "min_length": 4}, "`min_length` must be at most `max_length`=3"),
        ({"no_repeat_ngram": -1}, "`no_repeat_ngram` must be a whole number of at least 0"),
        ({"forbidden": (EOS,)}, "nothing would ever end"),
        ({"forbidden": (9,)}, "Token 9 is not among the V=4 tokens"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(Table.random(0), **options)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match="Expected one whole number, or one for each of 1 sentences"):
        search(Table.random(0), max_length=torch.tensor([1, 2]))
    with pytest.raises(ShapeError, match=r"logits of shape \[R=5, V\], got \[5\]"):
        beam_search(lambda tokens, state: (tokens.double(), state), torch.zeros(1), bos=0, eos=1, max_length=2)
