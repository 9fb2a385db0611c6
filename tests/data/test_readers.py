"""Every format gives the same pairs, and every bad input one sentence."""

from __future__ import annotations

import csv
import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.data.lines import Fault
from recurra.data.readers import Pair, as_paths, read_pairs, scan_pairs
from recurra.errors import ConfigError, DataError

PAIRS = [("hello", "bonjour"), ("how are you?", "comment ça va ?"), ('she said "no"', "elle a dit « non »")]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def sides(pairs: list[Pair]) -> list[tuple[str, str]]:
    return [(pair.source, pair.target) for pair in pairs]


ADVICE = " Correct the file, or leave such lines out with `on_bad` = skip."


def refusal(*paths: Path, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        read_pairs(paths, **options)
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message.removesuffix(ADVICE)


TSV = "\n".join("\t".join(pair) for pair in PAIRS)
CSV = 'hello,bonjour\r\nhow are you?,comment ça va ?\r\n"she said ""no""",elle a dit « non »\r\n'
JSONL = "\n".join(json.dumps({"id": 7, "target": target, "source": source}) for source, target in PAIRS)


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "content", "first_line"),
    [
        ("pairs.tsv", TSV, 1),
        ("pairs.txt", TSV + "\n", 1),
        ("pairs.tsv", "en\tfr\n" + TSV, 2),
        ("pairs.tsv", "\ufeffSource\tTarget\r\n" + TSV.replace("\n", "\r\n"), 2),
        ("pairs.csv", CSV, 1),
        ("pairs.csv", "src,tgt\n" + CSV, 2),
        ("pairs.jsonl", JSONL, 1),
        ("pairs.ndjson", JSONL + "\n\n", 1),
    ],
)
def test_every_format_gives_the_same_pairs(
    tmp_path: Path, name: str, content: str, first_line: int, ending: str
) -> None:
    pairs = read_pairs(write(tmp_path, name + ending, content))
    assert sides(pairs) == PAIRS
    assert [pair.line for pair in pairs] == list(range(first_line, first_line + 3))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_parallel_files_are_joined_line_by_line(tmp_path: Path, ending: str) -> None:
    source = write(tmp_path, "train.en" + ending, "\n".join(source for source, _ in PAIRS) + "\n")
    target = write(tmp_path, "train.fr", "\n".join(target for _, target in PAIRS))
    assert sides(read_pairs([source, target])) == PAIRS


@settings(max_examples=30)
@given(
    st.lists(st.tuples(*[st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)] * 2), min_size=1, max_size=5)
)
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: Any) -> None:
    rows = [(f"<{a}>".replace("\r", " "), f"<{b}>".replace("\r", " ")) for a, b in rows]  # never blank
    path = tmp_path_factory.mktemp("csv") / "pairs.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    assert sides(read_pairs(path)) == rows


def test_a_quoted_line_end_belongs_to_the_sentence(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.csv", '"two\nlines","deux\nlignes"\na,b\n')
    assert read_pairs(path) == [("two\nlines", "deux\nlignes", 1), ("a", "b", 4)]


def test_columns_can_be_named_or_counted(tmp_path: Path) -> None:
    named = write(tmp_path, "a.tsv", "id\tFrench\tEnglish\n1\tbonjour\thello\n")
    assert read_pairs(named, source_column="English", target_column="French") == [("hello", "bonjour", 2)]
    counted = write(tmp_path, "b.tsv", "17\thello\t18\tbonjour\n")
    assert read_pairs(counted, source_column="2", target_column="4") == [("hello", "bonjour", 1)]
    objects = write(tmp_path, "c.jsonl", '{"q": "hello", "a": "bonjour"}\n')
    assert read_pairs(objects, source_column="q", target_column="a") == [("hello", "bonjour", 1)]


def test_blanks_around_sentences_and_further_columns_are_dropped(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.tsv", " hello \t bonjour\tattribution\n")
    assert read_pairs(path) == [("hello", "bonjour", 1)]


def test_blank_lines_at_the_end_do_not_count(tmp_path: Path) -> None:
    assert len(read_pairs(write(tmp_path, "pairs.tsv", TSV + "\n\n \n"))) == 3
    source, target = write(tmp_path, "a", "x\n\n"), write(tmp_path, "b", "y\n\n")
    assert len(read_pairs([source, target])) == 1


def test_a_large_file_is_never_held_as_a_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "pairs.tsv", TSV + "\n" + "no tab here\n" * 5)
    scan = scan_pairs(path)
    assert list(islice(scan, 3)) == read_pairs(path, on_bad="skip")
    fault = next(scan)
    assert isinstance(fault, Fault)
    assert fault.line == 4


# --- bad input -----------------------------------------------------------------------------------------------------


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x.tsv") == f"There is no file `{tmp_path / 'x.tsv'}`. Check its name and its folder."


def test_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"`{tmp_path}` is a folder, expected a file of sentences."


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.tsv", ""), ("x.tsv", "\n\n"), ("x.csv", ""), ("x.csv", "source,target\n"), ("x.jsonl", ""), ("x.tsv.gz", "")],
)
def test_file_without_pairs(tmp_path: Path, name: str, content: str) -> None:
    path = write(tmp_path, name, content)
    assert refusal(path) == f"There is no sentence pair in `{path}`: expected one on each line."


