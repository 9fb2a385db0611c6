"""The word-for-word baseline: counts that come out right, and marks in their places."""

from __future__ import annotations

import pytest

from recurra.errors import DataError
from recurra.tasks.translate import WordForWord
from recurra.tasks.translate.baseline import split_words
from tests.tasks.translate.toy import PAIRS

SOURCES, TARGETS = [source for source, _ in PAIRS], [target for _, target in PAIRS]


def test_words_find_their_translations_by_counting() -> None:
    baseline = WordForWord(["the cat", "the dog", "a cat", "a dog"], ["le chat", "le chien", "un chat", "un chien"])

    assert baseline.translations == {"the": "le", "cat": "chat", "a": "un", "dog": "chien"}
    assert baseline("a dog the cat") == "un chien le chat"


def test_unknown_words_are_copied() -> None:
    assert WordForWord(SOURCES, TARGETS)("where is Ferdinand?") == "où est Ferdinand ?"


def test_marks_and_elided_words_are_joined_as_they_mostly_are() -> None:
    baseline = WordForWord(["I love it .", "I love you !"], ["j'aime ça.", "j'adore toi !"], rounds=1)
    baseline.translations = {"a": "j'", "b": "aime", "c": ".", "d": "!"}

    assert baseline("a b c") == "j'aime."
    assert baseline("a b d") == "j'aime !"


def test_lower_case_is_learned_and_written_on_demand() -> None:
    assert WordForWord(["Cat", "cat"], ["Chat", "chat"], lowercase=True)("CAT") == "chat"


def test_an_empty_sentence_is_translated_by_an_empty_one() -> None:
    assert WordForWord(SOURCES, TARGETS)("") == ""


def test_pairs_without_words_cannot_be_learned_from() -> None:
    with pytest.raises(DataError, match="nothing to count"):
        WordForWord(["", "a"], ["b", ""])


def test_elided_words_keep_their_apostrophe() -> None:
    assert split_words("L'homme n’est pas là, 3 fois!") == [
        "L'",
        "homme",
        "n’",
        "est",
        "pas",
        "là",
        ",",
        "3",
        "fois",
        "!",
    ]
