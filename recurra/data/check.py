"""A look at a file of sentence pairs before a fit: counts, lengths, repetitions, and whatever looks wrong, by line."""

from __future__ import annotations

import json
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

from recurra.data.columns import looks_like_names
from recurra.data.readers import MAX_CHARACTERS, MAX_WORDS, FirstRow, Pair, PathOrPaths, as_paths, scan_pairs

__all__ = ["Distribution", "Finding", "PairReport", "SideReport", "check_pairs"]

FIRST = 3  # pairs shown as they are read
SHOWN = 20  # lines named for each finding; the count is of all
RATIO = 3.0  # the longer side has more than this many times the characters of the shorter ...
RATIO_FROM = 30  # ... and at least this many: short phrases differ freely

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
QUOTED = re.compile('"(?:[^"]|"")+"')
# UTF-8 bytes that were once read as Latin-1 or Windows-1252 and saved again: "Ã©" for "é", "â€™" for "’"
TWICE_ENCODED = re.compile("[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac[\u0080-\u00ff\u2018-\u2122]")


@dataclass(frozen=True)
class Distribution:
    """Lengths in brief: of n sorted lengths, `p95` is the one that 95 % do not exceed."""

    min: int
    median: int
    mean: float
    p95: int
    max: int

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Distribution | None:
        """The summary of some lengths, or None where there are none."""
        if not lengths:
            return None
        ordered = sorted(lengths)
        last = len(ordered) - 1
        middle, high = ordered[last // 2], ordered[-(-last * 95 // 100)]
        return cls(ordered[0], middle, sum(ordered) / len(ordered), high, ordered[-1])


@dataclass(frozen=True)
class SideReport:
    """One side of the usable pairs; the lengths are None where there is no such pair."""

    words: Distribution | None
    characters: Distribution | None
    distinct_sentences: int
    distinct_words: int  # separated by blanks, as written


@dataclass
class Finding:
    """How often something was found, on which lines first, and the first of it in words."""

    count: int = 0
    lines: list[int] = field(default_factory=list)
    example: str = ""

    def add(self, line: int, example: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.lines) < SHOWN:
            self.lines.append(line)
        self.example = self.example or example


@dataclass(frozen=True)
class PairReport:
    """What a file of sentence pairs holds.

    Attributes:
        files: the file or files read.
        pairs: usable pairs.
        source: lengths and words of the source side of the usable pairs.
        target: the same for the target side.
        faults: lines that cannot be used, by kind: `encoding`, `columns`, `text`, `csv`, `json`, `empty`, `long`,
            `unequal`.
        encoding_faults: the sentence for each of the first lines that are not UTF-8, with line and byte.
        remarks: usable pairs worth a look, by kind: `repeated_pair`, `several_targets` (a source seen before with
            another target), `copied` (target equals source), `length_ratio`, `control_character`,
            `replacement_character`, `twice_encoded`, `quoted` (in a tab-separated file, where quotes are text),
            `names_of_columns` (the first row, read as a pair), `numbers` (the whole side, but for a first row).
        header: the first row of a table where it was taken as names of columns, else None.
        first: the first usable pairs.
    """

    files: list[str]
    pairs: int
    source: SideReport
    target: SideReport
    faults: dict[str, Finding]
    encoding_faults: list[str]
    remarks: dict[str, Finding]
    header: list[str] | None
    first: list[Pair]

    @property
    def usable(self) -> bool:
        """Whether a fit accepts the files as they are."""
        return not self.faults and self.pairs > 0

    def to_json(self) -> str:
        """The report as one JSON object."""
        more = {"first": [pair._asdict() for pair in self.first], "usable": self.usable}
        return json.dumps(asdict(self) | more, ensure_ascii=False, indent=2)


def check_pairs(
    paths: PathOrPaths,
    *,
    source_column: str | None = None,
    target_column: str | None = None,
    max_words: int | None = MAX_WORDS,
    max_characters: int | None = MAX_CHARACTERS,
) -> PairReport:
    """Read everything and report, where `read_pairs` would stop. The arguments are those of `read_pairs`.

    Raises:
        DataError: the file cannot be read at all, or has no line to report on.
    """
    faults: defaultdict[str, Finding] = defaultdict(Finding)
    encoding_faults: list[str] = []
    tally = _Tally()
    rows: list[FirstRow] = []
    for found in scan_pairs(
        paths,
        source_column=source_column,
        target_column=target_column,
        max_words=max_words,
        max_characters=max_characters,
        first_row=rows,
    ):
        if isinstance(found, Pair):
            tally.add(found)
            if any(row.separator == "tab" for row in rows) and _is_quoted(found):
                tally.remark("quoted", found)
            continue
        faults[found.kind].add(found.line, found.message)
        if found.kind == "encoding" and len(encoding_faults) < SHOWN:
            encoding_faults.append(found.message)
    files = [str(path) for path in as_paths(paths)]
    source, target = tally.source.report(), tally.target.report()
    remarks = _of_columns(rows, tally) | dict(tally.remarks)
    header = next((row.cells for row in rows if row.columns.has_header), None)
    return PairReport(files, tally.pairs, source, target, dict(faults), encoding_faults, remarks, header, tally.first)


def _of_columns(rows: Sequence[FirstRow], tally: _Tally) -> dict[str, Finding]:
    """Signs that the first row, or a whole column, is not what it was read as."""
    remarks: dict[str, Finding] = {}
    for row in rows:
        if not row.columns.has_header and looks_like_names(row.cells):
            remarks["names_of_columns"] = Finding(1, [row.line], " | ".join(row.cells))
    for side in (tally.source, tally.target):
        # the row above a column of numbers may be its name
        if tally.pairs > 1 and side.numbers.count >= tally.pairs - 1:
            remarks.setdefault("numbers", side.numbers)
    return remarks


class _Side:
    """What is kept of one side while reading: numbers and hashes, never the sentences."""

    def __init__(self) -> None:
        self.words = array("L")
        self.characters = array("L")
        self.sentences: set[int] = set()
        self.distinct_words: set[str] = set()
        self.numbers = Finding()

    def add(self, sentence: str, pair: Pair) -> None:
        words = sentence.split()
        self.words.append(len(words))
        self.characters.append(len(sentence))
        self.sentences.add(hash(sentence))
        self.distinct_words.update(words)
        if sentence.isdecimal():
            self.numbers.add(pair.line, _shown(pair))

    def report(self) -> SideReport:
        words, characters = Distribution.of(self.words), Distribution.of(self.characters)
        return SideReport(words, characters, len(self.sentences), len(self.distinct_words))


class _Tally:
    """All that is counted over the usable pairs."""

    def __init__(self) -> None:
        self.pairs = 0
        self.first: list[Pair] = []
        self.source = _Side()
        self.target = _Side()
        self.remarks: defaultdict[str, Finding] = defaultdict(Finding)
        self.seen_pairs: set[int] = set()

    def add(self, pair: Pair) -> None:
        self.pairs += 1
        if len(self.first) < FIRST:
            self.first.append(pair)
        for kind, looks_so in REMARKS.items():
            if looks_so(pair):
                self.remark(kind, pair)
        key = hash((pair.source, pair.target))
        if key in self.seen_pairs:
            self.remark("repeated_pair", pair)
        elif hash(pair.source) in self.source.sentences:
            self.remark("several_targets", pair)
        self.seen_pairs.add(key)
        self.source.add(pair.source, pair)
        self.target.add(pair.target, pair)

    def remark(self, kind: str, pair: Pair) -> None:
        """Count a pair that is worth a look."""
        self.remarks[kind].add(pair.line, _shown(pair))


def _shown(pair: Pair) -> str:
    return f"{pair.source} | {pair.target}"


def _is_quoted(pair: Pair) -> bool:
    """Whether a side stands in quotes as spreadsheets write them, its own quotes doubled."""
    return any(QUOTED.fullmatch(side) for side in (pair.source, pair.target))


def _lengths_differ(pair: Pair) -> bool:
    short, long = sorted((len(pair.source), len(pair.target)))
    return long >= RATIO_FROM and long > RATIO * short


def _either(pattern: re.Pattern[str]) -> Callable[[Pair], bool]:
    return lambda pair: bool(pattern.search(pair.source) or pattern.search(pair.target))


REMARKS: dict[str, Callable[[Pair], bool]] = {
    "copied": lambda pair: pair.source == pair.target,
    "length_ratio": _lengths_differ,
    "control_character": _either(CONTROL),
    "replacement_character": _either(re.compile("\ufffd")),
    "twice_encoded": _either(TWICE_ENCODED),
}
