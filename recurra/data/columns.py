"""Which columns of a table hold the source and the target: one rule, always the same.

With names given, they are looked up in the first row, which is then a header; numbers from 1 are taken as they are.
With numbers alone or without names, the first row is a header if

1. it has both names of a known pair (`source`/`target`, `src`/`tgt`, ...), in any place, or
2. its first two cells are two different language codes (`en`, `fr`, also `pt-BR`);

else there is no header. Without names, the columns are those of the header, or else the first two. Case and surrounding
blanks do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from recurra.errors import ConfigError, DataError, did_you_mean

__all__ = ["Columns", "NoSuchColumn", "check_names", "find_columns", "find_keys", "looks_like_names", "other_separator"]

PAIRS_OF_NAMES = (("source", "target"), ("src", "tgt"), ("src", "trg"), ("src", "ref"), ("input", "output"))

# ISO 639-1 codes of the languages with the most written text, as far as translation corpora have them
LANGUAGE_CODES = """
    af am ar as az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu ha he hi hr hu hy id ig is it ja
    jv ka kk km kn ko ku ky la lb lo lt lv mg mi mk ml mn mr ms mt my nb ne nl nn no oc or pa pl ps pt qu ro ru rw
    sa si sk sl so sq sr sv sw ta te tg th tk tl tr tt ug uk ur uz vi wo xh yi yo zh zu
"""
LANGUAGES = frozenset(LANGUAGE_CODES.split())

# words that name columns: too common in sentences to make a header of, but two of them are worth a look
WORDS_OF_HEADERS = """
    id index key nr number line source target src tgt trg ref reference input output text sentence sentences phrase
    translation original translated question answer query lang language date score notes comment
    arabic bengali bulgarian catalan chinese croatian czech danish dutch english estonian finnish french german greek
    hebrew hindi hungarian indonesian irish italian japanese korean latin latvian lithuanian malay norwegian persian
    polish portuguese romanian russian serbian slovak slovenian spanish swahili swedish tamil thai turkish ukrainian
    urdu vietnamese welsh
"""
OTHERS = {";": "semicolons between columns", "\t": "tabs between columns"}
HEADERS = frozenset(WORDS_OF_HEADERS.split())


class Columns(NamedTuple):
    """Places of the source and the target in a row, from 0, and whether the first row is a header."""

    source: int
    target: int
    has_header: bool


class NoSuchColumn(DataError):
    """A column that was named is not in the file."""


def check_names(source_column: str | None, target_column: str | None) -> tuple[str, str] | None:
    """Both names, or None where neither is given.

    Raises:
        ConfigError: only one of the two is given, or both are the same.
    """
    if source_column is None and target_column is None:
        return None
    if source_column is None or target_column is None:
        raise ConfigError("Give both `source_column` and `target_column`, or neither.")
    if source_column == target_column:
        raise ConfigError(f"`source_column` and `target_column` must differ, both are `{source_column}`.")
    return source_column, target_column


def find_columns(path: Path, first_row: Sequence[str], names: tuple[str, str] | None) -> Columns:
    """The columns of a table by its first row, by the rule above.

    Raises:
        NoSuchColumn: a name is not in the first row.
        DataError: a name and a number are of one column.
    """
    recognised = _recognise(first_row)
    if names is None:
        return recognised
    if all(map(_is_number, names)) and not set(names) <= set(first_row):
        return Columns(int(names[0]) - 1, int(names[1]) - 1, recognised.has_header)
    source, target = (_place_or_number(path, name, first_row) for name in names)
    if source == target:
        raise DataError(f"`{path}` has one column for both, `{names[0]}` and `{names[1]}`: name two columns.")
    return Columns(source, target, has_header=True)


def looks_like_names(row: Sequence[str]) -> bool:
    """Whether a first row that is no header by the rule may be meant as one: `id`, `English`, `French`."""
    return len(HEADERS.intersection(map(_plain, row))) >= 2


def find_keys(path: Path, keys: Sequence[str], names: tuple[str, str] | None) -> tuple[str, str]:
    """The keys of JSON objects that hold the source and the target, by the keys of the first object.

    Raises:
        NoSuchColumn: a name is not among the keys.
        DataError: none was given and no known pair is there.
    """
    if names is not None:
        return keys[_place(path, names[0], keys)], keys[_place(path, names[1], keys)]
    columns = _recognise(keys)
    if not columns.has_header:
        raise DataError(
            f"`{path}` has the keys {_listed(keys)}: "
            "say with `source_column` and `target_column` which hold the sentences."
        )
    return keys[columns.source], keys[columns.target]


def _recognise(row: Sequence[str]) -> Columns:
    cells = [_plain(cell) for cell in row]
    for source, target in PAIRS_OF_NAMES:
        if source in cells and target in cells:
            return Columns(cells.index(source), cells.index(target), has_header=True)
    codes = [cell.replace("_", "-").split("-")[0] for cell in cells[:2]]
    is_header = len(codes) == 2 and cells[0] != cells[1] and all(code in LANGUAGES for code in codes)
    return Columns(0, 1, is_header)


def other_separator(row: Sequence[str]) -> str:
    """A sentence about a row of one cell in which something else than its separator seems to part columns."""
    found = next((name for mark, name in OTHERS.items() if len(row) == 1 and mark in row[0]), None)
    return "" if found is None else f" It looks like {found}: save it with commas as .csv or with tabs as .tsv."


def _is_number(name: str) -> bool:
    return name.isdecimal() and int(name) > 0


def _place_or_number(path: Path, name: str, row: Sequence[str]) -> int:
    """As `_place`; beside a name, a number counts columns."""
    if name not in row and _is_number(name) and int(name) <= len(row):
        return int(name) - 1
    return _place(path, name, row)


def _place(path: Path, name: str, row: Sequence[str]) -> int:
    if name in row:
        return list(row).index(name)
    cells = [_plain(cell) for cell in row]
    if _plain(name) not in cells:
        near = did_you_mean(name, row) or other_separator(row)
        raise NoSuchColumn(f"`{path}` has no column `{name}`.{near} Its columns are {_listed(row)}.")
    return cells.index(_plain(name))


def _plain(cell: str) -> str:
    return cell.strip().lower()


def _listed(names: Sequence[str]) -> str:
    shown = [f"`{name.strip()[:40]}`" for name in names[:10]]
    return ", ".join(shown) + (", ..." if len(names) > 10 else "")
