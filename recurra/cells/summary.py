"""What a cell costs: its parameters and the numbers that it carries from step to step, with its paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from recurra.cells.registry import cell_sources, find_cell, make_cell
from recurra.engine.contract import Source

__all__ = ["CellSummary", "cell_summary"]


@dataclass(frozen=True)
class CellSummary:
    """A cell of some size in figures; `recurra cells` prints one a line.

    Attributes:
        name: as in `CELLS`.
        description: the first line of its docstring.
        input_size: I.
        hidden_size: H.
        options: options of its constructor that are not at their defaults.
        parameters: numbers that are learned.
        buffers: numbers that are fixed, such as the weights of a reservoir; what is no floating-point number is not
            counted.
        state: fields of the state and the numbers of one sequence in each.
        source: its paper.
    """

    name: str
    description: str
    input_size: int
    hidden_size: int
    options: dict[str, Any]
    parameters: int
    buffers: int
    state: dict[str, int]
    source: Source

    @property
    def state_size(self) -> int:
        """Numbers that are carried from step to step for one sequence."""
        return sum(self.state.values())


def cell_summary(name: str, input_size: int = 128, hidden_size: int = 128, **options: Any) -> CellSummary:
    """A cell by its name, in figures.

        cell_summary("gru").parameters              # 99,072
        cell_summary("convlstm", 3, 64, size=(32, 32)).state_size

    Args:
        name: as in `CELLS`.
        input_size: I.
        hidden_size: H.
        options: of the cell's constructor; where none are given, an option without a default, such as the size of an
            image, is that of the cell's `example_options`.

    Raises:
        ConfigError: the name or an option is unknown, or an option has a value that cannot be.
    """
    kind = find_cell(name)
    options = {**getattr(kind, "example_options", {}), **options}
    with torch.random.fork_rng(devices=[]):  # looking at a cell draws nothing from the stream of the run
        cell = make_cell(name, input_size, hidden_size, **options)
        state = cell.initial_state(1)
    return CellSummary(
        name=name,
        description=(kind.__doc__ or "").split("\n")[0].removesuffix("."),
        input_size=input_size,
        hidden_size=hidden_size,
        options=options,
        parameters=sum(parameter.numel() for parameter in cell.parameters()),
        buffers=sum(buffer.numel() for buffer in cell.buffers() if buffer.is_floating_point()),
        state={name: field.numel() for name, field in zip(state._fields, state, strict=True)},
        source=cell_sources(name)[0],
    )
