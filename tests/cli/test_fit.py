"""`recurra fit`: every bad input of a person, interruptions, and a process that is killed."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recurra.cli.main import main
from recurra.tasks.translate import load
from recurra.training.metrics import read_metrics
from tests.tasks.translate.toy import OPTIONS, PAIRS, as_arguments, write_pairs

QUICK = {**OPTIONS, "max_steps": 20, "evaluate_every": 10, "dropout": 0.2}
HOUSE = Path(__file__).parents[2]


def run(*arguments: object) -> int:
    return main(["fit", "translate", *map(str, arguments)])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.tsv")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_file_of_pairs_becomes_a_translator(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(pairs, "--validation", pairs, "--out", tmp_path / "run", *as_arguments(OPTIONS))

    captured = capsys.readouterr()
    assert code == 0
    assert captured.out == ""
    assert "exact match" in captured.err
    assert "word for word" in captured.err
    assert load(tmp_path / "run")("good morning") == "bonjour"


def test_two_parallel_files_plain_or_gzip_do_as_well(tmp_path: Path) -> None:
    english = tmp_path / "train.en.gz"
    english.write_bytes(gzip.compress("\n".join(source for source, _ in PAIRS).encode()))
    french = write(tmp_path / "train.fr", "\n".join(target for _, target in PAIRS))
    both = ["--validation", english, "--validation", french]

    assert run(english, french, *both, "--out", tmp_path / "run", *as_arguments(QUICK)) == 0

    assert load(tmp_path / "run").facts["validation_pairs"] == len(PAIRS)


def test_named_columns_and_a_file_of_options(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"id": 1, "en": source, "fr": target}) + "\n" for source, target in PAIRS)
    path = write(tmp_path / "p.jsonl", rows)
    options = {**QUICK, "source_column": "en", "target-column": "fr", "hidden_size": 8}
    config = write(tmp_path / "o.json", json.dumps(options))

    assert run(path, "--config", config, "--hidden-size", 12, "--out", tmp_path / "run") == 0

    config_saved = load(tmp_path / "run").config
    assert (config_saved.hidden_size, config_saved.max_steps, config_saved.source_column) == (12, 20, "en")


LONG = "a " * 300

BAD_FILES: dict[str, tuple[dict[str, str | bytes], list[str]]] = {
    "missing": ({}, ["There is no file", "p.tsv"]),
    "empty": ({"p.tsv": ""}, ["There is no sentence pair in", "p.tsv"]),
    "one column": ({"p.tsv": "a\tb\nalone\n"}, ["line 2 has 1 column"]),
    "not UTF-8": ({"p.tsv": b"a\tb\nc\td\ncaf\xe9\tb\n"}, ["line 3 is not UTF-8", "0xe9"]),
    "empty sentence": ({"p.tsv": "a\tb\n\tb\n"}, ["line 2 has an empty source"]),
    "too long": ({"p.tsv": f"a\tb\n{LONG}\tb\n"}, ["line 2 has a source of 300 words", "`--max-words`"]),
    "unequal": ({"p.en": "a\nb\n", "p.fr": "a\n"}, ["p.en` has 2 lines", "p.fr` has 1"]),
    "damaged gzip": ({"p.tsv.gz": b"\x1f\x8bnothing"}, ["p.tsv.gz"]),
    "no column of that name": ({"p.csv": "en,fr\na,b\n"}, ["has no column `de`"]),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    files, words = BAD_FILES[kind]
    paths = [write(tmp_path / name, content) for name, content in files.items()] or [tmp_path / "p.tsv"]
    columns = ["--source-column", "en", "--target-column", "de"] if kind == "no column of that name" else []

    code = run(*paths, "--out", tmp_path / "run", *columns)

    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hidden-size", "abc"], "`--hidden-size` must be a valid integer"),
        (["--hidden-size", "0"], "`--hidden-size` must be greater than or equal to 2"),
        (["--cell", "lstmm"], "Unknown cell `lstmm`. Did you mean `lstm`"),
        (["--cell-options", "{x"], "`--cell-options` must be JSON"),
        (["--attention", "generall"], "`--attention` must be"),
        (["--config", "none.toml"], "`none.toml` cannot be read"),
        (["--resume", "--overwrite"], "give one of `--resume` and `--overwrite`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_option_that_cannot_be_is_named_as_it_is_typed(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    code = run(pairs, "--out", tmp_path / "run", *options)

    err = capsys.readouterr().err
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_without_out_nothing_begins(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(pairs) == 2
    assert "--out DIR" in capsys.readouterr().err


def test_an_existing_run_is_kept_until_told_otherwise(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [pairs, "--out", tmp_path / "run", *as_arguments(QUICK)]
    assert run(*arguments) == 0
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    capsys.readouterr()

    assert run(*arguments, "--seed", 1) == 2

    assert "already holds a run" in capsys.readouterr().err
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert run(*arguments, "--seed", 1, "--overwrite") == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() != before


# --- interruptions ---------------------------------------------------------------------------------------------------

# a process that sends itself a signal at its n-th fsync: in the middle of a save, of a checkpoint or of the last files
PROGRAM = """
import os, sys
left, sent = int(sys.argv[1]), int(sys.argv[2])
sync = os.fsync
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), sent)
    sync(handle)
