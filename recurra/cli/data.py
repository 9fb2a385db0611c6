"""`recurra check-data` and `recurra sample`: a look at files before a fit, and files to try one on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recurra.checks import check_known
from recurra.cli.options import as_typed
from recurra.cli.shared import PairFiles, SourceColumn, TargetColumn
from recurra.cli.show import print_heading, print_table
from recurra.data.check import Distribution, Finding, PairReport, check_pairs
from recurra.data.readers import MAX_CHARACTERS, MAX_WORDS
from recurra.data.samples import SAMPLES
from recurra.errors import ConfigError, RunError

__all__ = ["register"]

WORDS_FOR = {
    "encoding": "not UTF-8",
    "columns": "a column is missing",
    "text": "no text in a column",
    "csv": "not CSV",
    "json": "not JSON",
    "empty": "empty sentences",
    "long": "over the limit of length",
    "unequal": "files of different length",
    "repeated_pair": "the same pair again",
    "several_targets": "the same source with another target",
    "copied": "target equals source",
    "length_ratio": "one side over three times as long",
    "control_character": "control characters",
    "replacement_character": "characters lost before (U+FFFD)",
    "twice_encoded": "encoded twice (Ã© for é)",
    "quoted": "quotes, kept as text",
    "names_of_columns": "names of columns, read as a pair",
    "numbers": "a column of numbers",
}
LINES_SHOWN = 6


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("check-data")(check_data)
    app.command("sample")(sample)


def check_data(
    paths: PairFiles,
    source_column: SourceColumn = None,
    target_column: TargetColumn = None,
    max_words: Annotated[
        int, typer.Option("--max-words", metavar="INTEGER", min=1, help="Words of the longest sentence allowed.")
    ] = MAX_WORDS,
    max_characters: Annotated[
        int,
        typer.Option("--max-characters", metavar="INTEGER", min=1, help="Characters of the longest sentence allowed."),
    ] = MAX_CHARACTERS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Look at sentence pairs before a fit: counts, lengths, repetitions, faults by line; exit code 2 if unusable."""
    with as_typed(["source_column", "target_column"]):
        report = check_pairs(
            list(paths),
            source_column=source_column,
            target_column=target_column,
            max_words=max_words,
            max_characters=max_characters,
        )
    if as_json:
        print(report.to_json())
    else:
        _print_report(report)
    if not report.usable:
        raise typer.Exit(2)


def _print_report(report: PairReport) -> None:
    print_heading(f"{' and '.join(report.files)}: {report.pairs:,} usable pair{'' if report.pairs == 1 else 's'}")
    print()
    rows = []
    for name, side in (("source", report.source), ("target", report.target)):
        for unit, lengths in (("words", side.words), ("characters", side.characters)):
            rows.append([f"{name}, {unit}", *_lengths(lengths)])
    columns = ["length", "shortest", "median", "mean", "95 % at most", "longest"]
    print_table(columns, rows, numbers=columns[1:])
    print()
    print_table(
        ["different", "source", "target"],
        [
            ["sentences", f"{report.source.distinct_sentences:,}", f"{report.target.distinct_sentences:,}"],
            ["words", f"{report.source.distinct_words:,}", f"{report.target.distinct_words:,}"],
        ],
        numbers=["source", "target"],
    )
    if report.header is not None or report.first:
        print()
    if report.header is not None:
        print(f"The first row names the columns: {', '.join(f'`{_cut(cell)}`' for cell in report.header)}.")
    if report.first:
        rows = [[f"{line:,}", _cut(source), _cut(target)] for source, target, line in report.first]
        print_table(["line", "source", "target"], rows, numbers=["line"])
    if report.remarks:
        print()
        _print_findings("worth a look", report.remarks, most=90)
    if report.faults:
        print()
        _print_findings("cannot be used", report.faults)
    print()
    if report.usable and report.source.distinct_sentences == 1:
        print(
            "Ready for `recurra fit` with `--validation FILE`: of one source, no part can be set aside to validate on."
        )
    elif report.usable:
        print("Ready for `recurra fit`.")
    elif "unequal" in report.faults:
        print("Not ready: give two files with the same number of lines.")
    elif not report.pairs:
        print("Not ready: no line can be used.")
    else:
        print("Not ready: correct these lines, or fit with `--on-bad skip` to leave them out.")


def _lengths(lengths: Distribution | None) -> list[str]:
    if lengths is None:
        return ["-"] * 5
    return [f"{lengths.min:,}", f"{lengths.median:,}", f"{lengths.mean:,.1f}", f"{lengths.p95:,}", f"{lengths.max:,}"]


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _print_findings(title: str, findings: dict[str, Finding], most: int | None = None) -> None:
    rows = []
    for kind, finding in findings.items():
        lines = ", ".join(map(str, finding.lines[:LINES_SHOWN])) + (", ..." if finding.count > LINES_SHOWN else "")
        example = finding.example if most is None else _cut(finding.example, most)
        rows.append([WORDS_FOR.get(kind, kind), f"{finding.count:,}", lines, example])
    print_table([title, "count", "lines", "the first"], rows, numbers=["count"])


def sample(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which sample; without it, and without --out, all are listed.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write its files to.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of an earlier sample.")] = False,
) -> None:
    """Write sample data, to try a task on: `recurra sample english-french --out demo`."""
    if name is None and out is not None and len(SAMPLES) == 1:
        (name,) = SAMPLES
    if name is None:
        print_table(["sample", "what"], [[each, SAMPLES[each].description] for each in SAMPLES])
        return
    check_known(name, SAMPLES, f"Unknown sample `{name}`")
    if out is None:
        raise ConfigError("Say where the files go: `--out DIR`.")
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise RunError(
            f"`{out}` is not empty: name another folder, or replace files of the same names with `--overwrite`."
        )
    for path in SAMPLES[name].write(out):
        print(path)
