"""`recurra cells`: the cells by name, their options, their papers."""

from __future__ import annotations

from typing import Annotated

import typer

from recurra.cells.registry import CELLS, cell_options, cell_sources, find_cell
from recurra.cli.show import print_heading, print_table

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("cells")(cells)


def cells(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One cell: its equations and options.")] = None,
    cite: Annotated[str | None, typer.Option("--cite", metavar="NAME", help="BibTeX of a cell's papers.")] = None,
) -> None:
    """List the cells, describe one, or cite its papers."""
    if cite is not None:
        print("\n\n".join(source.bibtex() for source in _sources_of(cite)))
    elif name is not None:
        _describe(name)
    else:
        rows = [[each, _summary(each), *_paper(each)] for each in CELLS]
        print_table(["cell", "what", "paper", "year"], rows)


def _sources_of(name: str) -> list:  # type: ignore[type-arg]
    return cell_sources(name)


def _summary(name: str) -> str:
    return (find_cell(name).__doc__ or "").split("\n")[0].removesuffix(".")


def _paper(name: str) -> tuple[str, str]:
    sources = cell_sources(name)
    return (sources[0].title, str(sources[0].year)) if sources else ("", "")


def _describe(name: str) -> None:
    import inspect

    kind = find_cell(name)
    text = inspect.getdoc(kind) or ""
    print_heading(name)
    print(text.split("\nArgs:")[0].rstrip())
    options = cell_options(name)
    if options:
        print()
        print_table(
            ["option", "default", "what"], [[each.name, str(each.default), each.description] for each in options]
        )
