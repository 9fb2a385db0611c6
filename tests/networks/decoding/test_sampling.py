"""Sampling: frequencies are those of the distribution that was asked for."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch

from recurra.errors import ConfigError
from recurra.networks.decoding import Hypothesis, greedy, sample
from recurra.networks.decoding.sampling import keep_nucleus, keep_top, penalise_repetition
from tests.networks.decoding.models import BOS, EOS, Table
from tests.tolerance import assert_close

NEVER = -math.inf
DRAWS = 4000


def draw(table: Table, **options: Any) -> list[list[Hypothesis]]:
    return sample(table.step, table.start(), **{"bos": BOS, "eos": EOS, "max_length": 2, **options})


def chi_square(counts: Counter[tuple[int, ...]], probabilities: dict[tuple[int, ...], float]) -> tuple[float, int]:
    """The statistic and its degrees of freedom, over events that are expected at least five times."""
    kept = {event: p for event, p in probabilities.items() if p * DRAWS >= 5}
    total = sum((counts[event] - p * DRAWS) ** 2 / (p * DRAWS) for event, p in kept.items())
    return total, len(kept) - 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_sequences_come_as_often_as_they_are_probable(temperature: float) -> None:
    table = Table.random(0, vocab_size=4)
    sharpened = Table(table.logits / temperature)
    # at the maximum length the end token comes for sure
    sure = {
        tokens: math.exp(sum(sharpened.log_probs(0, tokens)[: 2 if len(tokens) == 2 else None]))
        for tokens in sharpened.every_sequence(0, 2)
    }
    generator = torch.Generator().manual_seed(1)

    found = draw(table, temperature=temperature, num_samples=DRAWS, generator=generator)[0]

    statistic, freedom = chi_square(Counter(tuple(one.tokens) for one in found), sure)
    assert sum(sure.values()) == pytest.approx(1)
    # mean and deviation of chi-square; four deviations
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)


def test_cut_distributions_are_renormalised() -> None:
    table = Table(torch.tensor([0.5, 0.0, 0.3, 0.2]).log().expand(1, 1, 4, 4).double())
    options: dict[str, Any] = {"max_length": 1, "num_samples": DRAWS, "generator": torch.Generator().manual_seed(0)}

    top = Counter(tuple(one.tokens) for one in draw(table, top_k=2, **options)[0])
    nucleus = Counter(tuple(one.tokens) for one in draw(table, top_p=0.7, **options)[0])

    for counts in (top, nucleus):
        assert set(counts) == {(0,), (2,)}
        statistic, _ = chi_square(counts, {(0,): 0.625, (2,): 0.375})
        assert statistic < 16


def test_the_same_seed_draws_the_same_and_the_global_one_is_left_alone() -> None:
    table = Table.random(0, batch_size=2)
    before = torch.get_rng_state()

    first = draw(table, num_samples=5, generator=torch.Generator().manual_seed(3))
    second = draw(table, num_samples=5, generator=torch.Generator().manual_seed(3))

    assert [[one.tokens for one in row] for row in first] == [[one.tokens for one in row] for row in second]
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_of_a_sentence_belong_to_it() -> None:
    table = Table.random(0, batch_size=3, vocab_size=6)
    table.logits[:] = NEVER
    for sentence in range(3):
        table.logits[sentence, :, :, sentence + 2] = 0.0
        table.logits[sentence, :, :, EOS] = 0.0

    found = draw(table, num_samples=20, max_length=5)

    for sentence, row in enumerate(found):
        assert len(row) == 20
        assert {token for one in row for token in one.tokens} == {sentence + 2}
        assert len({len(one.tokens) for one in row}) > 1


def test_log_probabilities_are_those_of_the_model() -> None:
    table = Table.random(0, batch_size=2, vocab_size=5)

    for sentence, row in enumerate(draw(table, temperature=0.3, top_k=2, repetition_penalty=1.5, num_samples=4)):
        for one in row:
            assert one.log_probs == pytest.approx(table.log_probs(sentence, tuple(one.tokens)))
            assert one.score == pytest.approx(sum(one.log_probs))


def test_one_candidate_is_greedy() -> None:
    table = Table.random(0, batch_size=3)

    expected = greedy(table.step, table.start(), bos=BOS, eos=EOS, max_length=4)

    for options in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        found = draw(table, max_length=4, **options)
        assert [row[0].tokens for row in found] == [one.tokens for one in expected]


@pytest.mark.parametrize("temperature", [1e-38, 1e-300])  # too small for the quotients, and for float32 at all
def test_a_temperature_next_to_none_is_greedy(temperature: float) -> None:
    table = Table(Table.random(0, batch_size=3).logits.float())

    expected = greedy(table.step, table.start(), bos=BOS, eos=EOS, max_length=4)

    found = draw(table, max_length=4, temperature=temperature)
    assert [row[0].tokens for row in found] == [one.tokens for one in expected]


def test_limits_hold() -> None:
    table = Table.random(0, batch_size=2, vocab_size=6, steps=6)

    for row in draw(table, max_length=5, min_length=2, no_repeat_ngram=1, forbidden=(0,), num_samples=10):
        for one in row:
            assert 2 <= len(one.tokens) <= 5
            assert len(set(one.tokens)) == len(one.tokens)
            assert 0 not in one.tokens


def test_keep_top_keeps_the_largest() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, NEVER]])

    assert keep_top(scores, 2).tolist() == [[NEVER, 3.0, 2.0, NEVER]]
    assert keep_top(scores, 0) is scores
    assert keep_top(scores, 4) is scores


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.4, [0]), (0.5, [0]), (0.6, [0, 2]), (0.95, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])]
)
def test_the_nucleus_is_the_fewest_tokens_of_that_probability(top_p: float, kept: list[int]) -> None:
    scores = torch.tensor([[0.5, 0.125, 0.25, 0.125]], dtype=torch.float64).log()

    found = keep_nucleus(scores, top_p)

    assert (found[0] > NEVER).nonzero()[:, 0].tolist() == kept
    assert torch.equal(found[0][kept], scores[0][kept])


def test_repetition_makes_tokens_that_came_less_probable() -> None:
    scores = torch.tensor([[-1.0, -2.0, 0.5], [-1.0, -2.0, 0.5]])
    history = torch.tensor([[0, 0], [2, 1]])

    penalised = penalise_repetition(scores, history, 2.0)

    assert_close(penalised, torch.tensor([[-2.0, -2.0, 0.5], [-1.0, -4.0, 0.25]]))
    assert penalise_repetition(scores, history, 1.0) is scores
    assert penalise_repetition(scores, history[:, :0], 2.0) is scores
    table = Table(torch.zeros(1, 1, 12, 12))
    plain = draw(table, max_length=8, num_samples=200, forbidden=(0,))[0]
    varied = draw(table, max_length=8, num_samples=200, forbidden=(0,), repetition_penalty=3.0)[0]

    def repeats(found: list[Hypothesis]) -> int:
        return sum(len(one.tokens) - len(set(one.tokens)) for one in found)

    assert repeats(varied) < repeats(plain) / 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "`temperature` must be a number above 0, got 0; the most probable is `greedy`"),
        ({"temperature": "1"}, "`temperature` must be a number above 0, got '1'"),
        ({"top_k": -1}, "`top_k` must be a whole number of at least 0, got -1"),
        ({"top_k": 2.5}, "`top_k` must be a whole number of at least 0, got 2.5"),
        ({"no_repeat_ngram": 1.5}, "`no_repeat_ngram` must be a whole number of at least 0, got 1.5"),
        ({"top_p": 0.0}, "`top_p` must be a number above 0"),
        ({"repetition_penalty": 0.0}, "`repetition_penalty` must be a number above 0"),
        ({"repetition_penalty": math.inf}, "finite, got inf; `no_repeat_ngram=1` rules repetition out"),
        ({"num_samples": 0}, "`num_samples` must be a whole number of at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(Table.random(0), **options)


def test_copies_that_have_ended_are_not_judged() -> None:
    """Nothing follows the end: its logits are no distribution."""
    nothing = -math.inf
    table = torch.tensor([[nothing] * 3, [0.0, nothing, 0.0], [0.0, nothing, 0.0]])
    for seed in range(10):
        torch.manual_seed(seed)
        found = sample(
            lambda tokens, state: (table[tokens], state),
            torch.zeros(2, 1),
            bos=1,
            eos=0,
            max_length=3,
            num_samples=4,
        )
        assert all(set(one.tokens) <= {2} for sentence in found for one in sentence)
