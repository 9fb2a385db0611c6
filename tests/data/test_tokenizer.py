"""Sentences come back from their numbers to the last blank, and unknown words can be copied."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.data.tokenizer import Kind, Vocabulary, train_tokenizer
from recurra.errors import ConfigError, DataError, MissingExtra

KINDS: list[Kind] = ["bpe", "word", "char"]

LINES = [
    "Hello, how are you?",
    "L'homme n'est pas là !",
    "Qu’est-ce que c’est ?",
    "Il a dit : « Va là-bas\u202f! »",
    "Où sont les 12,5\u00a0% d'hommes aujourd'hui ?",
    "The men's hats... aren't “here”!!",
    "She said 'no' (twice) - it's 3:45.",
]
LETTERS = sorted({letter for line in LINES for letter in line})


@pytest.fixture(scope="module", params=KINDS)
def vocabulary(request: pytest.FixtureRequest) -> Vocabulary:
    return train_tokenizer(LINES * 3, request.param, 300)


@pytest.fixture(scope="module")
def bpe() -> Vocabulary:
    return train_tokenizer(LINES * 3, "bpe", 120)


def test_special_pieces_come_first(vocabulary: Vocabulary) -> None:
    assert vocabulary.pieces[:4] == ["<pad>", "<unk>", "<s>", "</s>"]
    assert (vocabulary.pad, vocabulary.unk, vocabulary.bos, vocabulary.eos) == (0, 1, 2, 3)
    assert len(vocabulary) == len(set(vocabulary.pieces)) <= 300


def test_every_training_sentence_comes_back(vocabulary: Vocabulary) -> None:
    assert [vocabulary.decode(vocabulary.encode(line)) for line in LINES] == LINES
    assert vocabulary.decode_batch(vocabulary.encode_batch(LINES)) == LINES


@settings(max_examples=200)
@given(st.text(st.sampled_from([*LETTERS, " ", "\t", "\n", "▁"]), max_size=30))
def test_any_text_of_known_letters_comes_back_normalised(sentence: str) -> None:
    for vocabulary in (BPE, CHAR):
        ids = vocabulary.encode(sentence.replace("▁", " "))
        assert vocabulary.unk not in ids
        assert vocabulary.decode(ids) == vocabulary.normalise(sentence.replace("▁", " "))


@settings(max_examples=200)
@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_at_all_comes_back_when_unknown_pieces_are_copied(sentence: str) -> None:
    for vocabulary in (BPE, WORD, CHAR, LOWER):
        aligned = vocabulary.align(sentence)
        normal = vocabulary.normalise(sentence)
        assert aligned.ids == vocabulary.encode(sentence)
        assert vocabulary.decode(aligned.ids, aligned.surfaces) == normal
        assert vocabulary.normalise(normal) == normal


@settings(max_examples=100)
@given(st.text(st.sampled_from([*LETTERS, " "]), max_size=30))
def test_normalising_changes_only_blanks_at_ends_and_in_rows(sentence: str) -> None:
    known = sentence.replace("\u00a0", "x").replace("\u202f", "x")
    assert BPE.normalise(known) == " ".join(known.split())


def test_the_mark_in_a_sentence_becomes_an_underscore() -> None:
    assert BPE.normalise("snake▁case ▁x") == "snake_case _x"


def test_spaces_of_french_punctuation_survive(vocabulary: Vocabulary) -> None:
    for sentence in ("là !", "là\u202f!", "là\u00a0!", "là!", "« là »", "L' homme", "L'homme"):
        aligned = vocabulary.align(sentence)
        assert vocabulary.decode(aligned.ids, aligned.surfaces) == sentence


def test_pieces_do_not_cross_words_and_punctuation(bpe: Vocabulary) -> None:
    assert bpe.words("L'homme n'est pas là !") == ["▁L'", "homme", "▁n'", "est", "▁pas", "▁là", "▁!"]
    assert bpe.words("Qu’est-ce ?!..") == ["▁Qu’", "est", "-", "ce", "▁?", "!", ".."]
    assert bpe.words("à 12,5\u00a0% «\u00a0oui\u00a0»") == [
        "▁à",
        "▁12",
        ",",
        "5",
        "\u00a0%",
        "▁«",
        "\u00a0",
        "oui",
        "\u00a0»",
    ]
    assert bpe.words("") == bpe.words(" \n") == []


def test_frequent_words_are_one_piece() -> None:
    pieces = train_tokenizer(["the cat sat on the mat"] * 10, "bpe", 60).align("the cat").surfaces
    assert pieces == ["▁the", "▁cat"]


def test_lower_case_is_asked_for() -> None:
    vocabulary = train_tokenizer(["ÉTÉ Où"] * 3, "word", 10, lowercase=True)
    assert vocabulary.decode(vocabulary.encode("été OÙ")) == "été où"
    assert vocabulary.normalise("E\u0301té") == "été"


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_vocabulary(kind: Kind) -> None:
    words = ["".join(random.choices("abcdefgh", k=4)) for _ in range(500)]
    lines = [" ".join(random.choices(words, k=8)) for _ in range(300)]
    assert train_tokenizer(lines, kind, 400).to_json() == train_tokenizer(iter(lines), kind, 400).to_json()


def test_a_small_vocabulary_keeps_the_most_frequent() -> None:
    words = train_tokenizer(["a a a b b c"], "word", 6, min_frequency=1)
    assert words.pieces[4:] == ["▁a", "▁b"]
    letters = train_tokenizer(["aaa bb c"], "bpe", 6, min_frequency=1)
    assert len(letters) == 6


def test_rare_words_are_unknown() -> None:
    vocabulary = train_tokenizer(["a a b"], "word", 100, min_frequency=2)
    assert vocabulary.encode("a b") == [4, vocabulary.unk]


# --- unknown words -------------------------------------------------------------------------------------------------


def test_unknown_words_can_be_copied_from_the_source() -> None:
    source = WORD.align("Hello, Zoë !")
    assert source.ids[2] == WORD.unk
    assert source.surfaces == ["▁Hello", ",", "▁Zoë", "▁!"]
    target = [WORD.encode("là")[0], WORD.unk, WORD.encode("là !")[1]]
    assert WORD.decode(target) == "là <unk> !"
    assert WORD.decode(target, [None, source.word_around(2), None]) == "là Zoë !"


def test_a_run_of_unknown_letters_is_one_unknown_piece(bpe: Vocabulary) -> None:
    aligned = bpe.align("les 北京市 hommes")
    assert [s for s, id in zip(aligned.surfaces, aligned.ids, strict=True) if id == bpe.unk] == ["北京市"]
    assert aligned.word_around(aligned.surfaces.index("北京市")) == "▁北京市"
    assert [aligned.word_around(at) for at in (0, -1)] == ["▁les", "▁hommes"]


def test_copies_must_be_one_for_each_piece(bpe: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="one entry for each of 2 ids, got 1"):
        bpe.decode([4, 5], [None])


def test_special_pieces_in_a_sentence_are_text(vocabulary: Vocabulary) -> None:
    ids = vocabulary.encode("<s> <pad></s>")
    assert {vocabulary.pad, vocabulary.bos, vocabulary.eos}.isdisjoint(ids)


def test_pad_begin_and_end_are_not_shown(bpe: Vocabulary) -> None:
    ids = [bpe.bos, *bpe.encode("Hello"), bpe.eos, bpe.pad]
    assert bpe.decode(ids) == "Hello"
    assert bpe.decode([]) == ""


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_saved_vocabulary_is_the_same(vocabulary: Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    vocabulary.save(path)
    vocabulary.save(path)
    loaded = Vocabulary.load(path)
    assert loaded.to_json() == vocabulary.to_json()
    assert (loaded.kind, len(loaded), repr(loaded)) == (vocabulary.kind, len(vocabulary), repr(vocabulary))
    assert loaded.encode("<s> Hello") == vocabulary.encode("<s> Hello")
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


def test_a_file_that_cannot_be_written_is_named(vocabulary: Vocabulary, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(DataError, match=r"tokenizer\.json` cannot be written: is a directory\.$"):
        vocabulary.save(tmp_path / "tokenizer.json")
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


def test_other_programs_decode_the_same(vocabulary: Vocabulary) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_str(vocabulary.to_json())
    assert theirs.decode(theirs.encode(LINES[0]).ids) == LINES[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^There is no file `.*tokenizer\.json`: restore it or train again\.$"):
        Vocabulary.load(tmp_path / "tokenizer.json")
    with pytest.raises(DataError, match=r"cannot be read: is a directory\.$"):
        Vocabulary.load(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": "1.0"}', b"[]", b"\xff\xfe", b"half"])
def test_a_damaged_file_is_one_sentence(bpe: Vocabulary, tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(bpe.to_json().encode()[:999] if damage == b"half" else damage)
    with pytest.raises(DataError, match=r"^`.*tokenizer\.json` is damaged \([^\n]*\): restore it or train again\.$"):
        Vocabulary.load(path)


def test_a_tokenizer_of_another_program_is_refused(bpe: Vocabulary) -> None:
    other = json.loads(bpe.to_json())
    other["normalizer"] = None
    with pytest.raises(DataError, match="is a tokenizer of another program"):
        Vocabulary.from_json(json.dumps(other))


# --- options -------------------------------------------------------------------------------------------------------


def test_bad_options_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Unknown kind of vocabulary `words`\. Did you mean `word`\? All: bpe, word"):
        train_tokenizer(LINES, "words")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`vocab_size` must be above the 4 special pieces, got 4"):
        train_tokenizer(LINES, "bpe", 4)
    with pytest.raises(ConfigError, match="`vocab_size` must be a whole number of at least 1, got '100'"):
        train_tokenizer(LINES, "bpe", "100")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`min_frequency` must be a whole number of at least 1, got 0"):
        train_tokenizer(LINES, "bpe", min_frequency=0)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_learn_from_is_refused(kind: Kind) -> None:
    with pytest.raises(DataError, match="There is nothing to learn a vocabulary from"):
        train_tokenizer(["", "  "], kind)


def test_without_the_text_extra_the_pip_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for attempt in (lambda: train_tokenizer(LINES), lambda: Vocabulary.from_json("{}")):
        with pytest.raises(MissingExtra, match=r"run `pip install 'recurra\[text\]'`"):
            attempt()


# hypothesis tests run many times and need the same vocabularies each time
BPE, WORD, CHAR = (train_tokenizer(LINES * 3, kind, 300) for kind in KINDS)
LOWER = train_tokenizer(LINES * 3, "bpe", 150, lowercase=True)