def test_line_with_one_column(tmp_path: Path) -> None:
    path = write(tmp_path, "x.tsv", "hello\tbonjour\nhow are you?\n")
    expected = "has 1 column, expected the source in column 1 and the target in column 2, separated by a tab."
    assert refusal(path) == f"`{path}` line 2 {expected}"
    path = write(tmp_path, "x.csv", "a,b,c\n1,2\n")
    assert "line 2 has 2 columns" in refusal(path, source_column="a", target_column="c")


def test_parallel_files_of_different_length(tmp_path: Path) -> None:
    source, target = write(tmp_path, "x.en", "a\nb\nc\n"), write(tmp_path, "x.fr", "a\nb\n")
    expected = f"`{source}` has 3 lines but `{target}` has 2: line n of one must translate line n of the other."
    assert refusal(source, target) == expected
    assert refusal(source, target, on_bad="skip") == expected
    assert refusal(source, write(tmp_path, "e.fr", "")).endswith("e.fr` is empty: expected a sentence on each line.")


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    for name in ("x.tsv", "x.csv"):
        path = write(tmp_path, name, "a\tb\nc\té\n".replace("\t", "," if name == "x.csv" else "\t").encode("latin-1"))
        assert refusal(path) == f"`{path}` line 2 is not UTF-8 (byte 3 is 0xe9): save the file as UTF-8."
    path = write(tmp_path, "x.jsonl", b'{"en": "a", "fr": "\xe9"}\n')
    assert "line 1 is not UTF-8 (byte 20 is 0xe9)" in refusal(path)
    source, target = write(tmp_path, "x.en", "a\nb\n"), write(tmp_path, "x.fr", b"a\n\xff\n")
    assert refusal(source, target).startswith(f"`{target}` line 2 is not UTF-8")


@pytest.mark.parametrize(
    ("line", "what"), [("\tb", "has an empty source"), ("a\t ", "has an empty target"), ("", "is empty")]
)
def test_empty_sentences(tmp_path: Path, line: str, what: str) -> None:
    path = write(tmp_path, "x.tsv", f"a\tb\n{line}\nc\td\n")
    assert refusal(path) == f"`{path}` line 2 {what}."
    path = write(tmp_path, "x.tsv", f"a\tb\n{line}\n{line}\nc\td\n")
    assert refusal(path) == f"`{path}` line 2 {what} (the first of 2 such lines)."


def test_sentence_over_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path, "x.tsv", "a b c\td\n")
    assert refusal(path, max_words=2) == f"`{path}` line 1 has a source of 3 words, more than `max_words` = 2."
    assert "has a source of 5 characters, more than `max_characters` = 4" in refusal(path, max_characters=4)
    assert len(read_pairs(path, max_words=3, max_characters=5)) == 1
    long = write(tmp_path, "long.tsv", "word " * 3000 + "\tmot\n")
    assert len(read_pairs(long, max_words=None, max_characters=None)) == 1
    assert "max_characters" in refusal(long)


def test_unknown_column(tmp_path: Path) -> None:
    path = write(tmp_path, "x.tsv", "source\ttarget\na\tb\n")
    assert "Did you mean `target`?" in refusal(path, source_column="source", target_column="tarjet")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "is not one JSON object, expected `{...}` on each line"),
        ('["a", "b"]', "is not one JSON object, expected `{...}` on each line"),
        ("[" * 100_000, "is not one JSON object, expected `{...}` on each line"),
        ('{"en": "a"}', "has no key `fr`"),
        ('{"en": "a", "fr": null}', "has no text under `fr`, but null"),
        ('{"en": "a", "fr": "\\ud800"}', "has half a surrogate pair under `fr`, which is no character"),
    ],
)
def test_bad_json_line(tmp_path: Path, line: str, what: str) -> None:
    path = write(tmp_path, "x.jsonl", '{"en": "hello", "fr": "bonjour"}\n' + line + "\n")
    assert refusal(path) == f"`{path}` line 2 {what}."


