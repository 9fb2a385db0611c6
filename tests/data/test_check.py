"""The report names what is in a file, what cannot be used, and what looks wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurra.data.check import SHOWN, Distribution, PairReport, check_pairs
from recurra.errors import DataError


def report(folder: Path, content: str | bytes) -> PairReport:
    path = folder / "pairs.tsv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return check_pairs(path)


def test_a_clean_file_is_usable_and_measured(tmp_path: Path) -> None:
    found = report(tmp_path, "source\ttarget\nhello\tbonjour\nhow are you?\tcomment ça va ?\n")
    assert found.usable
    assert found.files == [str(tmp_path / "pairs.tsv")]
    assert (found.pairs, found.faults, found.remarks, found.encoding_faults) == (2, {}, {}, [])
    assert found.source.words == Distribution(min=1, median=1, mean=2.0, p95=3, max=3)
    assert found.target.characters == Distribution(min=7, median=7, mean=11.0, p95=15, max=15)
    assert (found.source.distinct_sentences, found.target.distinct_words) == (2, 5)


def test_bad_lines_are_counted_by_kind_and_named(tmp_path: Path) -> None:
    found = report(tmp_path, b"a\tb\none column\n\tx\ny\t\ncaf\xe9\tz\n" + b"w " * 300 + b"\tlong\n")
    assert not found.usable
    assert found.pairs == 1
    assert {kind: (f.count, f.lines) for kind, f in found.faults.items()} == {
        "columns": (1, [2]),
        "empty": (2, [3, 4]),
        "encoding": (1, [5]),
        "long": (1, [6]),
    }
    assert found.encoding_faults == [
        f"`{tmp_path / 'pairs.tsv'}` line 5 is not UTF-8 (byte 4 is 0xe9): save the file as UTF-8."
    ]
    assert found.faults["empty"].example.endswith("line 3 has an empty source.")


def test_only_the_first_lines_are_named_but_all_are_counted(tmp_path: Path) -> None:
    found = report(tmp_path, b"\xff\n" * 50)
    assert found.faults["encoding"].count == 50
    assert found.faults["encoding"].lines == list(range(1, SHOWN + 1))
    assert len(found.encoding_faults) == SHOWN
    assert found.source.words is None
    assert not found.usable


def test_repetitions_are_found(tmp_path: Path) -> None:
    found = report(tmp_path, "a\tx\na\ty\na\tx\nb\tx\n")
    assert found.remarks["repeated_pair"].lines == [3]
    assert found.remarks["several_targets"].lines == [2]
    assert set(found.remarks) == {"repeated_pair", "several_targets"}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Paris\tParis", "copied"),
        ("short\t" + "very long " * 5, "length_ratio"),
        ("bell\x07\tcloche", "control_character"),
        ("a stray\rreturn\tun retour", "control_character"),
        ("a line\u2028break\tune ligne", "control_character"),
        ("coffee\tcaf\ufffd", "replacement_character"),
        ("coffee\tcafÃ©", "twice_encoded"),
        ("it’s\tcâ€™est", "twice_encoded"),
    ],
)
def test_what_looks_wrong_is_remarked(tmp_path: Path, line: str, kind: str) -> None:
    found = report(tmp_path, f"hello\tbonjour\n{line}\n")
    assert {name: remark.lines for name, remark in found.remarks.items()} == {kind: [2]}
    assert found.remarks[kind].example == line.strip().replace("\t", " | ")
    assert found.usable  # worth a look, no reason to refuse


def test_good_french_is_not_remarked(tmp_path: Path) -> None:
    line = "Is that “Noël”, at 12 % off?\tEst-ce « Noël », à 12\u00a0% de réduction\u202f? Ça, où, naïf, Æ, ÿ, Â, Ã…\n"
    assert report(tmp_path, line).remarks == {}


def test_parallel_files_of_different_length_are_reported(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("a\nb\n")
    (tmp_path / "a.fr").write_text("x\n")
    found = check_pairs([tmp_path / "a.en", tmp_path / "a.fr"])
    assert found.pairs == 1
    assert found.faults["unequal"].lines == [2]
    assert "has 2 lines but" in found.faults["unequal"].example


def test_the_report_is_json(tmp_path: Path) -> None:
    parsed = json.loads(report(tmp_path, "é\té\nalone\n").to_json())
    assert parsed["pairs"] == 1
    assert parsed["usable"] is False
    assert parsed["source"]["words"]["max"] == 1
    assert parsed["remarks"]["copied"] == {"count": 1, "lines": [1], "example": "é | é"}
    assert parsed["faults"]["columns"]["lines"] == [2]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        check_pairs(tmp_path / "nowhere.tsv")


@given(st.lists(st.integers(0, 100), min_size=1))
def test_ninety_five_of_a_hundred_do_not_exceed_p95(lengths: list[int]) -> None:
    summary = Distribution.of(lengths)
    assert summary is not None
    assert sum(length <= summary.p95 for length in lengths) >= 0.95 * len(lengths)
    assert sum(length <= summary.median for length in lengths) >= 0.5 * len(lengths)
    assert (summary.min, summary.max) == (min(lengths), max(lengths))
    assert Distribution.of([]) is None


def test_the_header_and_the_first_pairs_are_told(tmp_path: Path) -> None:
    found = report(tmp_path, "hi\tno\n" + "".join(f"a{n}\tb{n}\n" for n in range(9)))
    assert found.header == ["hi", "no"]
    assert found.first == [("a0", "b0", 2), ("a1", "b1", 3), ("a2", "b2", 4)]
    assert json.loads(found.to_json())["first"][0] == {"source": "a0", "target": "b0", "line": 2}
    assert report(tmp_path, "a\tb\n").header is None


def test_a_first_row_that_may_be_a_header_and_a_column_of_numbers_are_worth_a_look(tmp_path: Path) -> None:
    found = report(tmp_path, "id\tenglish\tfrench\n1\thello\tbonjour\n2\tthank you\tmerci\n")
    assert found.usable
    assert found.remarks["names_of_columns"].example == "id | english | french"
    assert (found.remarks["numbers"].count, found.remarks["numbers"].lines) == (2, [2, 3])
    assert report(tmp_path, "1\tun\ntwo\tdeux\nthree\ttrois\n").remarks == {}


def test_quotes_of_a_spreadsheet_are_text_in_a_file_with_tabs(tmp_path: Path) -> None:
    found = report(tmp_path, 'a\tb\n"say ""hi"", please"\tc\n"a" and "b"\td\n')
    assert found.remarks["quoted"].lines == [2]
    (tmp_path / "pairs.csv").write_text('"""a"""\tc,b\n"""a""",b\n')
    assert "quoted" not in check_pairs(tmp_path / "pairs.csv").remarks


def test_a_value_that_is_no_text_is_not_a_missing_column(tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"source": "a", "target": "b"}\n{"source": null, "target": 3}\n')
    assert set(check_pairs(tmp_path / "pairs.jsonl").faults) == {"text"}
