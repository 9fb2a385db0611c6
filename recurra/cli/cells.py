"""`recurra cells`: the cells by name, what they cost, their equations and options, their papers."""

from __future__ import annotations

import inspect
import sys
from typing import Annotated

import typer

from recurra.cells.registry import CELLS, CellOption, cell_options, cell_sources, find_cell
from recurra.cells.summary import CellSummary, cell_summary
from recurra.cli.options import as_typed
from recurra.cli.show import print_heading, print_table

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cells")(cells)


def cells(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One cell: its equations and options.")] = None,
    cite: Annotated[str | None, typer.Option("--cite", metavar="NAME", help="BibTeX of a cell's papers.")] = None,
    input_size: Annotated[
        int, typer.Option("--input-size", metavar="INTEGER", min=1, help="Numbers in one input vector, for the counts.")
    ] = 128,
    hidden_size: Annotated[
        int, typer.Option("--hidden-size", metavar="INTEGER", min=1, help="Units of a cell, for the counts.")
    ] = 128,
) -> None:
    """List the cells with their parameters, their state and their paper, describe one, or cite its papers."""
    with as_typed(["input_size", "hidden_size"]):
        if cite is not None:
            print("\n\n".join(source.bibtex() for source in cell_sources(cite)))
        elif name is not None:
            _describe(cell_summary(name, input_size, hidden_size))
        else:
            _list([cell_summary(each, input_size, hidden_size) for each in CELLS])


def _list(summaries: list[CellSummary]) -> None:
    rows = [
        [one.name, f"{one.parameters:,}", f"{one.state_size:,}", one.source.title, str(one.source.year)]
        for one in summaries
    ]
    print_table(["cell", "parameters", "state", "paper", "year"], rows, numbers=["parameters", "state"])
    first = summaries[0]
    sizes = [f"I={first.input_size}, H={first.hidden_size}"]
    sizes += [f"{one.name} {_options(one)}" for one in summaries if one.options]
    print(f"Counted with {'; '.join(sizes)}.", file=sys.stderr)


def _describe(summary: CellSummary) -> None:
    text = inspect.getdoc(find_cell(summary.name)) or ""
    print_heading(summary.name)
    print(text.split("\nArgs:")[0].rstrip())
    print(f"\n{_sizes(summary)}: {_counts(summary)}")
    options = cell_options(summary.name)
    if options:
        print()
        print_table(["option", "default", "what"], [[each.name, _default(each), each.description] for each in options])


def _sizes(summary: CellSummary) -> str:
    sizes = f"With I={summary.input_size}, H={summary.hidden_size}"
    return f"{sizes}, {_options(summary)}" if summary.options else sizes


def _options(summary: CellSummary) -> str:
    return ", ".join(f"{name}={value}" for name, value in summary.options.items())


def _counts(summary: CellSummary) -> str:
    fields = ", ".join(f"{name} {size:,}" for name, size in summary.state.items())
    fixed = f" and {summary.buffers:,} fixed numbers" if summary.buffers else ""
    return f"{summary.parameters:,} parameters{fixed}; the state of a sequence is {fields}."


def _default(option: CellOption) -> str:
    return "(needed)" if option.required else str(option.default)
