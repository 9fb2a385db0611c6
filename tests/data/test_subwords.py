"""BPE-dropout: plain BPE at 0, characters at 1, other subwords of the same words between."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.data.subwords import MAX_DRAWS, SubwordSampler
from recurra.data.tokenizer import Vocabulary, train_tokenizer
from recurra.errors import ConfigError

LINES = [
    "the hungry cats are hunting the hungry rats",
    "a banana and an ananas, bananas and mamas",
    "l'homme hanté chante à l'heure dite !",
    "aaaa aaaaa aaaaaaa abababab",
] * 5
VOCABULARY = train_tokenizer(LINES, "bpe", 150)


def same_as_encode(sentences: list[str], vocabulary: Vocabulary = VOCABULARY) -> bool:
    plain = vocabulary.encode_batch(sentences)
    sampled = SubwordSampler(vocabulary, sentences, 0.0).sample(0, 0)
    return torch.equal(plain.values, sampled.values) and torch.equal(plain.offsets, sampled.offsets)


@settings(max_examples=100)
@given(st.lists(st.text(st.sampled_from("abmnthe' ,éZ北京"), max_size=25), max_size=4))
def test_without_dropout_it_is_encode(sentences: list[str]) -> None:
    assert same_as_encode(sentences)


def test_without_dropout_it_is_encode_for_every_training_word() -> None:
    assert same_as_encode(LINES)
    assert same_as_encode(LINES, train_tokenizer(LINES, "bpe", 60))
    assert same_as_encode(LINES, train_tokenizer(LINES, "bpe", 20))  # some letters are unknown


def test_with_dropout_one_only_letters_are_left() -> None:
    sampled = SubwordSampler(VOCABULARY, ["the cats", "", "Z北Z a"], 1.0).sample(0, 0)
    pieces = [[VOCABULARY.pieces[id] for id in ids.tolist()] for ids in sampled]
    assert pieces == [["▁", "t", "h", "e", "▁", "c", "a", "t", "s"], [], ["▁", "<unk>", "▁", "a"]]


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_samples_are_other_pieces_of_the_same_sentences(dropout: float) -> None:
    sampler = SubwordSampler(VOCABULARY, LINES, dropout)
    sampled = sampler.sample(0, 0)
    assert len(sampler) == len(sampled) == len(LINES)
    assert VOCABULARY.decode_batch(sampled) == LINES
    assert sampled.num_steps > VOCABULARY.encode_batch(LINES).num_steps


def test_the_same_seed_and_epoch_give_the_same_pieces() -> None:
    def pieces(seed: int, epoch: int) -> list[int]:
        sample: list[int] = SubwordSampler(VOCABULARY, LINES, 0.3).sample(seed, epoch).values.tolist()
        return sample

    assert pieces(1, 2) == pieces(1, 2)
    assert len({tuple(pieces(seed, epoch)) for seed in (-1, 0, 1) for epoch in (0, 1)}) == 6


def test_occurrences_of_a_word_are_drawn_apart() -> None:
    sampled = SubwordSampler(VOCABULARY, ["hungry"] * 200, 0.3).sample(0, 0)
    different = Counter(tuple(ids.tolist()) for ids in sampled)
    assert 3 < len(different) <= MAX_DRAWS


def test_joins_are_left_out_as_often_as_asked() -> None:
    # a word of one possible join keeps it with probability 1 - p, each occurrence for itself
    vocabulary = train_tokenizer(["ab"] * 5, "char", 20)
    assert vocabulary.kind == "char"
    vocabulary = train_tokenizer(["b b b"], "bpe", 7, min_frequency=1)
    assert "▁b" in vocabulary.pieces
    sampler = SubwordSampler(vocabulary, ["b"] * MAX_DRAWS, 0.25)
    joined = sum(int((sampler.sample(0, epoch).lengths == 1).sum()) for epoch in range(100))
    assert 0.71 < joined / (100 * MAX_DRAWS) < 0.79


def test_no_sentences_give_an_empty_batch() -> None:
    assert len(SubwordSampler(VOCABULARY, [], 0.1).sample(0, 0)) == 0
    assert SubwordSampler(VOCABULARY, ["", ""], 0.1).sample(0, 0).lengths.tolist() == [0, 0]


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="from a `bpe` vocabulary only, got `word`"):
        SubwordSampler(train_tokenizer(LINES, "word", 100), LINES)
    for dropout in (-0.1, 1.1, "0.1"):
        with pytest.raises(ConfigError, match=f"`dropout` must be a probability from 0 to 1, got {dropout!r}"):
            SubwordSampler(VOCABULARY, LINES, dropout)  # type: ignore[arg-type]
