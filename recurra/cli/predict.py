"""`recurra predict RUN`: sentences in, one translation a line out."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from recurra.cli.options import as_typed
from recurra.cli.shared import Beam, Device, RunArgument, expect_room_for_pictures, path_from
from recurra.data.lines import raw_lines, read_lines
from recurra.errors import ConfigError, DataError, import_extra
from recurra.tasks.report import MOST_PANELS, AttentionMap, draw_attention
from recurra.tasks.translate import Translated, Translator, load
from recurra.training.files import write_atomically

__all__ = ["register"]

AT_ONCE = 512  # lines translated together where nobody waits for each


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    run: RunArgument,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Sentences, one a line; plain or .gz. Stdin where not given.",
            show_default=False,
            parser=path_from,
        ),
    ] = None,
    beam: Beam = None,
    n_best: Annotated[
        int,
        typer.Option(
            "--n-best",
            metavar="INTEGER",
            help="Translations a sentence. More than one: lines of sentence "
            "number, score and translation, separated by tabs.",
        ),
    ] = 1,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            "--length-penalty",
            metavar="NUMBER",
            help="Above 0 helps longer translations.",
            show_default="that of the run",
        ),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            "--max-length",
            metavar="INTEGER",
            help="Pieces of a translation at most.",
            show_default="twice the source and 20",
        ),
    ] = None,
    unknown_words: Annotated[
        str | None,
        typer.Option(
            "--unknown-words",
            metavar="copy|keep|drop",
            help="What stands for unknown pieces.",
            show_default="that of the run",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a sentence: words, scores, attention.")
    ] = False,
    attention: Annotated[
        Path | None, typer.Option("--attention", metavar="PNG", help="Draw where the network looked, to this file.")
    ] = None,
    at_once: Annotated[
        int,
        typer.Option(
            "--at-once",
            metavar="INTEGER",
            min=1,
            help="Lines read before they are translated together; 1 answers each line at once.",
        ),
    ] = AT_ONCE,
    device: Device = "auto",
) -> None:
    """Translate sentences: one translation a line on stdout, everything else on stderr."""  # fmt: skip
    if attention is not None:
        import_extra("matplotlib", "plot")
        if attention.suffix.lower() != ".png":
            raise ConfigError(f"`--attention` draws a PNG: name a file that ends in .png, got `{attention}`.")
        expect_room_for_pictures(attention.parent)
    with as_typed(["device"]):
        model = load(run, device=device)
    if attention is not None and model.config.attention == "none":
        raise ConfigError(f"The network in `{run}` has no attention to draw.")
    interactive = file is None and sys.stdin.isatty()
    if interactive:
        print("Type a sentence and Enter; Ctrl-D ends.", file=sys.stderr)
    lines = _stdin_lines() if file is None else _file_lines(file)
    options: dict[str, Any] = {
        "beam": max(model.config.beam_size, n_best) if beam is None else beam,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "unknown_words": unknown_words,
    }
    with as_typed(options):
        model.translate([], **options)  # refuses options before anything is read
    maps = _Maps()
    answers = _answers(model, lines, 1 if interactive else at_once, options)
    for number, translated in enumerate(answers, start=1):
        for line in _output(translated, number, n_best, as_json):
            sys.stdout.write(line + "\n")
        if attention is not None and (found := translated.attention_map()) is not None:
            maps.add(found)
    if attention is not None:
        _save_attention(maps, attention)


def _answers(model: Translator, lines: Iterator[str], size: int, options: dict[str, Any]) -> Iterator[Translated]:
    """The lines translated, so many together; what is written of them is on its way before more are read."""
    first = True
    while chunk := list(islice(lines, size)):
        if first and all("\t" in line for line in chunk):
            print(
                "Every line has a tab, as in a file of pairs: whole lines are translated; give the sentences alone, "
                "as by `cut -f 1`.",
                file=sys.stderr,
            )
        first = False
        with as_typed(options):
            translated = model.translate(chunk, **options)
        yield from translated
        sys.stdout.flush()


def _output(translated: Translated, number: int, n_best: int, as_json: bool) -> list[str]:
    if as_json:
        return [json.dumps(translated.to_json(), ensure_ascii=False)]
    if n_best == 1:
        return [translated.text]
    return [f"{number}\t{candidate.score:.4f}\t{candidate.text}" for candidate in translated.candidates]


@dataclass
class _Maps:
    """Where the network looked: the first sentences, as many as one picture may show, however many there are."""

    first: list[AttentionMap] = field(default_factory=list)
    total: int = 0
    too_long: int = 0

    def add(self, one: AttentionMap) -> None:
        self.total += 1
        if not one.can_be_drawn:
            self.too_long += 1
        elif len(self.first) < MOST_PANELS:
            self.first.append(one)


def _save_attention(maps: _Maps, path: Path) -> None:
    if not maps.total:
        print("There was nothing to draw: no sentence had words.", file=sys.stderr)
        return
    if maps.too_long:
        print(f"{maps.too_long} of {maps.total} sentences too long to draw.", file=sys.stderr)
    if not maps.first:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, draw_attention(maps.first, of=maps.total))
    print(f"Attention drawn to {path}.", file=sys.stderr)


def _file_lines(path: Path) -> Iterator[str]:
    for line in read_lines(path):
        if line.fault:
            raise DataError(line.fault.message)
        yield line.text


def _stdin_lines() -> Iterator[str]:
    for number, raw in enumerate(raw_lines(sys.stdin.buffer), start=1):
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"Line {number} of stdin is not UTF-8 (byte {error.start + 1} is 0x{raw[error.start]:02x})."
            ) from None
