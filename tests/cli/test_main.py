"""The command itself: exit codes, what goes to stderr, and neighbours of mistyped words."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import recurra
from recurra.cli.main import main, run
from recurra.data.samples import SAMPLES, Sample


def spoken(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert spoken(capsys, "--version") == (0, f"recurra {recurra.__version__}\n", "")


def test_help_names_options_whole_and_no_types_of_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["fit", "translate", "--help"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "<bool>" not in out
    assert "Path]" not in out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["fit"], ["fit", "translate", "-h"], ["predict", "-h"]])
def test_help_is_there_at_every_level(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = spoken(capsys, *arguments)

    assert (code, err) == (0, "")
    assert "Usage: recurra" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fitt"], "Unknown command `fitt`. Did you mean `fit`? All: sample, check-data, fit"),
        (["fit", "transalte"], "Unknown task `transalte`. Did you mean `translate`?"),
        (["fit", "translate", "--hiden-size", "3"], "Unknown option `--hiden-size`. Did you mean `--hidden-size`"),
        (["predict", "--n-besst", "3"], "Unknown option `--n-besst`. Did you mean `--n-best`"),
        (["predict"], "Missing argument `RUN`"),
        (["predict", "a", "b", "c"], "unexpected extra argument"),
        (["predict", "run", "--n-best", "many"], "`--n-best`"),
        (["fit", "translate", "p.tsv", "--out"], "requires an argument. Help: `recurra fit translate --help`"),
        (["cells", "--cite"], "requires an argument. Help: `recurra cells --help`"),
        (["check-data", ""], "`PATHS`: Expected a path, got an empty text"),
        (["fit", "translate", "p.tsv", "--out", ""], "`--out`: Expected a path, got an empty text"),
        (["fit", "translate", "p.tsv", "--out", "r", "--threads", "9999"], "`--threads` must be less than or equal to"),
        (["cells", "gru", "--hidden-size", "1" + "0" * 16], "There is not enough memory for this: give smaller sizes"),
        (["cells", "gru", "--hidden-size", "1" + "0" * 19], "There is not enough memory for this: give smaller sizes"),
        (["cells", "lstmm"], "Unknown cell `lstmm`. Did you mean `lstm`"),
        (["cells", "--cite", "gruu"], "Unknown cell `gruu`. Did you mean `gru`"),
        (["sample", "english-frensh", "--out", "x"], "Did you mean `english-french`?"),
        (["explain", "gru", "--hidden-size", "x"], "`--hidden-size` must be a valid integer. Help: `recurra explain"),
        (["explain", "gru", "--input-size", "0"], "`--input-size` must be greater than or equal to 1"),
        (["summary", "lstmm"], "neither a run folder nor a cell. Did you mean `lstm`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_on_stderr_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    code, out, err = spoken(capsys, *arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("place", [0, 2])
def test_debug_anywhere_shows_where_an_error_came_from(capsys: pytest.CaptureFixture[str], place: int) -> None:
    arguments = ["cells", "lstmm"]
    arguments.insert(place, "--debug")

    code, _, err = spoken(capsys, *arguments)

    assert code == 2
    assert "Traceback" in err
    assert "Unknown cell `lstmm`. Did you mean `lstm`" in err.splitlines()[-1]


def test_a_disk_that_refuses_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(folder: Path) -> tuple[Path, ...]:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setitem(SAMPLES, "english-french", Sample("", refuse))

    code, out, err = spoken(capsys, "sample", "english-french", "--out", tmp_path / "run")

    assert (code, out, err) == (2, "", f"`{tmp_path / 'run'}`: permission denied.\n")


def test_what_goes_to_stdout_is_utf8_whatever_the_terminal_speaks() -> None:
    command = [sys.executable, "-m", "recurra", "cells", "gru"]

    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=True)

    assert "σ(W_r x" in done.stdout.decode("utf-8")


def test_a_closed_stdout_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["recurra", "cells", "lstm"])
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as left:
        run()
    assert left.value.code == 0


def test_a_full_disk_behind_stdout_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "flush", full)
        assert main(["cells", "lstm"]) == 2
    assert capsys.readouterr().err == "Reading or writing failed: no space left on device.\n"


def test_other_errors_of_the_program_are_not_called_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> tuple[Path, ...]:
        raise RuntimeError("a fault of ours")

    monkeypatch.setitem(SAMPLES, "english-french", Sample("", fail))
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["sample", "english-french", "--out", "x"])


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m recurra cells lstm | head -1"

    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)

    assert done.stdout == "lstm\n"
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_where_a_folder_is_wanted_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    def write(folder: Path) -> tuple[Path, ...]:
        folder.mkdir(parents=True, exist_ok=True)
        return ()

    monkeypatch.setitem(SAMPLES, "english-french", Sample("nothing", write))
    file = tmp_path / "file"
    file.write_text("mine")
    code, out, err = spoken(capsys, "sample", "english-french", "--out", file / below)

    assert (code, out) == (2, "")
    assert err == f"`{file / below}` is no folder, or lies below a file: name a folder.\n"
    assert file.read_text() == "mine"
