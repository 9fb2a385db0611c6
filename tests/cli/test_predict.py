"""`recurra predict`: translations alone on stdout, a line each, whatever comes in."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from recurra.cli.main import main
from tests.tasks.translate.toy import PAIRS

SENTENCES = [source for source, _ in PAIRS]
TRANSLATIONS = [target for _, target in PAIRS]


class Stdin(io.TextIOWrapper):
    """What `sys.stdin` is where a pipe is connected."""

    def __init__(self, content: str | bytes) -> None:
        super().__init__(io.BytesIO(content.encode() if isinstance(content, str) else content), encoding="utf-8")


def translate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: str | bytes, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "stdin", Stdin(content))
    code = main(["predict", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_one_translation_a_line_and_nothing_else(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = translate(capsys, monkeypatch, "\n".join(SENTENCES) + "\n", learned_run)

    assert (code, err) == (0, "")
    assert out.splitlines() == TRANSLATIONS


@pytest.mark.parametrize("at_once", [1, 3])
def test_empty_lines_and_windows_line_ends_keep_their_places(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    content = "\ufeffgood morning\r\n\r\n  \r\nthank you"

    _, out, _ = translate(capsys, monkeypatch, content, learned_run, "--at-once", at_once)

    assert out == "bonjour\n\n\nmerci\n"


def test_lines_that_end_as_on_old_macs_are_lines(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert translate(capsys, monkeypatch, "good morning\rthank you\r", learned_run) == (0, "bonjour\nmerci\n", "")


def test_other_scripts_and_half_known_sentences_go_through(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = translate(capsys, monkeypatch, "日本語\n😀\nthe ☃ is black.\n", learned_run)

    assert code == 0
    assert out.splitlines()[:2] == ["日本語", "😀"]
    assert len(out.splitlines()) == 3


def test_a_file_plain_or_gzip_is_read_in_place_of_stdin(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s.txt").write_text("good night\n")
    (tmp_path / "s.txt.gz").write_bytes(gzip.compress(b"thank you\n"))

    for name, expected in (("s.txt", "bonne nuit\n"), ("s.txt.gz", "merci\n")):
        assert translate(capsys, monkeypatch, "", learned_run, tmp_path / name) == (0, expected, "")


def test_no_input_gives_no_output(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert translate(capsys, monkeypatch, "", learned_run) == (0, "", "")


def test_n_best_lines_carry_number_score_and_text(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = translate(capsys, monkeypatch, "hello\nwhere is the cat?\n", learned_run, "--n-best", 8)

    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["1"] * 8 + ["2"] * 8
    assert rows[0][2] == "bonjour"
    scores = [float(row[1]) for row in rows[8:]]
    assert scores == sorted(scores, reverse=True)


def test_json_lines_have_words_scores_and_attention(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out, _ = translate(capsys, monkeypatch, "where is the cat?\n\n", learned_run, "--json", "--n-best", 2)

    first, empty = map(json.loads, out.splitlines())
    assert first["source"] == "where is the cat?"
    assert first["translations"][0]["text"] == "où est le chat ?"
    assert len(first["translations"]) == 2
    assert "où" in out  # letters, not escapes
    assert empty["translations"][0]["text"] == ""


def test_attention_is_drawn_and_stdout_stays_pure(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "new" / "a.png"

    code, out, err = translate(capsys, monkeypatch, "where is the cat?\n\n", learned_run, "--attention", path)

    assert (code, out) == (0, "où est le chat ?\n\n")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert "a.png" in err
    assert translate(capsys, monkeypatch, "\n", learned_run, "--attention", tmp_path / "b.png")[2] == (
        "There was nothing to draw: no sentence had words.\n"
    )


def test_a_sentence_too_long_for_a_picture_is_said_to_be(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "a.png"
    content = "ξ " * 200 + "\n"  # copied, word for word

    code, _, err = translate(capsys, monkeypatch, content, learned_run, "--attention", path)

    assert (code, err) == (0, "1 of 1 sentences too long to draw.\n")
    assert not path.exists()
    _, _, err = translate(capsys, monkeypatch, content + "hello\n", learned_run, "--attention", path)
    assert err == f"1 of 2 sentences too long to draw.\nAttention drawn to {path}.\n"


def test_of_many_sentences_the_maps_of_the_first_are_kept(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []

    def draw(maps: list[Any], *, of: int) -> bytes:
        drawn.append((len(maps), of))
        return b"picture"

    monkeypatch.setattr("recurra.cli.predict.draw_attention", draw)
    translate(capsys, monkeypatch, "hello\n" * 30, learned_run, "--attention", tmp_path / "a.png")
    assert drawn == [(12, 30)]


def test_lines_of_pairs_are_said_to_be_translated_whole(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = translate(capsys, monkeypatch, "source\ttarget\nhello\tbonjour\n", learned_run)

    assert (code, len(out.splitlines())) == (0, 2)
    assert "whole lines are translated" in err
    assert translate(capsys, monkeypatch, "hello\tthere\nhello\n", learned_run)[2] == ""


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["--beam", "0"], "a", "`--beam` must be a whole number of at least 1"),
        (["--beam", "0"], "", "`--beam` must be a whole number of at least 1"),
        (["--beam", "2", "--n-best", "3"], "a", "`--n-best` must be at most `--beam` = 2"),
        (["--unknown-words", "cpy"], "a", "Did you mean `copy`"),
        (["--attention", "a.jpg"], "a", "ends in .png"),
        (["--attention", "/dev/null/a.png"], "a", "`/dev/null` is a file: name a folder for the pictures"),
        (["none.txt"], "", "There is no file `none.txt`"),
        (["--device", "gpu"], "a", "`--device` must be auto, cpu, cuda or cuda:<number>, got 'gpu'"),
        ([], b"fine\n\xff\n", "Line 2 of stdin is not UTF-8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_one_sentence(
    learned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], content: str | bytes, message: str,
) -> None:  # fmt: skip
    code, _, err = translate(capsys, monkeypatch, content, learned_run, *arguments)

    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("missing", "There is no run folder"),
        ("no run", "is no run folder"),
        ("cut short", "--resume"),
        ("newer", "pip install --upgrade recurra"),
        ("weights", "`model.safetensors` is damaged"),
    ],
)
def test_a_run_that_cannot_be_used_is_one_sentence(
    learned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    damage: str, message: str,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    if damage != "missing":
        shutil.copytree(learned_run, run)
    if damage == "no run":
        (run / "config.json").unlink()
    if damage == "cut short":
        (run / "model.safetensors").rename(run / "checkpoint.safetensors")
    if damage == "newer":
        config = json.loads((run / "config.json").read_text())
        (run / "config.json").write_text(json.dumps({**config, "format": 2}))
    if damage == "weights":
        (run / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-1])

    code, out, err = translate(capsys, monkeypatch, "hello\n", run)

    assert (code, out) == (2, "")
    assert message.replace("`model", "model") in err
    assert err.count("\n") == 1


def test_a_run_without_attention_cannot_draw_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from recurra.tasks.translate import fit
    from tests.tasks.translate.toy import OPTIONS, write_pairs

    options = {**OPTIONS, "attention": "none", "max_steps": 1}
    fit(write_pairs(tmp_path / "p.tsv"), out=tmp_path / "run", progress="none", **options)

    code, _, err = translate(capsys, monkeypatch, "hello\n", tmp_path / "run", "--attention", tmp_path / "a.png")

    assert (code, "no attention to draw" in err) == (2, True)
    _, out, _ = translate(capsys, monkeypatch, "hello\n", tmp_path / "run", "--json")
    assert json.loads(out)["translations"][0]["attention"] is None


def test_as_a_process_it_answers_each_line_at_once_where_asked(learned_run: Path) -> None:
    command = [sys.executable, "-m", "recurra", "predict", str(learned_run), "--at-once", "1"]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for sentence, translation in zip(SENTENCES[:3], TRANSLATIONS[:3], strict=True):
            process.stdin.write(sentence + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == translation + "\n"
        process.stdin.close()
        assert process.stdout.read() == ""

    assert process.returncode == 0
