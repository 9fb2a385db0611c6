"""Examples: what is learned from, what is validated on, and that a run can tell its data again."""

from __future__ import annotations

from pathlib import Path

import pytest

from recurra.errors import DataError
from recurra.tasks.run_folder import RunFolder
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.examples import Vocabularies, read_examples
from tests.tasks.translate.toy import OPTIONS, PAIRS, write_pairs

CONFIG = TranslateConfig(**OPTIONS)


def test_a_part_of_the_pairs_is_set_aside_and_counted(tmp_path: Path) -> None:
    examples = read_examples(write_pairs(tmp_path / "p.tsv"), None, CONFIG)

    assert len(examples.training) + len(examples.validation) == len(PAIRS)
    assert not {pair.source for pair in examples.training} & {pair.source for pair in examples.validation}
    assert examples.facts["validation_seen_in_training"] == 0
    assert examples.facts["files"] == [str(tmp_path / "p.tsv")]


def test_validation_files_replace_the_split_and_repeats_are_counted(tmp_path: Path) -> None:
    every, some = write_pairs(tmp_path / "p.tsv"), write_pairs(tmp_path / "v.tsv", PAIRS[:3])

    examples = read_examples(every, [some], CONFIG)

    assert (len(examples.training), len(examples.validation)) == (10, 3)
    assert examples.facts["validation_seen_in_training"] == 3


def test_the_digest_tells_changed_data(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.tsv")
    before = read_examples(path, None, CONFIG).facts["digest"]

    again = read_examples(path, None, CONFIG).facts["digest"]
    write_pairs(path, [*PAIRS[:-1], ("I love the cat.", "j'aime le chat !")])
    changed = read_examples(path, None, CONFIG).facts["digest"]

    assert before == again != changed


def test_one_pair_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two different source sentences"):
        read_examples(write_pairs(tmp_path / "p.tsv", PAIRS[:1]), None, CONFIG)


@pytest.mark.parametrize("shared", [True, False])
def test_vocabularies_come_back_from_a_run_folder(tmp_path: Path, shared: bool) -> None:
    config = CONFIG.model_copy(update={"shared_vocabulary": shared})
    examples = read_examples(write_pairs(tmp_path / "p.tsv"), None, config)
    folder = RunFolder(tmp_path)
    vocabularies = Vocabularies.train(examples.training, config)
    vocabularies.save(folder)

    again = Vocabularies.load(folder, shared=shared)

    assert again.are_shared == shared
    assert again.source.pieces == vocabularies.source.pieces
    assert again.target.pieces == vocabularies.target.pieces


def test_bpe_dropout_cuts_words_anew_in_each_epoch_and_alike_when_asked_again(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"tokenizer": "bpe", "bpe_dropout": 0.5, "batch_tokens": 10_000})
    examples = read_examples(write_pairs(tmp_path / "p.tsv", PAIRS * 3), write_pairs(tmp_path / "v.tsv"), config)
    batches = examples.batches(Vocabularies.train(examples.training, config), config)

    def tokens(epoch: int) -> list[int]:
        return sorted(batches.load(batches.plan(epoch)[0]).target_out.tolist())

    first, second = tokens(0), tokens(1)

    assert first != second
    assert tokens(0) == first
