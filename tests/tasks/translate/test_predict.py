"""Translating: one, many, none, long, strange; and what the details say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.data.tokenizer import Aligned
from recurra.errors import ConfigError, DataError, RunError
from recurra.networks.decoding import Hypothesis
from recurra.tasks.translate import Translator, load
from recurra.tasks.translate.predict import _attended, _batches, _How, _owners
from tests.tasks.translate.toy import PAIRS


@pytest.fixture(scope="module")
def model(learned_run: Path) -> Translator:
    return load(learned_run)


def test_what_was_learned_by_heart_is_known(model: Translator) -> None:
    assert model("good morning") == "bonjour"
    assert model([source for source, _ in PAIRS]) == [target for _, target in PAIRS]
    assert model(source for source, _ in PAIRS[:2]) == ["bonjour", "bonjour"]


@pytest.mark.parametrize("beam", [1, 4])
def test_company_does_not_change_a_translation(model: Translator, beam: int) -> None:
    sentences = ["the dog", "where is the cat? the cat is black. " * 5, "hello", "the the the night"]

    together = model.translate(sentences, beam=beam)

    for sentence, among in zip(sentences, together, strict=True):
        (alone,) = model.translate([sentence], beam=beam)
        assert alone.text == among.text
        assert alone.candidates[0].score == pytest.approx(among.candidates[0].score, rel=1e-4)


@pytest.mark.parametrize("empty", ["", " ", "\t \n"])
def test_an_empty_sentence_is_translated_by_an_empty_one(model: Translator, empty: str) -> None:
    assert model(empty) == ""
    assert model(["hello", empty, "thank you"]) == ["bonjour", "", "merci"]
    assert model([]) == []


@pytest.mark.parametrize("strange", ["日本語", "😀 😀", "xyzzy"])
def test_a_sentence_of_unknown_pieces_alone_is_copied(model: Translator, strange: str) -> None:
    assert model(strange) == strange


def test_line_ends_inside_a_sentence_are_blanks(model: Translator) -> None:
    assert model("good\nmorning") == model("good morning")


def test_a_very_long_sentence_comes_to_an_end(model: Translator) -> None:
    translated = model("the cat is black. " * 100, max_length=50)

    assert 0 < len(translated.split()) <= 50


def test_n_best_are_different_and_ordered(model: Translator) -> None:
    (translated,) = model.translate(["where is the cat?"], n_best=4)

    texts = [candidate.text for candidate in translated.candidates]
    scores = [candidate.score for candidate in translated.candidates]
    assert len(set(texts)) == 4
    assert scores == sorted(scores, reverse=True)
    assert translated.text == texts[0] == "où est le chat ?"


def test_a_text_that_comes_twice_is_one_candidate(model: Translator) -> None:
    (translated,) = model.translate(["ξένος ☃"], n_best=3)

    assert [candidate.text for candidate in translated.candidates] == ["ξένος ☃"]


def test_words_and_attention_are_those_of_the_sentences(model: Translator) -> None:
    (translated,) = model.translate(["where is the cat?"])
    best = translated.candidates[0]

    assert translated.words == ["▁where", "▁is", "▁the", "▁cat", "?"]
    assert best.words == ["▁où", "▁est", "▁le", "▁chat", "▁?"]
    assert best.attention is not None
    assert best.attention.shape == (5, 6)
    assert torch.allclose(best.attention.sum(1), torch.ones(5))
    drawn = translated.attention_map()
    assert drawn is not None
    assert (drawn.inputs, drawn.outputs) == (
        ["where", "is", "the", "cat", "?", "(end)"],
        ["où", "est", "le", "chat", "?"],
    )


def test_the_json_is_plain_and_complete(model: Translator) -> None:
    translated = model.translate(["where is the cat?", ""], n_best=2)

    first, empty = (json.loads(json.dumps(each.to_json())) for each in translated)

    assert set(first) == {"source", "source_words", "translations"}
    assert first["source_words"] == ["where", "is", "the", "cat", "?"]
    assert [set(each) for each in first["translations"]] == [{"text", "score", "words", "attention"}] * 2
    assert len(first["translations"][0]["attention"]) == len(first["translations"][0]["words"])
    assert empty == {"source": "", "source_words": [], "translations": [
        {"text": "", "score": 0.0, "words": [], "attention": None}]}  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam": 0}, "`beam` must be a whole number of at least 1"),
        ({"n_best": 0}, "`n_best` must be a whole number of at least 1"),
        ({"beam": "many"}, "`beam` must be a whole number of at least 1, got 'many'"),
        ({"length_penalty": -0.5, "beam": 1}, "`length_penalty` must be a number of at least 0, got -0.5"),
        ({"length_penalty": float("inf")}, "`length_penalty` must be a number of at least 0, got inf"),
        ({"n_best": 6}, "`n_best` must be at most `beam` = 5"),
        ({"max_length": 0}, "`max_length` must be a whole number of at least 1"),
        ({"unknown_words": "copi"}, "Did you mean `copy`"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_refused(model: Translator, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model("hello", **options)


@pytest.mark.parametrize("sentences", [None, 3, ["hello", 3]])
def test_what_is_no_text_is_named(model: Translator, sentences: Any) -> None:
    with pytest.raises(DataError, match=r"must be a text or a list of texts, got a (NoneType|int)\.$"):
        model(sentences)


def test_half_a_character_is_refused(model: Translator) -> None:
    with pytest.raises(DataError, match=r"got 'hel\\ud800lo' with half a surrogate pair in it"):
        model("hel\ud800lo")


def test_a_device_of_torch_will_do_and_what_is_no_path_is_named(learned_run: Path) -> None:
    assert load(learned_run, device=torch.device("cpu"))("hello") == "bonjour"
    with pytest.raises(RunError, match="`path` must be that of a run folder, got a NoneType"):
        load(None)  # type: ignore[arg-type]


def test_one_text_where_a_list_belongs_is_refused(model: Translator) -> None:
    with pytest.raises(ConfigError, match="must be a list"):
        model.translate("hello")


# --- unknown words ---------------------------------------------------------------------------------------------------

# "the zebra is black." with attention of three target words on it
SOURCE = Aligned([5, 1, 6, 7, 8], ["▁the", "▁zebra", "▁is", "▁black", "."], [0, 1, 2, 3, 4])


def hypothesis(model: Translator, words: list[str], looks_at: list[int]) -> Hypothesis:
    pieces = model.vocabularies.target.pieces
    weights = torch.eye(6)[[*looks_at, 5]]
    ids = [pieces.index(word) if word in pieces else model.vocabularies.target.unk for word in words]
    return Hypothesis(ids, -0.5, [-0.1] * (len(ids) + 1), weights)


@pytest.mark.parametrize(
    ("how", "text"), [("copy", "le zebra est noir."), ("keep", "le <unk> est noir."), ("drop", "le <unk> est noir.")]
)
def test_an_unknown_piece_becomes_the_source_word_attended_to_most(model: Translator, how: str, text: str) -> None:
    written = hypothesis(model, ["▁le", "▁ZEBRE", "▁est", "▁noir", "."], [0, 1, 2, 3, 4])

    candidate = model._candidate(SOURCE, written, _How(5, 1, 1.0, None, how))

    assert candidate.text == text
    if how == "copy":
        assert candidate.words == ["▁le", "▁zebra", "▁est", "▁noir", "."]


def test_the_end_of_the_source_is_never_copied(model: Translator) -> None:
    written = hypothesis(model, ["▁ZEBRE"], [5])

    assert model._candidate(SOURCE, written, _How(5, 1, 1.0, None, "copy")).text == "the"  # the first of equals


def test_drop_never_writes_an_unknown_piece(model: Translator) -> None:
    for translated in model.translate(["the zebra is black.", "Zoe loves Bob"], unknown_words="drop", n_best=5):
        assert not any("<unk>" in candidate.text for candidate in translated.candidates)


def test_of_a_word_in_pieces_the_whole_word_is_copied_unless_the_piece_itself_is_unknown() -> None:
    source = Aligned([9, 10, 1], ["▁ze", "bra", "☃"], [0, 0, 1])

    assert _attended(source, torch.tensor([0.2, 0.7, 0.1])) == "▁zebra"
    assert _attended(source, torch.tensor([0.2, 0.1, 0.7])) == "☃"


def test_pieces_belong_to_the_words_they_begin_in() -> None:
    assert _owners(["▁ze", "bra", "▁l'", "eau", "."], ["▁zebra", "▁l'", "eau", "."]) == [0, 0, 1, 2, 3]
    assert _owners(["▁a", "b", "c"], ["▁a"]) == [0, 0, 0]


def test_batches_hold_every_sentence_once_and_keep_the_budget() -> None:
    lengths = [3, 0, 9, 1, 4, 50, 2]

    batches = list(_batches(lengths, budget=20))

    assert sorted(row for rows in batches for row in rows) == [0, 2, 3, 4, 5, 6]
    assert all(len(rows) == 1 or len(rows) * (max(lengths[row] for row in rows) + 1) <= 20 for rows in batches)


# --- run folders -----------------------------------------------------------------------------------------------------


def test_saved_and_loaded_it_translates_the_same(model: Translator, tmp_path: Path) -> None:
    model.save(tmp_path / "copy")

    again = load(tmp_path / "copy")

    sentences = ["where is the dog?", "the night is black. the cat"]
    for ours, theirs in zip(model.translate(sentences, n_best=3), again.translate(sentences, n_best=3), strict=True):
        assert [c.text for c in ours.candidates] == [c.text for c in theirs.candidates]
        assert [c.score for c in ours.candidates] == [c.score for c in theirs.candidates]
    assert again.scores == model.scores
    with pytest.raises(RunError, match="already holds a run"):
        model.save(tmp_path / "copy")


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_damaged_run_is_refused_in_one_sentence(learned_run: Path, tmp_path: Path, file: str, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(learned_run, run)
    content = (run / file).read_bytes()
    (run / file).unlink()
    if damage == "cut":
        (run / file).write_bytes(content[: len(content) // 2])

    with pytest.raises((RunError, DataError)) as refused:
        load(run)

    assert "\n" not in str(refused.value)
    assert file in str(refused.value)


def test_a_run_of_another_task_is_refused(learned_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(learned_run, run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "task": "compose"}))

    with pytest.raises(RunError, match="of the task `compose`"):
        load(run)


def test_a_config_with_an_option_that_cannot_be_is_damaged(learned_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(learned_run, run)
    config = json.loads((run / "config.json").read_text())
    config["options"]["hidden_size"] = "wide"
    (run / "config.json").write_text(json.dumps(config))

    with pytest.raises(RunError, match=r"config.json` is damaged: `hidden_size` must be"):
        load(run)