os.fsync = fsync
import torch; torch.set_num_threads(1)
from recurra.cli.main import main
sys.exit(main(sys.argv[3:]))
"""


def in_a_process(
    *arguments: object, at: int = 0, send: signal.Signals = signal.SIGKILL
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", PROGRAM, at, int(send), "fit", "translate", *arguments]
    return subprocess.run([str(word) for word in words], cwd=HOUSE, capture_output=True, text=True, check=False)


def curve(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in read_metrics(folder / "metrics.jsonl")
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    assert run(write_pairs(folder / "pairs.tsv"), "--out", folder / "run", *as_arguments(QUICK)) == 0
    return folder


@pytest.mark.parametrize("moment", [8, 11])
def test_a_killed_run_resumes_to_the_numbers_of_an_unbroken_one(unbroken: Path, tmp_path: Path, moment: int) -> None:
    pairs, out = unbroken / "pairs.tsv", tmp_path / "run"

    killed = in_a_process(pairs, "--out", out, *as_arguments(QUICK), at=moment)

    assert killed.returncode == -signal.SIGKILL
    assert not (out / "model.safetensors").exists()
    assert run("--out", out, "--resume") == 0
    assert curve(out) == curve(unbroken / "run")
    assert (out / "model.safetensors").read_bytes() == (unbroken / "run" / "model.safetensors").read_bytes()
    assert not (out / "checkpoint.safetensors").exists()


def test_ctrl_c_saves_and_says_how_to_go_on(unbroken: Path, tmp_path: Path) -> None:
    pairs, out = unbroken / "pairs.tsv", tmp_path / "my run"

    stopped = in_a_process(pairs, "--out", out, *as_arguments(QUICK), at=7, send=signal.SIGINT)

    assert stopped.returncode == 130
    assert stopped.stdout == ""
    last = stopped.stderr.splitlines()[-1]
    assert last.startswith("Stopped after update")
    program, *arguments = shlex.split(last.partition("Go on with: ")[2])
    assert program == "recurra"
    assert main(arguments) == 0
    assert (out / "model.safetensors").read_bytes() == (unbroken / "run" / "model.safetensors").read_bytes()


def test_ctrl_c_after_the_training_says_that_nothing_of_it_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*paths: Path, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recurra.tasks.translate.fit", stopped)
    for name, what in [("checkpoint", "is lost."), ("model", "before its report; the weights are saved.")]:
        (tmp_path / f"{name}.safetensors").touch()
        assert main(["fit", "translate", "--out", str(tmp_path), "--resume"]) == 130
        assert f"{what} Go on with: recurra fit translate --out {tmp_path} --resume" in capsys.readouterr().err


@pytest.mark.parametrize(("package", "extra"), [("tokenizers", "text"), ("sacrebleu", "text"), ("matplotlib", "plot")])
def test_a_missing_extra_is_named_before_anything_happens(
    pairs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    extra: str,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)

    class Absent:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name.split(".")[0] == package:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])

    code = run(pairs, "--out", tmp_path / "run", *as_arguments({**QUICK, "plots": True}))

    err = capsys.readouterr().err
    assert code == 2
    assert f"needs the package `{package}`" in err
    assert f"pip install 'recurra[{extra}]'" in err
    assert not (tmp_path / "run").exists()


def test_one_pair_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = write(tmp_path / "one.tsv", "good morning\tbonjour\n")
    options = as_arguments({**QUICK, "max_steps": 1})
    assert run(alone, "--validation", alone, "--out", tmp_path / "run", *options) == 0
    assert "1 sentence pair to learn from, 1 to validate on" in capsys.readouterr().err


def test_a_full_disk_says_how_to_go_on(
    tmp_path: Path, pairs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    sync = os.fsync

    def full(handle: int) -> None:
        if (out / "checkpoint.safetensors").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        code = run(pairs, "--out", out, *as_arguments({**QUICK, "save_every": 2}))

    err = capsys.readouterr().err
    assert code == 2
    assert "no space left on device" in err
    assert err.rstrip().endswith(f"Then: recurra fit translate --out {out} --resume")
    assert run("--out", out, "--resume") == 0


@pytest.mark.slow
def test_two_processes_under_torchrun_make_the_run_of_one(unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "recurra"]
    options = as_arguments({**QUICK, "dropout": 0.0, "batch_tokens": 200, "precision": "float32"})
    alone = tmp_path / "alone"
    assert run(unbroken / "pairs.tsv", "--out", alone, *options) == 0

    done = subprocess.run(
        [sys.executable, *launcher, "fit", "translate", str(unbroken / "pairs.tsv"), "--out", str(out), *options],
        cwd=HOUSE, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    pairs = zip(curve(out), curve(alone), strict=True)
    assert all(ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4) for ours, theirs in pairs)
    assert load(out)("hello")
