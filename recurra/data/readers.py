"""Files of sentence pairs -> pairs: TSV, CSV, JSON lines, or two parallel text files; plain or gzip.

| file | read as |
|---|---|
| `.csv` | the rules of Python's `csv` module: quotes, doubled quotes, line ends inside quotes |
| `.jsonl`, `.ndjson`, `.json` | one JSON object a line |
| any other single file | tab-separated columns, no quoting |
| two files | parallel text: line n of the second translates line n of the first |

A `.gz` at the end does not count. `recurra.data.columns` says how a header is recognised.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

from recurra.checks import check_choice, check_count
from recurra.data.columns import Columns, check_names, find_columns, find_keys, other_separator
from recurra.data.lines import Fault, Line, read_lines
from recurra.errors import ConfigError, DataError

__all__ = ["MAX_CHARACTERS", "MAX_WORDS", "FirstRow", "Pair", "PathOrPaths", "as_paths", "read_pairs", "scan_pairs"]

MAX_WORDS = 250
MAX_CHARACTERS = 2000

PathOrPaths = str | PathLike[str] | Sequence[str | PathLike[str]]
Names = tuple[str, str] | None

CSV_ENDINGS = (".csv",)
JSON_ENDINGS = (".jsonl", ".ndjson", ".json")
QUOTED_BY_OTHERS = re.compile('"[;\t]|[;\t]"')  # cells in quotes, but not with commas between them
PAIR_ENDINGS = (".tsv", *CSV_ENDINGS, *JSON_ENDINGS)


class Pair(NamedTuple):
    """A sentence and its translation, with the line of the file it begins on, from 1."""

    source: str
    target: str
    line: int


class FirstRow(NamedTuple):
    """The first row of a table that is not blank, and what it was taken for."""

    line: int  # from 1
    cells: list[str]
    columns: Columns
    separator: str  # comma or tab


def read_pairs(
    paths: PathOrPaths,
    *,
    source_column: str | None = None,
    target_column: str | None = None,
    max_words: int | None = MAX_WORDS,
    max_characters: int | None = MAX_CHARACTERS,
    on_bad: Literal["error", "skip"] = "error",
    skipped: list[Fault] | None = None,
) -> list[Pair]:
    """All sentence pairs of a file, or of two parallel files.

    Args:
        paths: one file of pairs, or two parallel text files.
        source_column: name (or number from 1) of the column of the source; with `target_column`.
        target_column: name (or number from 1) of the column of the target.
        max_words: words of the longest sentence on either side, or None for no limit.
        max_characters: characters of the longest sentence on either side, or None for no limit.
        on_bad: what to do about lines that cannot be used: refuse the file, or drop them.
        skipped: receives a fault for each line that was dropped.

    Raises:
        DataError: the file cannot be read, or has lines that cannot be used, with the first of them and their count.
        ConfigError: an option has a value that cannot be.
    """
    check_choice("on_bad", on_bad, ("error", "skip"))
    pairs: list[Pair] = []
    faults: list[Fault] = []
    for found in scan_pairs(
        paths,
        source_column=source_column,
        target_column=target_column,
        max_words=max_words,
        max_characters=max_characters,
    ):
        if isinstance(found, Pair):
            pairs.append(found)
        else:
            faults.append(found)
    _refuse(faults, on_bad, any_left=bool(pairs))
    if skipped is not None:
        skipped.extend(faults)
    return pairs


def _refuse(faults: list[Fault], on_bad: str, *, any_left: bool) -> None:
    """Raise for the first fault that may not be dropped, and say how many are like it."""
    fatal = [fault for fault in faults if on_bad == "error" or fault.kind == "unequal" or not any_left]
    if not fatal:
        return
    first = fatal[0]
    same = Counter(fault.kind for fault in fatal)[first.kind]
    message = first.message
    if same > 1:
        message = f"{message.removesuffix('.')} (the first of {same} such lines)."
    if first.kind != "unequal":
        if on_bad == "skip":
            message = f"No line can be used: {message}"
        elif any_left:
            message = f"{message} Correct the file, or leave such lines out with `on_bad` = skip."
    raise DataError(message)


def scan_pairs(
    paths: PathOrPaths,
    *,
    source_column: str | None = None,
    target_column: str | None = None,
    max_words: int | None = MAX_WORDS,
    max_characters: int | None = MAX_CHARACTERS,
    first_row: list[FirstRow] | None = None,
) -> Iterator[Pair | Fault]:
    """What stands on each line in the order of the file, a pair or a fault; never holds more than one line.

    Blank lines at the end of the file are left out. The arguments are those of `read_pairs`, and

        first_row: receives the first row of a table.

    Raises:
        ConfigError: one column is named without the other, or a limit is below 1.
        DataError: the file cannot be read, holds no pair at all, or lacks a column that was named.
    """
    names = check_names(source_column, target_column)
    for name, limit in (("max_words", max_words), ("max_characters", max_characters)):
        if limit is not None:
            check_count(name, limit)
    files = as_paths(paths)
    found_any = False
    for found in _judge(_without_blank_end(_raw_pairs(files, names, first_row)), files, max_words, max_characters):
        found_any = True
        yield found
    if not found_any:
        joined = " and ".join(f"`{path}`" for path in files)
        raise DataError(f"There is no sentence pair in {joined}: expected one on each line.")


def as_paths(paths: PathOrPaths) -> list[Path]:
    """One file of pairs or two parallel files, as a list.

    Raises:
        DataError: there are no files, more than two, two that each hold pairs, or something is no path.
    """
    given = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str | PathLike) else [paths]
    for path in given:
        if not isinstance(path, str | PathLike):
            raise DataError(f"Sentence pairs are read from files: give their paths, got a {type(path).__name__}.")
        if not str(path):
            raise DataError("Sentence pairs are read from files: give their paths, got an empty text.")
    files = [Path(path) for path in given]
    if len(files) not in (1, 2):
        raise DataError(f"Expected one file of sentence pairs or two parallel text files, got {len(files)} files.")
    if len(files) == 2 and all(_ending(path) in PAIR_ENDINGS for path in files):
        raise DataError(
            f"Two files are read as parallel text, but `{files[0]}` and `{files[1]}` are named like files of pairs: "
            "give one of them."
        )
    return files


def _ending(path: Path) -> str:
    return Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()


# --- one generator a format: pairs and faults as they stand -------------------------------------------------------


def _raw_pairs(files: list[Path], names: Names, first_row: list[FirstRow] | None) -> Iterator[Pair | Fault]:
    if len(files) == 2:
        if names is not None:
            raise ConfigError("Parallel text files have no columns: leave out `source_column` and `target_column`.")
        return _parallel_pairs(*files)
    (path,) = files
    if _ending(path) in JSON_ENDINGS:
        return _object_pairs(path, names)
    is_csv = _ending(path) in CSV_ENDINGS
    rows, separator = (_csv_rows(path), "comma") if is_csv else (_tab_rows(path), "tab")
    return _table_pairs(path, rows, names, separator, first_row)


def _parallel_pairs(source_path: Path, target_path: Path) -> Iterator[Pair | Fault]:
    counts = [0, 0]
    for lines in zip_longest(read_lines(source_path), read_lines(target_path)):
        for side, line in enumerate(lines):
            counts[side] += line is not None
        if None not in lines:  # else one file has ended: only count on
            yield _parallel_pair(*lines)
    for path, count in zip((source_path, target_path), counts, strict=True):
        if count == 0:
            raise DataError(f"`{path}` is empty: expected a sentence on each line.")
    if counts[0] != counts[1]:
        message = (
            f"`{source_path}` has {counts[0]} lines but `{target_path}` has {counts[1]}: "
            "line n of one must translate line n of the other."
        )
        yield Fault("unequal", min(counts) + 1, message)


def _parallel_pair(source: Line, target: Line) -> Pair | Fault:
    return source.fault or target.fault or Pair(source.text.strip(), target.text.strip(), source.number)


def _tab_rows(path: Path) -> Iterator[tuple[int, list[str] | Fault]]:
    for number, text, fault in read_lines(path):
        yield number, fault or text.split("\t")


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str] | Fault]]:
    faults: list[Fault] = []
    text = ""

    def texts() -> Iterator[str]:
        nonlocal text
        for line in read_lines(path):
            if line.fault:
                faults.append(line.fault)
            text = line.text
            yield text + "\n"

    reader = csv.reader(texts(), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            advice = other_separator([text]) if QUOTED_BY_OTHERS.search(text) else ""
            what = f"is not CSV ({error}): check the quotes from here on"
            yield number, Fault.at(path, number, "csv", f"is not CSV.{advice.removesuffix('.')}" if advice else what)
        else:
            yield number, faults[0] if faults else row
        faults.clear()


def _table_pairs(
    path: Path,
    rows: Iterable[tuple[int, list[str] | Fault]],
    names: Names,
    separator: str,
    first_row: list[FirstRow] | None,
) -> Iterator[Pair | Fault]:
    columns: Columns | None = None
    for number, row in rows:
        if isinstance(row, Fault):
            yield row
            continue
        if not any(cell.strip() for cell in row):
            yield Pair("", "", number)
            continue
        if columns is None:
            columns = find_columns(path, row, names)
            if first_row is not None:
                first_row.append(FirstRow(number, row, columns, separator))
            if columns.has_header:
                continue
        if len(row) <= max(columns.source, columns.target):
            many = "1 column" if len(row) == 1 else f"{len(row)} columns"
            what = f"has {many}, expected the source in column {columns.source + 1} and the target in column "
            what = f"{what}{columns.target + 1}, separated by a {separator}"
            if separator == "comma" and (other := other_separator(row)):
                what = f"{what}.{other.removesuffix('.')}"
            yield Fault.at(path, number, "columns", what)
        else:
            yield Pair(row[columns.source].strip(), row[columns.target].strip(), number)


def _object_pairs(path: Path, names: Names) -> Iterator[Pair | Fault]:
    keys: tuple[str, str] | None = None
    for number, text, fault in read_lines(path):
        if fault:
            yield fault
        elif not text.strip():
            yield Pair("", "", number)
        elif not isinstance(value := _parse(text), dict):
            yield Fault.at(path, number, "json", "is not one JSON object, expected `{...}` on each line")
        else:
            keys = keys or find_keys(path, list(value), names)
            yield _object_pair(path, number, value, keys)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object_pair(path: Path, number: int, value: dict[str, Any], keys: tuple[str, str]) -> Pair | Fault:
    for key in keys:
        if key not in value:
            return Fault.at(path, number, "columns", f"has no key `{key}`")
        if not isinstance(value[key], str):
            return Fault.at(path, number, "text", f"has no text under `{key}`, but {json.dumps(value[key])[:40]}")
        if any("\ud800" <= letter <= "\udfff" for letter in value[key]):
            return Fault.at(path, number, "encoding", f"has half a surrogate pair under `{key}`, which is no character")
    return Pair(value[keys[0]].strip(), value[keys[1]].strip(), number)


# --- what every format shares --------------------------------------------------------------------------------------


def _judge(
    found: Iterable[Pair | Fault], files: list[Path], max_words: int | None, max_characters: int | None
) -> Iterator[Pair | Fault]:
    """Pairs with an empty or too long side become faults."""
    for item in found:
        if isinstance(item, Fault):
            yield item
            continue
        what: tuple[Literal["empty", "long"], str] | None = None
        for side, sentence in (("source", item.source), ("target", item.target)):
            if not sentence:
                what = "empty", f"has an empty {side}" if item.source or item.target else "is empty"
            else:
                too_long = _too_long(sentence, max_words, max_characters)
                what = ("long", f"has a {side} of {too_long}") if too_long else None
            if what:
                path = files[-1] if side == "target" else files[0]
                yield Fault.at(path, item.line, *what)
                break
        else:
            yield item


def _too_long(sentence: str, max_words: int | None, max_characters: int | None) -> str | None:
    if max_characters is not None and len(sentence) > max_characters:
        return f"{len(sentence)} characters, more than `max_characters` = {max_characters}"
    # n words have at least 2n - 1 characters: most sentences need no counting
    if max_words is not None and len(sentence) > 2 * max_words and (words := len(sentence.split())) > max_words:
        return f"{words} words, more than `max_words` = {max_words}"
    return None


def _without_blank_end(found: Iterable[Pair | Fault]) -> Iterator[Pair | Fault]:
    """Hold back wholly blank lines until something follows them."""
    held: list[Pair] = []
    for item in found:
        if isinstance(item, Pair) and not item.source and not item.target:
            held.append(item)
            continue
        yield from held
        held.clear()
        yield item
