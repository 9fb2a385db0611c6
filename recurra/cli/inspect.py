"""`recurra inspect`: how far gradients reach, what states and gates do, where a network looks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from recurra.cells.registry import CELLS, make_cell
from recurra.cli.options import as_typed, cell_from
from recurra.cli.shared import SourceColumn, TargetColumn, expect_room_for_pictures, refuse_typed, say_on_terminal
from recurra.cli.show import print_table
from recurra.data.readers import MAX_CHARACTERS, MAX_WORDS
from recurra.engine.contract import Cell
from recurra.errors import ConfigError, DataError, did_you_mean, import_extra
from recurra.inspect import gradient_flow, record
from recurra.networks.recurrent import Recurrent
from recurra.tasks.inspection import Inspection, Layer, jacobians_if_small
from recurra.tasks.translate import load
from recurra.tasks.translate.examples import read_as_fitted
from recurra.tasks.translate.inspection import inspect as inspect_translator
from recurra.training.files import json_text

__all__ = ["register"]

OF_CELLS, OF_A_RUN = ("steps", "input_size", "hidden_size", "seed"), ("limit", "source_column", "target_column")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN PATHS|CELLS",
            help='A run folder and sentence pairs to read, or cells by name: rnn lstm:{"forget_bias":5}.',
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Where pictures and inspect.json go.",
            show_default="RUN/inspect; of cells ./inspect",
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", metavar="INTEGER", min=2, help="Of cells: time steps.")] = 200,
    input_size: Annotated[
        int, typer.Option("--input-size", metavar="INTEGER", min=1, help="Of cells: numbers in one input vector.")
    ] = 32,
    hidden_size: Annotated[
        int, typer.Option("--hidden-size", metavar="INTEGER", min=1, help="Of cells: their units.")
    ] = 64,
    source_column: SourceColumn = None,
    target_column: TargetColumn = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="INTEGER", min=1, help="Of a run: sentence pairs that are read.")
    ] = 32,
    seed: Annotated[
        int, typer.Option("--seed", metavar="INTEGER", min=0, max=2**32 - 1, help="Of cells: their weights.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The numbers as one JSON object on stdout.")] = False,
) -> None:
    """Look inside: gradients through time, states, gates, Jacobians and attention, as numbers and as pictures."""
    import_extra("matplotlib", "plot")
    is_run = Path(what[0]).is_dir()
    if is_run:
        refuse_typed(context, OF_CELLS, "is of cells by name, and a run has its own: leave it out.")
    else:
        refuse_typed(context, OF_A_RUN, "is of a run that reads sentence pairs: leave it out.")
    folder = out or (Path(what[0]) / "inspect" if is_run else Path("inspect"))
    expect_room_for_pictures(folder)
    say_on_terminal(f"Looking into {what[0] if is_run else ', '.join(what)}, and drawing it ...")
    if is_run:
        with as_typed(["source_column", "target_column"]):
            found = _of_run(Path(what[0]), [Path(path) for path in what[1:]], (source_column, target_column), limit)
    else:
        torch.manual_seed(seed)
        found = _of_cells(what, steps, input_size, hidden_size)
    files = found.write(folder)
    if as_json:
        print(json_text(found.to_json()))
        return
    _print(found)
    print(f"{len(files)} files are in {folder}: gradients.png first.")


def _of_run(run: Path, paths: list[Path], columns: tuple[str | None, str | None], limit: int) -> Inspection:
    if not paths:
        raise DataError(
            f"What should the network in `{run}` read? Give a file of sentence pairs, or two parallel files."
        )
    translator = load(run)
    source, target = columns
    pairs = read_as_fitted(
        paths,
        translator.config,
        source_column=source,
        target_column=target,
        on_bad="skip",
        max_words=MAX_WORDS,
        max_characters=MAX_CHARACTERS,
    )
    return inspect_translator(translator, pairs[:limit])


def _of_cells(names: list[str], steps: int, input_size: int, hidden_size: int) -> Inspection:
    """The same random inputs for all of one shape."""
    # in float64: what vanishes is still a number
    cells = [_cell(name, input_size, hidden_size).double() for name in names]
    shapes = dict.fromkeys(cell.input_shape for cell in cells)
    inputs = {shape: torch.randn(steps, 8, *shape, dtype=torch.float64) for shape in shapes}
    flows = [gradient_flow(cell, inputs[cell.input_shape])[0] for cell in cells]
    labels, layers = _numbered(names), []
    for cell, label in zip(cells, labels, strict=True):
        x = inputs[cell.input_shape]
        with torch.no_grad(), record(cell, gates=True) as passages:
            Recurrent(cell)(x[:, :1])
        (passage,) = passages
        passage.name = label.replace('"', "")
        layers.append(Layer(passage, None, jacobians_if_small(cell, x[:, 0])))
    return Inspection(flows, labels, layers)


def _numbered(names: list[str]) -> list[str]:
    """The same name twice as `lstm` and `lstm 2`."""
    return [
        name if (number := names[: place + 1].count(name)) == 1 else f"{name} {number}"
        for place, name in enumerate(names)
    ]


def _cell(text: str, input_size: int, hidden_size: int) -> Cell:
    name, options = cell_from(text)
    if name not in CELLS:
        raise ConfigError(
            f"`{name}` is neither a run folder nor a cell.{did_you_mean(name, CELLS)} Cells: {', '.join(CELLS)}."
        )
    return make_cell(name, input_size, hidden_size, **options)


def _print(found: Inspection) -> None:
    print_table(
        ["layer", "cell", "factor a step", "reach", "gradient"],
        [
            [name, flow.kind, f"{flow.factor:.4f}", f"{flow.reach} of {len(flow.norms)}", flow.verdict]
            for name, flow in zip(found.curves, found.flows, strict=True)
        ],
        numbers=["factor a step", "reach"],
    )
    for flow in found.flows:
        if advice := flow.advice():
            print(advice)
