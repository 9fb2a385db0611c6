"""Tables on stdout: framed where somebody looks at a terminal, plain lines where a program reads."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["print_heading", "print_table"]

PLAIN_WIDTH = 400  # columns of a line that nobody folds


def print_heading(text: str) -> None:
    """A line above a table."""
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(text, style="bold"))
    else:
        print(text)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """One table.

    Args:
        columns: headings; where all are empty, none are printed.
        rows: cells as text.
        numbers: headings of columns whose cells stand at the right.
    """
    framed = sys.stdout.isatty()
    table = Table(
        box=box.SIMPLE_HEAD if framed else None,
        show_header=any(columns),
        header_style="bold" if framed else "",
        padding=(0, 2, 0, 0),
        show_edge=False,
    )
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # Text: brackets in a cell are brackets
    if framed:
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=PLAIN_WIDTH, no_color=True)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())
