"""Progress speaks on stderr only, in a way that fits who listens."""

from __future__ import annotations

import pytest

from recurra.training import progress
from recurra.training.progress import showing


def run(kind: str, total: int | None = 3) -> None:
    with showing(kind, start=0, total=total, unit="tokens") as show:  # type: ignore[arg-type]
        for step in range(1, 4):
            show.update(step, 1200.0, 0.5)
        show.evaluated(3, {"bleu": 31.25, "loss": 2.0}, is_best=True)


def test_lines_come_first_last_and_seldom_between(capsys: pytest.CaptureFixture[str]) -> None:
    run("lines")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 3
    assert lines[0].startswith("update 1/3  loss 0.5000  ")
    assert lines[0].endswith(" tokens/s")  # the first update compiles: its pace says nothing of what is left
    assert lines[1].startswith("update 3/3 ")
    assert lines[1].endswith(" left")
    assert lines[2] == "evaluation after update 3: bleu 31.25  loss 2  (best so far)"


def test_without_a_known_end_no_time_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    run("lines", total=None)
    assert capsys.readouterr().err.splitlines()[0].endswith("tokens/s")


def test_all_lines_come_where_they_are_slow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    run("lines")
    assert len(capsys.readouterr().err.splitlines()) == 4


def test_nothing_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    run("none")
    assert capsys.readouterr() == ("", "")


def test_no_terminal_gets_lines(capsys: pytest.CaptureFixture[str]) -> None:
    run("auto")
    assert "update 1/3" in capsys.readouterr().err


def test_a_narrow_terminal_gets_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    run("auto")
    assert "update 3/3  loss 0.5000" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    run("auto")
    out, err = capsys.readouterr()
    assert out == ""
    for word in ("training", "3/3", "loss 0.5000", "tokens/s", "left", "bleu 31.25", "━"):
        assert word in err


def test_brackets_in_a_note_are_no_style(capsys: pytest.CaptureFixture[str]) -> None:
    with showing("bar", start=0, total=3, unit="[bold]tokens") as show:
        show.update(1, 1200.0, 0.5)
        show.note("a layer of the name [bold]")
    err = capsys.readouterr().err
    assert "a layer of the name [bold]" in err
