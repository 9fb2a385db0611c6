"""`recurra summary`: the layers of a run or of a cell: shapes, weights, states, and the network unrolled over time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from recurra.cells.registry import CELLS, make_cell
from recurra.cli.options import as_typed, object_from
from recurra.cli.shared import refuse_typed
from recurra.errors import ConfigError, did_you_mean
from recurra.networks.recurrent import Recurrent
from recurra.networks.summary import summary as summarise
from recurra.tasks.translate import load

__all__ = ["register"]

OF_A_CELL = ("input_size", "hidden_size", "num_layers", "bidirectional", "cell_options")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("summary")(summary)


def summary(
    context: typer.Context,
    what: Annotated[
        str, typer.Argument(metavar="RUN|CELL", help="A run folder, or a cell by name.", show_default=False)
    ],
    input_size: Annotated[
        int, typer.Option("--input-size", metavar="INTEGER", min=1, help="Of a cell: numbers in one input vector.")
    ] = 32,
    hidden_size: Annotated[
        int, typer.Option("--hidden-size", metavar="INTEGER", min=1, help="Of a cell: its units.")
    ] = 64,
    num_layers: Annotated[
        int, typer.Option("--num-layers", metavar="INTEGER", min=1, help="Of a cell: layers of it.")
    ] = 1,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Of a cell: both directions.")] = False,
    cell_options: Annotated[
        str, typer.Option("--cell-options", metavar="JSON", help='Of a cell: its options, like {"peephole": true}.')
    ] = "{}",
    steps: Annotated[int, typer.Option("--steps", metavar="INTEGER", min=1, help="Time steps of the picture.")] = 3,
    as_json: Annotated[
        bool, typer.Option("--json", help="The layers as one JSON object, without the picture.")
    ] = False,
) -> None:
    """Show the layers of a run or of a cell: output shapes, weights, state sizes, and the network unrolled."""
    network: nn.Module
    if Path(what).exists():
        refuse_typed(context, OF_A_CELL, "is of a cell, and a run has its own: leave it out.")
        network = load(what).network
    elif what in CELLS:
        with as_typed(["input_size", "hidden_size", "num_layers", "cell_options"]):
            options = object_from("cell_options", cell_options)
            cell = make_cell(what, input_size, hidden_size, **options)
            network = Recurrent(cell, num_layers=num_layers, bidirectional=bidirectional)
    else:
        raise ConfigError(
            f"`{what}` is neither a run folder nor a cell.{did_you_mean(what, CELLS)} Cells: {', '.join(CELLS)}."
        )
    found = summarise(network, num_steps=steps)
    if as_json:
        layers = [dataclasses.asdict(layer) for layer in found.layers]
        print(json.dumps({"title": found.title, "parameters": found.parameters, "layers": layers}))
    else:
        print(found)
