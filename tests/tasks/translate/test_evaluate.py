"""Scores of a translator: on files, and on the validation part while it learns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from recurra.data.readers import Pair
from recurra.errors import DataError
from recurra.tasks.translate import evaluate, load
from recurra.tasks.translate.evaluate import Validation, _predict_references
from recurra.training import Loss
from tests.tasks.translate.toy import PAIRS, write_pairs


def test_what_was_learned_by_heart_scores_full_marks(learned_run: Path, tmp_path: Path) -> None:
    scores = evaluate(load(learned_run), write_pairs(tmp_path / "p.tsv"))

    assert scores.bleu == pytest.approx(100)
    assert scores.exact_match == 100
    assert scores.perplexity == pytest.approx(1, abs=0.1)
    assert scores.sentences == len(PAIRS)


def test_losses_of_many_batches_are_added_up_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    class Many:
        def plan(self, _epoch: int) -> list[float]:
            return [2.0**24, *[1.0] * 100]  # beyond 2^24, float32 knows no odd number

        def load(self, item: float) -> torch.Tensor:
            return torch.tensor(item)

    def as_it_is(**_: float) -> Any:
        return lambda _, loss: Loss(loss, 1, {"accuracy": 1})

    monkeypatch.setitem(Validation.__call__.__globals__, "translation_loss", as_it_is)

    found = _predict_references(torch.nn.Linear(1, 1), Many())  # type: ignore[arg-type]

    assert found == ((2**24 + 100) / 101, 1)


def test_a_run_may_be_given_by_its_folder(learned_run: Path, tmp_path: Path) -> None:
    assert evaluate(learned_run, write_pairs(tmp_path / "p.tsv")).exact_match == 100


def test_wrong_references_are_scored_as_wrong(learned_run: Path, tmp_path: Path) -> None:
    turned = [(source, PAIRS[-1 - row][1]) for row, (source, _) in enumerate(PAIRS)]

    scores = evaluate(load(learned_run), write_pairs(tmp_path / "p.tsv", turned))

    assert scores.exact_match == 0
    assert scores.perplexity is not None
    assert scores.perplexity > 10


def test_columns_are_those_of_the_fit_unless_others_are_named(learned_run: Path, tmp_path: Path) -> None:
    model = load(learned_run)
    model.config = model.config.model_copy(update={"source_column": "english", "target_column": "french"})
    rows = "".join(f"{row}\t{target}\t{source}\n" for row, (source, target) in enumerate(PAIRS))
    (tmp_path / "table.tsv").write_text("id\tfrench\tenglish\n" + rows)
    (tmp_path / "other.tsv").write_text("id\tFrançais\tenglish\n" + rows)
    (tmp_path / "p.en").write_text("hello\n")
    (tmp_path / "p.fr").write_text("bonjour\n")

    assert evaluate(model, tmp_path / "table.tsv").exact_match == 100
    assert evaluate(model, tmp_path / "p.en", tmp_path / "p.fr").exact_match == 100
    with pytest.raises(DataError, match=r"no column `french`.*The run was fitted with the columns `english` and"):
        evaluate(model, tmp_path / "other.tsv")
    assert evaluate(model, tmp_path / "other.tsv", source_column="3", target_column="Français").exact_match == 100


def test_case_counts_unless_it_is_asked_not_to(learned_run: Path, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.tsv", [(source, target.upper()) for source, target in PAIRS])

    assert evaluate(load(learned_run), path).exact_match == 0
    assert evaluate(load(learned_run), path, lowercase=True).exact_match == 100


def test_validation_gives_mean_loss_and_accuracy_a_piece(learned_run: Path) -> None:
    model = load(learned_run)
    validation = Validation(model, [Pair(source, target, 1) for source, target in PAIRS])

    scores = validation(model.network)

    assert set(scores) == {"loss", "perplexity", "accuracy"}
    assert scores["perplexity"] == pytest.approx(math.exp(scores["loss"]))
    assert scores["accuracy"] == 1


def test_a_missing_file_is_refused(learned_run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        evaluate(load(learned_run), tmp_path / "none.tsv")
