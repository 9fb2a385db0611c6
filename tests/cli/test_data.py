"""`recurra check-data` and `recurra sample`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recurra.cli.main import main
from recurra.data.samples import SAMPLES, Sample
from tests.tasks.translate.toy import PAIRS, write_pairs


def test_a_good_file_is_counted_and_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-data", str(write_pairs(tmp_path / "p.tsv"))]) == 0

    out = capsys.readouterr().out
    assert "10 usable pairs" in out
    assert "Ready for `recurra fit`." in out
    assert "source, words" in out


def test_one_source_is_ready_with_a_file_to_validate_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-data", str(write_pairs(tmp_path / "p.tsv", [("hello", "bonjour")]))]) == 0
    out = capsys.readouterr().out
    assert "1 usable pair\n" in out
    assert "Ready for `recurra fit` with `--validation FILE`" in out


def test_faults_and_remarks_are_shown_by_line_and_the_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_pairs(tmp_path / "p.tsv", [*PAIRS, PAIRS[0], ("OK", "OK"), ("", "vide"), ("[b]", "")])

    assert main(["check-data", str(path)]) == 2

    out = capsys.readouterr().out
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()}
    assert "11" in rows["the same pair again"]
    assert "12" in rows["target equals source"]
    assert "13," in rows["empty sentences"]
    assert "Not ready" in out


def test_the_first_pairs_and_the_header_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.tsv").write_text("en\tfr\nhello\tbonjour\n")
    assert main(["check-data", str(tmp_path / "p.tsv")]) == 0

    out = capsys.readouterr().out
    assert "The first row names the columns: `en`, `fr`.\nline  source  target\n   2  hello   bonjour\n" in out


@pytest.mark.parametrize(
    ("files", "words", "end"),
    [
        ({"a.en": "a\nb\n", "a.fr": "a\n"}, "line n of one must translate line n of the other.", "number of lines."),
        ({"a.csv": "a;b\nc;d\n"}, "with commas as .csv or with tabs as .tsv.", "no line can be used."),
        ({"a.csv": "a,b\nc;d\n"}, "with commas as .csv or with tabs as .tsv.", "to leave them out."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_faults_are_told_whole_and_with_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], words: str, end: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)

    assert main(["check-data", *(str(tmp_path / name) for name in files)]) == 2

    out = capsys.readouterr().out
    assert words in out
    assert out.splitlines()[-1].startswith("Not ready")
    assert out.rstrip().endswith(end)


def test_the_report_is_json_on_demand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-data", str(write_pairs(tmp_path / "p.tsv")), "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["pairs"], report["usable"]) == (10, True)


def test_samples_are_listed_and_written_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path) -> tuple[Path, ...]:
        folder.mkdir(exist_ok=True)
        return (write_pairs(folder / "train.tsv"),)

    monkeypatch.setitem(SAMPLES, "english-french", Sample("Some pairs.", write))
    assert main(["sample"]) == 0
    assert "Some pairs." in capsys.readouterr().out

    out = tmp_path / "demo"
    assert main(["sample", "english-french", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'train.tsv'}\n"
    assert main(["sample", "english-french", "--out", str(out)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["sample", "english-french", "--out", str(out), "--overwrite"]) == 0
    assert main(["sample", "english-french"]) == 2
