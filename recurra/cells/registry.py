"""Cells by name, for configs and the command line: what there is, with which options, from which papers."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

from recurra.cells.cfc import CfC
from recurra.cells.clockwork import Clockwork
from recurra.cells.conv import ConvGRU, ConvLSTM
from recurra.cells.cornn import CoRNN
from recurra.cells.dnc import DNC
from recurra.cells.echo_state import ESN
from recurra.cells.gru import GRU
from recurra.cells.indrnn import IndRNN
from recurra.cells.irnn import IRNN
from recurra.cells.jordan import Jordan
from recurra.cells.lem import LEM
from recurra.cells.lmu import LMU
from recurra.cells.lru import LRU
from recurra.cells.lstm import LSTM
from recurra.cells.mgu import MGU
from recurra.cells.min_rnn import MinGRU, MinLSTM
from recurra.cells.ntm import NTM
from recurra.cells.ornn import ORNN
from recurra.cells.qrnn import QRNN
from recurra.cells.rnn import RNN
from recurra.cells.sru import SRU
from recurra.cells.xlstm import MLSTM, SLSTM
from recurra.checks import check_known
from recurra.engine.contract import Cell, Source
from recurra.errors import ConfigError

__all__ = ["CELLS", "CellOption", "cell_options", "cell_sources", "find_cell", "make_cell"]

CELLS: dict[str, type[Cell]] = {
    "cfc": CfC,
    "clockwork": Clockwork,
    "convgru": ConvGRU,
    "convlstm": ConvLSTM,
    "cornn": CoRNN,
    "dnc": DNC,
    "esn": ESN,
    "gru": GRU,
    "indrnn": IndRNN,
    "irnn": IRNN,
    "jordan": Jordan,
    "lem": LEM,
    "lmu": LMU,
    "lru": LRU,
    "lstm": LSTM,
    "mgu": MGU,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "mlstm": MLSTM,
    "ntm": NTM,
    "ornn": ORNN,
    "qrnn": QRNN,
    "rnn": RNN,
    "slstm": SLSTM,
    "sru": SRU,
}


@dataclass(frozen=True)
class CellOption:
    """One keyword of a cell's constructor.

    Args:
        name: the keyword.
        kind: its type, as the constructor writes it, e.g. `"bool"`.
        default: what it is where not given; `inspect.Parameter.empty` where it must be given.
        description: from the docstring of the class.
    """

    name: str
    kind: str
    default: Any
    description: str

    @property
    def required(self) -> bool:
        """Whether the cell cannot be made without it."""
        return self.default is inspect.Parameter.empty


def find_cell(name: str) -> type[Cell]:
    """The class of that name.

    Raises:
        ConfigError: there is none.
    """
    bare, colon, _ = str(name).partition(":")
    if colon and bare in CELLS:
        raise ConfigError(f"The cell is `{bare}`: what follows the colon in `{name}` goes into `cell_options`.")
    check_known(name, CELLS, f"Unknown cell `{name}`")
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
        ConfigError: the name or an option is unknown, an option is missing, or one has a value that cannot be.
    """
    kind = find_cell(name)
    described = cell_options(name)
    known = [option.name for option in described]
    for option in options:
        check_known(option, known, f"The cell `{name}` has no option `{option}`")
    for each in described:
        if each.required and each.name not in options:
            raise ConfigError(f"The cell `{name}` needs the option `{each.name}`: {each.description}")
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
    return [source for source in dict.fromkeys(sources) if source is not None]  # one paper may be behind several


def _described_arguments(kind: type[Cell]) -> dict[str, str]:
    """The Args section of a docstring, argument by argument, each on one line."""
    section = re.search(r"^Args:\n((?: .*\n|\n)*)", inspect.getdoc(kind) or "", re.MULTILINE)
    if section is None:
        return {}
    entries = re.split(r"^    (\w+): ", section.group(1), flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}
