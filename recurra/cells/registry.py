"""Cells by name, for configs and the command line: what there is, with which options, from which papers."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

from recurra.cells.gru import GRU
from recurra.cells.lstm import LSTM
from recurra.cells.rnn import RNN
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError, did_you_mean

__all__ = ["CELLS", "CellOption", "cell_options", "cell_sources", "find_cell", "make_cell"]

CELLS: dict[str, type[Cell]] = {
    "gru": GRU,
    "lstm": LSTM,
    "rnn": RNN,
}


@dataclass(frozen=True)
class CellOption:
    """One keyword of a cell's constructor.

    Args:
        name: the keyword.
        kind: its type, as the constructor writes it, e.g. `"bool"`.
        default: what it is where not given.
        description: from the docstring of the class.
    """

    name: str
    kind: str
    default: Any
    description: str


def find_cell(name: str) -> type[Cell]:
    """The class of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in CELLS:
        raise ConfigError(f"Unknown cell `{name}`.{did_you_mean(name, CELLS)} All: {', '.join(CELLS)}.")
    return CELLS[name]


def make_cell(name: str, input_size: int, hidden_size: int, **options: Any) -> Cell:
    """A cell by its name.

        make_cell("lstm", 32, 64, peephole=True)

    Args:
        name: `"rnn"`, `"lstm"`, `"gru"`; all: `CELLS`.
        input_size: I, numbers in one input vector.
        hidden_size: H, units.
        options: keywords of the cell's constructor; `cell_options` lists them.

    Raises:
        ConfigError: the name or an option is unknown, or an option has a value that cannot be.
    """
    kind = find_cell(name)
    known = [option.name for option in cell_options(name)]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"The cell `{name}` has no option `{option}`.{did_you_mean(option, known)} All: {', '.join(known)}."
            )
    return kind(input_size, hidden_size, **options)


def cell_options(name: str) -> list[CellOption]:
    """The options of a cell, in the order of its constructor."""
    kind = find_cell(name)
    described = _described_arguments(kind)
    return [
        CellOption(parameter.name, str(parameter.annotation), parameter.default, described.get(parameter.name, ""))
        for parameter in inspect.signature(kind.__init__).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]


def cell_sources(name: str) -> list[Source]:
    """The paper of a cell, then those of its options."""
    kind = find_cell(name)
    sources = [kind.source, *getattr(kind, "option_sources", {}).values()]
    return [source for source in sources if source is not None]


def _described_arguments(kind: type[Cell]) -> dict[str, str]:
    """The Args section of a docstring, argument by argument, each on one line."""
    section = re.search(r"^Args:\n((?: .*\n|\n)*)", inspect.getdoc(kind) or "", re.MULTILINE)
    if section is None:
        return {}
    entries = re.split(r"^    (\w+): ", section.group(1), flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}
