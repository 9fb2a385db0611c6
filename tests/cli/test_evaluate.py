"""`recurra evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.cli.main import main
from tests.tasks.translate.toy import write_pairs


def test_scores_are_a_table_with_signatures(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(learned_run), str(write_pairs(tmp_path / "p.tsv"))]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert [line.split()[0] for line in lines] == ["score", "BLEU", "chrF", "exact", "perplexity"]
    assert "100.00" in lines[1]
    assert "tok:13a" in lines[1]


def test_scores_are_json_on_demand(learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pairs(tmp_path / "p.csv", [])
    path.write_text("fr,en\nbonjour,good morning\n")
    columns = ["--source-column", "en", "--target-column", "fr"]

    assert main(["evaluate", str(learned_run), str(path), *columns, "--beam", "1", "--lowercase", "--json"]) == 0

    scores = json.loads(capsys.readouterr().out)
    assert scores["exact_match"] == 100
    assert scores["sentences"] == 1
    assert "case:lc" in scores["bleu_signature"]


def test_lines_that_cannot_be_used_are_refused_or_left_out(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_pairs(tmp_path / "p.tsv")
    path.write_text(path.read_text() + "alone\n")

    assert main(["evaluate", str(learned_run), str(path)]) == 2
    assert "leave such lines out with `--on-bad` = skip." in capsys.readouterr().err
    assert main(["evaluate", str(learned_run), str(path), "--on-bad", "skip"]) == 0
    assert "100.00" in capsys.readouterr().out


def test_a_missing_file_and_half_the_columns_are_refused(learned_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(learned_run), "none.tsv"]) == 2
    assert "There is no file `none.tsv`" in capsys.readouterr().err
    assert main(["evaluate", str(learned_run), "none.tsv", "--source-column", "en"]) == 2
    assert "both `--source-column` and `--target-column`" in capsys.readouterr().err