def test_unclosed_quote_in_csv(tmp_path: Path) -> None:
    path = write(tmp_path, "x.csv", 'a,b\n"c,d\ne,f\n')
    assert refusal(path) == f"`{path}` line 2 is not CSV (unexpected end of data): check the quotes from here on."


def test_quoted_cells_with_semicolons_between_them_are_called_so(tmp_path: Path) -> None:
    path = write(tmp_path, "x.csv", '"a, b";"c, d"\n')
    looks = "It looks like semicolons between columns: save it with commas as .csv or with tabs as .tsv."
    assert refusal(path) == f"`{path}` line 1 is not CSV. {looks}"


def test_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(gzip.compress(TSV.encode())[:-9])
    assert "is damaged gzip" in refusal(path)


def test_number_of_files(tmp_path: Path) -> None:
    pairs = write(tmp_path, "x.tsv", TSV)
    assert refusal() == "Expected one file of sentence pairs or two parallel text files, got 0 files."
    assert "got 3 files" in refusal(pairs, pairs, pairs)
    assert "are named like files of pairs: give one of them." in refusal(pairs, pairs)
    assert as_paths(str(pairs)) == [pairs]
    with pytest.raises(DataError, match="read from files: give their paths, got a list"):
        as_paths([[("hello", "bonjour")]])  # type: ignore[list-item]
    with pytest.raises(DataError, match="read from files: give their paths, got a int"):
        as_paths(3)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="read from files: give their paths, got an empty text"):
        as_paths("")


def test_bad_options(tmp_path: Path) -> None:
    path = write(tmp_path, "x.tsv", TSV)
    with pytest.raises(ConfigError, match=r"must be 'error' or 'skip', got 'skp'\. Did you mean `skip`\?"):
        read_pairs(path, on_bad="skp")  # type: ignore[arg-type]
    for limit in (0, "9"):
        with pytest.raises(ConfigError, match=f"`max_words` must be a whole number of at least 1, got {limit!r}"):
            read_pairs(path, max_words=limit)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Parallel text files have no columns"):
        read_pairs([tmp_path / "a", tmp_path / "b"], source_column="a", target_column="b")


# --- dropping what is bad ------------------------------------------------------------------------------------------

MIXED = b"hello\tbonjour\none column\n\tempty\ncaf\xe9\tcaf\xe9\n" + b"w " * 300 + b"\tlong\nbye\tau revoir\n"


def test_bad_lines_can_be_dropped(tmp_path: Path) -> None:
    skipped: list[Fault] = []
    pairs = read_pairs(write(tmp_path, "x.tsv", MIXED), on_bad="skip", skipped=skipped)
    assert pairs == [("hello", "bonjour", 1), ("bye", "au revoir", 6)]
    assert [(fault.kind, fault.line) for fault in skipped] == [
        ("columns", 2),
        ("empty", 3),
        ("encoding", 4),
        ("long", 5),
    ]


def test_dropping_works_in_csv_and_json_too(tmp_path: Path) -> None:
    table = write(tmp_path, "x.csv", b'a,b\n\xff,b\n"x"y,z\nc,d\n')
    assert sides(read_pairs(table, on_bad="skip")) == [("a", "b"), ("c", "d")]
    objects = write(tmp_path, "x.jsonl", '{"en": "a", "fr": "b"}\n\n{"en": 1, "fr": "b"}\n{"en": "c", "fr": "d"}\n')
    assert sides(read_pairs(objects, on_bad="skip")) == [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(("good", "said"), [("a\tb\n", True), ("", False)])
def test_a_refusal_says_how_to_do_without_bad_lines_where_others_are_left(
    tmp_path: Path, good: str, said: bool
) -> None:
    path = write(tmp_path, "x.tsv", f"{good}c\n")
    with pytest.raises(DataError) as error:
        read_pairs(path)
    assert str(error.value).endswith(ADVICE) is said


def test_a_file_without_one_good_line_is_refused_even_so(tmp_path: Path) -> None:
    path = write(tmp_path, "x.txt", "just\ntext\n")
    message = refusal(path, on_bad="skip")
    assert message.startswith(f"No line can be used: `{path}` line 1 has 1 column")
    assert message.endswith("(the first of 2 such lines).")
