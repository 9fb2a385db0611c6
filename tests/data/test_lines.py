"""Files as lines: plain or gzip, UTF-8, with every damage named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest

from recurra.data.lines import read_lines
from recurra.errors import DataError

TEXT = "one\ndeux é\n\nlast without an end"
LINES = [(1, "one", None), (2, "deux é", None), (3, "", None), (4, "last without an end", None)]


def file(folder: Path, content: bytes, name: str = "file.txt") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode("utf-8-sig"),
        TEXT.encode("utf-8-sig"),
        gzip.compress(TEXT.encode()),
        gzip.compress(TEXT.encode()[:5]) + gzip.compress(TEXT.encode()[5:]),
    ],
    ids=[
        "plain",
        "carriage returns",
        "carriage returns alone",
        "byte order mark",
        "gzip by its first bytes",
        "gzip in two members",
    ],
)
def test_a_file_gives_the_same_lines_however_it_is_written(tmp_path: Path, content: bytes) -> None:
    assert list(read_lines(file(tmp_path, content))) == LINES


def test_a_stray_carriage_return_ends_no_line_of_a_file_with_line_feeds(tmp_path: Path) -> None:
    assert [line.text for line in read_lines(file(tmp_path, b"a\rb\nc\rd"))] == ["a\rb", "c\rd"]


def test_a_mark_in_the_middle_of_a_file_is_text(tmp_path: Path) -> None:
    assert [line.text for line in read_lines(file(tmp_path, "a\n\ufeffb\n".encode()))] == ["a", "\ufeffb"]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(read_lines(file(tmp_path, b""))) == []
    assert list(read_lines(file(tmp_path, b"", "empty.txt.gz"))) == []


def test_a_line_that_is_not_utf8_is_named_by_line_and_byte(tmp_path: Path) -> None:
    path = file(tmp_path, b"good\ncaf\xe9 noir\ngood\n")
    first, broken, last = read_lines(path)
    assert first.fault is last.fault is None
    assert broken.text == "caf\ufffd noir"
    assert broken.fault is not None
    assert broken.fault.message == f"`{path}` line 2 is not UTF-8 (byte 4 is 0xe9): save the file as UTF-8."
    assert (broken.fault.kind, broken.fault.line) == ("encoding", 2)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("hello\tbonjour\n".encode("utf-16"), "UTF-16: save it as UTF-8"),  # its later lines could pass for UTF-8
        (b"PK\x03\x04\x14\x00", "a spreadsheet or a zip archive: save it as .csv, or unpack it"),
        (bz2.compress(b"hello\tbonjour\n"), "compressed by bzip2: unpack it, or compress it by gzip"),
        (lzma.compress(b"hello\tbonjour\n"), "compressed by xz: unpack it, or compress it by gzip"),
    ],
)
def test_what_is_no_text_at_all_is_refused_as_a_whole(tmp_path: Path, content: bytes, kind: str) -> None:
    path = file(tmp_path, content)
    with pytest.raises(DataError) as refused:
        list(read_lines(path))
    assert str(refused.value) == f"`{path}` is {kind}."


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^There is no file `.*nowhere\.tsv`\. Check its name and its folder\.$"):
        list(read_lines(tmp_path / "nowhere.tsv"))


def test_a_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r" is a folder, expected a file of sentences\.$"):
        list(read_lines(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, b"secret")
    path.chmod(0)
    with pytest.raises(DataError, match=r"cannot be read: permission denied\.$"):
        list(read_lines(path))


def test_a_file_behind_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read: not a directory\.$"):
        list(read_lines(file(tmp_path, b"text") / "below.tsv"))


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-12], lambda whole: whole[:-8] + b"\0" * 8, lambda whole: whole[:20] + b"\xff" * 40]
)
def test_damaged_gzip_is_one_sentence(tmp_path: Path, damage: object) -> None:
    whole = gzip.compress("\n".join(f"line {n} {n * n}" for n in range(2000)).encode())
    path = file(tmp_path, damage(whole), "pairs.tsv.gz")  # type: ignore[operator]
    with pytest.raises(DataError, match=r"is damaged gzip after line \d+ \(.*\): copy or download it again\.$"):
        list(read_lines(path))


def test_a_plain_file_named_gz_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is named `\.gz` but is not gzip"):
        list(read_lines(file(tmp_path, b"hello\tbonjour\n", "pairs.tsv.gz")))
