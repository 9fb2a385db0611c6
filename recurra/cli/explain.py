"""`recurra explain`: what the compiled engine makes of a cell, stage by stage."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

import recurra
from recurra.cells.registry import make_cell
from recurra.cli.options import as_typed, object_from
from recurra.errors import ConfigError, did_you_mean

__all__ = ["register"]

PRECISIONS = {"float32": torch.float32, "float64": torch.float64}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="A cell by name; all: `recurra cells`.")],
    stage: Annotated[
        str,
        typer.Option(
            "--stage",
            metavar="NAME",
            help="summary; trace, split, loop, schedule: from the step to its passes over memory; llvm, asm: the code.",
        ),
    ] = "summary",
    input_size: Annotated[
        int, typer.Option("--input-size", metavar="INTEGER", min=1, help="Numbers in one input vector.")
    ] = 32,
    hidden_size: Annotated[
        int, typer.Option("--hidden-size", metavar="INTEGER", min=1, help="Units of the cell.")
    ] = 64,
    cell_options: Annotated[
        str, typer.Option("--cell-options", metavar="JSON", help='Options of the cell, like {"peephole": true}.')
    ] = "{}",
    dtype: Annotated[str, typer.Option("--dtype", metavar="float32|float64", help="Precision.")] = "float32",
) -> None:
    """Show what the compiled engine makes of a cell: what is hoisted, what is kept, down to the machine code."""
    with as_typed(["stage", "input_size", "hidden_size", "cell_options", "dtype"]):
        if dtype not in PRECISIONS:
            raise ConfigError(f"`dtype` must be float32 or float64, got `{dtype}`.{did_you_mean(dtype, PRECISIONS)}")
        made = make_cell(cell, input_size, hidden_size, **object_from("cell_options", cell_options))
        print(recurra.explain(made, stage, dtype=PRECISIONS[dtype]))
