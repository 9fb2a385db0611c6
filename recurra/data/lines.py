"""Lines of a text file, plain or gzip, with every damage named by its line.

UTF-8 with or without byte order mark; lines end with LF or CR LF, or with CR in a file without any LF. A file that
cannot be read at all raises; a line that is not UTF-8 arrives with its fault, so that one reader serves both who
refuses it and who counts it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal, NamedTuple

from recurra.errors import DataError, no_such_file, reason_of

__all__ = ["Fault", "FaultKind", "Line", "raw_lines", "read_lines"]

FaultKind = Literal["encoding", "columns", "text", "csv", "json", "empty", "long", "unequal"]

GZIP_MAGIC = b"\x1f\x8b"
UTF8_MARK = b"\xef\xbb\xbf"
NO_TEXT = {  # how files begin that people have, and what to do with them
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
    b"PK\x03\x04": "a spreadsheet or a zip archive: save it as .csv, or unpack it",
    b"BZh91AY&SY": "compressed by bzip2: unpack it, or compress it by gzip",
    b"\xfd7zXZ\x00": "compressed by xz: unpack it, or compress it by gzip",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One line that cannot be used, and why in one sentence."""

    kind: FaultKind
    line: int  # from 1
    message: str

    @classmethod
    def at(cls, path: Path, line: int, kind: FaultKind, what: str) -> Fault:
        """A fault whose sentence begins with the file and the line."""
        return cls(kind, line, f"`{path}` line {line} {what}.")


class Line(NamedTuple):
    """One line without its end; where `fault` is set, the broken bytes of `text` are U+FFFD."""

    number: int  # from 1
    text: str
    fault: Fault | None


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file one by one, whatever its size.

    Args:
        path: a text file; gzip is recognised by its first two bytes.

    Raises:
        DataError: the file is missing, a directory, not readable, a damaged gzip, or no UTF-8 text at all.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, raw in enumerate(raw_lines(file), start=1):
                yield _decode(path, number, raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"`{path}` is damaged gzip after line {number} ({error}): copy or download it again.") from None
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {reason_of(error)}.") from None


def raw_lines(file: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a binary file with their ends.

    A CR alone ends a line only in a file that has no LF: elsewhere it is a stray letter of one line, and to count it
    would move one of two parallel files against the other.
    """
    for number, raw in enumerate(file):
        if number == 0 and not raw.endswith(b"\n"):  # the whole file
            yield from raw.splitlines(keepends=True)
        else:
            yield raw


def _open(path: Path) -> BufferedReader | gzip.GzipFile:
    if path.is_dir():
        raise DataError(f"`{path}` is a folder, expected a file of sentences.")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError(no_such_file(path)) from None
    if file.peek(2)[:2] == GZIP_MAGIC:
        return _ClosingGzip(file)
    if path.suffix == ".gz" and file.peek(1):
        file.close()
        raise DataError(f"`{path}` is named `.gz` but is not gzip: rename it, or copy or download it again.")
    return file


class _ClosingGzip(gzip.GzipFile):
    """A gzip reader that closes the file under it, which GzipFile leaves open."""

    def __init__(self, file: BufferedReader) -> None:
        super().__init__(fileobj=file)
        self._under = file

    def close(self) -> None:
        super().close()
        self._under.close()


def _decode(path: Path, number: int, raw: bytes) -> Line:
    if number == 1:
        if kind := next((kind for beginning, kind in NO_TEXT.items() if raw.startswith(beginning)), None):
            raise DataError(f"`{path}` is {kind}.")
        raw = raw.removeprefix(UTF8_MARK)
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    try:
        return Line(number, raw.decode("utf-8"), None)
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start + 1} is 0x{raw[error.start]:02x}): save the file as UTF-8"
        return Line(number, raw.decode("utf-8", errors="replace"), Fault.at(path, number, "encoding", what))
