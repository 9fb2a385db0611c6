"""Tables: framed for eyes, plain for programs."""

from __future__ import annotations

import sys

import pytest

from recurra.cli.show import print_heading, print_table


def test_plain_tables_are_aligned_words_without_frames_or_trailing_blanks(capsys: pytest.CaptureFixture[str]) -> None:
    print_heading("[bold]Numbers[/bold]")
    print_table(["name", "count"], [["a", "1"], ["[red]b", "1,000"]], numbers=["count"])

    assert capsys.readouterr().out == "[bold]Numbers[/bold]\nname    count\na           1\n[red]b  1,000\n"


def test_a_terminal_gets_a_frame(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_heading("Numbers")
    print_table(["name"], [["a"]])

    out = capsys.readouterr().out
    assert "Numbers" in out
    assert "─" in out


def test_a_terminal_that_is_too_narrow_gets_whole_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    print_table(["name", "count"], [["convolutional", "1,000,000"]], numbers=["count"])

    assert capsys.readouterr().out == "name               count\nconvolutional  1,000,000\n"
