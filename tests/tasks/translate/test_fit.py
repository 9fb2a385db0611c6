"""`fit`: what it leaves behind, what it refuses, and that a run goes on as if it had never stopped."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from recurra.errors import ConfigError, DataError, RunError
from recurra.tasks.run_folder import RunFolder
from recurra.tasks.translate import fit, load
from recurra.tasks.translate.config import TranslateConfig
from recurra.tasks.translate.evaluate import Validation
from recurra.tasks.translate.fit import with_epochs
from recurra.training import Interrupted
from recurra.training.metrics import read_metrics
from tests.tasks.translate.toy import OPTIONS, PAIRS, write_pairs

QUICK = {**OPTIONS, "max_steps": 20, "evaluate_every": 10, "progress": "none"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.tsv")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def curve(run: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in read_metrics(run / "metrics.jsonl")
    ]


def stop_at(monkeypatch: pytest.MonkeyPatch, evaluation: int) -> None:
    """Ctrl-C during the n-th evaluation."""
    judged = Validation.__call__
    seen = []

    def judge(self: Validation, network: Any) -> dict[str, float]:
        seen.append(network)
        if len(seen) == evaluation:
            os.kill(os.getpid(), signal.SIGINT)
        return judged(self, network)

    monkeypatch.setattr(Validation, "__call__", judge)


def test_a_fit_leaves_a_whole_run_folder(pairs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    model = fit(pairs, out=tmp_path / "run", **{**QUICK, "plots": True})

    assert set(contents(tmp_path / "run")) == {
        "README.md", "config.json", "metrics.jsonl", "model.safetensors", "plots/attention.png", "plots/loss.png",
        "tokenizer.json",
    }  # fmt: skip
    assert load(tmp_path / "run").scores == model.scores
    assert [row["step"] for row in curve(tmp_path / "run") if row["split"] == "validation"] == [10, 20]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["task"], config["format"]) == ("translate", 1)
    assert config["data"]["files"] == [str(pairs)]


def test_the_model_card_names_data_settings_scores_and_baseline(learned_run: Path) -> None:
    card = (learned_run / "README.md").read_text()

    for word in (
        "pairs.tsv", "tok:13a", "chrF", "exact match", "perplexity", "word for word", "hidden_size",
        "où est le chat ?", "## Limits", "recurra predict",
    ):  # fmt: skip
        assert word in card


@pytest.mark.parametrize(
    ("options", "num_batches", "epochs"),
    [
        ({}, 478, 16),
        ({}, 3, 500),
        ({"accumulate": 2}, 3, 750),
        ({"epochs": 2}, 3, 2),
        ({"max_steps": 40}, 3, None),
        ({}, 0, None),
    ],
)
def test_a_small_file_is_gone_through_more_often_unless_the_options_say_how_long(
    options: dict[str, int], num_batches: int, epochs: int | None
) -> None:
    assert with_epochs(TranslateConfig(**options), num_batches).epochs == epochs


def test_without_a_folder_nothing_is_written_and_the_model_can_save_itself(pairs: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)

    model = fit(pairs, **QUICK)

    assert contents(tmp_path) == before
    assert model.scores["network"]["sentences"] > 0
    model.save(tmp_path / "run")
    assert load(tmp_path / "run")("hello") == model("hello")


def test_the_same_seed_gives_the_same_translator(pairs: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(pairs, out=tmp_path / name, **{**QUICK, "dropout": 0.2})

    assert curve(tmp_path / "one") == curve(tmp_path / "two")
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("averaging", ["none", "ema"])
def test_a_resumed_run_is_an_unbroken_one(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, averaging: str
) -> None:
    options = {**QUICK, "dropout": 0.3, "averaging": averaging}
    fit(pairs, out=tmp_path / "unbroken", **options)
    with monkeypatch.context() as patch:
        stop_at(patch, evaluation=1)
        with pytest.raises(Interrupted):
            fit(pairs, out=tmp_path / "run", **options)
    with pytest.raises(RunError, match="cut short"):
        load(tmp_path / "run")

    fit(out=tmp_path / "run", resume=True, progress="none")

    assert curve(tmp_path / "run") == curve(tmp_path / "unbroken")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        tmp_path / "unbroken" / "model.safetensors"
    ).read_bytes()
    assert set(contents(tmp_path / "run")) == set(contents(tmp_path / "unbroken"))


def test_a_resumed_run_may_be_longer_but_not_other(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, evaluation=1)
        with pytest.raises(Interrupted):
            fit(pairs, out=tmp_path / "run", **QUICK)

    with pytest.raises(ConfigError, match="was begun with `hidden_size` 32, not 64"):
        fit(out=tmp_path / "run", resume=True, hidden_size=64)
    with pytest.raises(ConfigError, match="was begun with `metric` loss, not bleu"):
        fit(out=tmp_path / "run", resume=True, metric="bleu")  # which does not go with the goal of the loss
    with pytest.raises(ConfigError, match="`metric_goal` max would keep the weights of the worst loss"):
        fit(out=tmp_path / "run", resume=True, metric_goal="max")
    write_pairs(pairs, PAIRS[:-1])
    with pytest.raises(DataError, match="not those that the run"):
        fit(out=tmp_path / "run", resume=True)
    pairs.unlink()
    with pytest.raises(DataError, match=r"was begun with `.*`, which is gone: say where the pairs are now"):
        fit(out=tmp_path / "run", resume=True)
    write_pairs(pairs)
    moved = pairs.rename(tmp_path / "moved.tsv")
    fit(moved, out=tmp_path / "run", resume=True, max_steps=30, beam_size=2, progress="none")
    assert curve(tmp_path / "run")[-1]["step"] == 30
    assert load(tmp_path / "run").config.beam_size == 2  # what was given anew is kept
    record = RunFolder(tmp_path / "run").record()
    assert record.options["max_steps"] == 30
    assert record.data["files"] == [str(moved)]

    capsys.readouterr()
    fit(out=tmp_path / "run", resume=True)
    assert "nothing to resume; for a longer one begin a new run" in capsys.readouterr().err
    (tmp_path / "run" / "model.safetensors").unlink()
    fit(out=tmp_path / "run", resume=True, max_steps=1)
    assert "There is no checkpoint" in capsys.readouterr().err


def test_resume_begins_where_there_is_nothing_yet_but_needs_files_then(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run to resume in .* give one file"):
        fit(out=tmp_path / "run", resume=True)

    fit(pairs, out=tmp_path / "run", resume=True, **QUICK)

    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_what_can_be_refused_is_refused_before_an_old_run_is_touched(
    learned_run: Path, tmp_path: Path, pairs: Path
) -> None:
    run = tmp_path / "run"
    load(learned_run).save(run)
    before = contents(run)

    for error, paths, options in (
        (RunError, [pairs], {}),
        (DataError, [tmp_path / "none.tsv"], {"overwrite": True}),
        (DataError, [], {"overwrite": True}),
        (ConfigError, [pairs], {"overwrite": True, "cell": "lstmm"}),
        (ConfigError, [pairs], {"overwrite": True, "cell_options": {"peep": 1}}),
        (RunError, [pairs], {"overwrite": True, "resume": True}),
    ):
        with pytest.raises(error):
            fit(*paths, out=run, **{**QUICK, **options})
        assert contents(run) == before


@pytest.mark.parametrize(
    "options",
    [
        {"cell_options": {"peep": 1}},
        {"cell_options": {"forget_bias": "large"}},
        {"attention": "multi_head", "num_heads": 7},
        {"device": "cuda:99"},
    ],
)
def test_a_refused_option_leaves_no_folder_behind(pairs: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        fit(pairs, out=tmp_path / "run", **{**QUICK, **options})

    assert not (tmp_path / "run").exists()
    fit(pairs, out=tmp_path / "run", **{**QUICK, "max_steps": 1})


@pytest.mark.parametrize("writes", [0, 3, 7])
def test_a_full_disk_loses_nothing(
    learned_run: Path, tmp_path: Path, pairs: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    run = tmp_path / "run"
    load(learned_run).save(run)
    weights = (run / "model.safetensors").read_bytes()
    left = [writes]
    sync = os.fsync

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="no space left on device"):
            fit(pairs, out=run, overwrite=True, **QUICK)

    kept = [path for path in (run, run / ".replaced") if (path / "model.safetensors").is_file()]
    assert [(path / "model.safetensors").read_bytes() for path in kept] == [weights]
    fit(pairs, out=run, overwrite=True, **QUICK)
    assert load(run)("hello")


def test_a_folder_is_needed_to_resume_or_overwrite(pairs: Path) -> None:
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(ConfigError, match="give `out`"):
            fit(pairs, **options)


@pytest.mark.parametrize("metric", ["bleu", "exact_match"])
def test_the_best_weights_can_be_those_of_the_best_translations(pairs: Path, metric: str) -> None:
    out = pairs.with_name("run")

    fit(pairs, out=out, validation=pairs, **{**QUICK, "max_steps": 60, "metric": metric})

    judged = [row[metric] for row in curve(out) if row["split"] == "validation"]
    assert max(judged) == pytest.approx(100)
    assert load(out).scores["network"][metric] == pytest.approx(100)


def test_lines_that_were_left_out_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_pairs(tmp_path / "p.tsv", [*PAIRS, ("", "vide"), ("empty", "")])

    fit(path, **{**QUICK, "max_steps": 1, "on_bad": "skip", "progress": "lines"})

    assert "2 lines were left out" in capsys.readouterr().err
