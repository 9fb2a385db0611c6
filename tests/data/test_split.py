"""The split is the same for ever, keeps repeated sources together, and leaves no part empty."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.data.readers import Pair
from recurra.data.split import find_overlap, hash_position, normalise_source, split_pairs
from recurra.errors import ConfigError, DataError

NUMBERS = [Pair(f"sentence {n}", f"phrase {n}", n + 1) for n in range(1000)]


def test_the_places_of_sentences_never_change() -> None:
    # these numbers are a promise: whoever trained with an older version finds the same validation part
    assert hash_position("hello") == 0.4323362145837081
    assert hash_position("hello", seed=1) == 0.49149726990551834
    assert hash_position("hello", seed=-1) == 0.9494798874846734
    assert hash_position("Où est la gare ?") == 0.8636693483744017


def test_the_split_never_changes() -> None:
    _, validation = split_pairs(NUMBERS[:100], 0.05)
    assert [pair.line for pair in validation] == [13, 14, 26, 40, 49, 73, 91]


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=40).filter(lambda s: len(set(s)) > 1),
    st.floats(0.01, 0.99),
    st.integers(-3, 3),
)
def test_every_pair_goes_one_way_and_equal_sources_go_the_same(sources: list[str], fraction: float, seed: int) -> None:
    pairs = [Pair(source, str(n), n) for n, source in enumerate(sources)]
    training, validation = split_pairs(pairs, fraction, seed=seed)
    assert sorted(training + validation, key=lambda pair: pair.line) == pairs
    assert {p.source for p in training}.isdisjoint(p.source for p in validation)
    assert training
    assert validation
    assert training == sorted(training, key=lambda pair: pair.line)


def test_the_fraction_is_kept_in_the_large() -> None:
    assert 30 <= len(split_pairs(NUMBERS, 0.05)[1]) <= 75
    assert 450 <= len(split_pairs(NUMBERS, 0.5)[1]) <= 550


def test_more_data_moves_no_pair() -> None:
    few, many = split_pairs(NUMBERS[:500], 0.1)[1], split_pairs(NUMBERS, 0.1)[1]
    assert [pair for pair in many if pair.line <= 500] == few


def test_another_seed_splits_otherwise() -> None:
    assert split_pairs(NUMBERS, 0.1, seed=1) != split_pairs(NUMBERS, 0.1, seed=2)


def test_case_blanks_and_unicode_form_do_not_make_another_source() -> None:
    assert normalise_source("  Caf\u00e9\u00a0noir ") == normalise_source("cafe\u0301 NOIR") == "caf\u00e9 noir"
    assert hash_position("Hello  there") == hash_position("hello there")


def test_nothing_is_split_off_when_nothing_is_asked() -> None:
    assert split_pairs(NUMBERS, 0.0) == (NUMBERS, [])
    assert split_pairs([], 0.0) == ([], [])


def test_one_source_cannot_be_split() -> None:
    with pytest.raises(DataError, match="at least two different source sentences, got 1"):
        split_pairs([Pair("a", "b", 1), Pair("A", "c", 2)], 0.5)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan"), "0.1"])
def test_a_fraction_that_cannot_be_is_refused(fraction: Any) -> None:
    with pytest.raises(ConfigError, match="`fraction` must be a probability from 0 to below 1, got"):
        split_pairs(NUMBERS, fraction)


def test_overlap_with_training_is_counted() -> None:
    training = [Pair("Hello", "bonjour", 1), Pair("bye", "au revoir", 2)]
    validation = [Pair("hello", "Bonjour", 1), Pair("hello", "salut", 2), Pair("new", "neuf", 3)]
    assert find_overlap(training, validation) == (2, 1, 3)
    assert find_overlap(training, []).total == 0
