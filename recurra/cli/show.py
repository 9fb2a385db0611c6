"""Tables on stdout: framed where somebody looks at a wide terminal, plain lines where a program reads."""

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
    """One table; on a terminal too narrow for its words it is plain lines, too, for a frame would cut numbers in two.

    Args:
        columns: headings; where all are empty, none are printed.
        rows: cells as text.
        numbers: headings of columns whose cells stand at the right.
    """
    console, rows = Console(highlight=False), list(rows)
    if sys.stdout.isatty():
        table = _table(columns, rows, numbers, framed=True)
        needed = console.measure(table, options=console.options.update(width=PLAIN_WIDTH)).minimum
        if needed <= console.width:
            console.print(table)
            return
    console = Console(highlight=False, width=PLAIN_WIDTH, no_color=True)
    with console.capture() as captured:
        console.print(_table(columns, rows, numbers, framed=False))
    for line in captured.get().splitlines():
        print(line.rstrip())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], *, framed: bool) -> Table:
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
    return table
