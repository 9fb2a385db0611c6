"""What a cell with a memory does over time: where it reads and writes, and what stands in the memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.cells.memory_cell import MemoryCell
from recurra.cells.wrapper import unwrap
from recurra.engine.contract import Cell
from recurra.errors import ConfigError
from recurra.shapes import expect_shape

__all__ = ["memory_trace"]


def memory_trace(cell: Cell, x: Tensor, state: Any = None) -> dict[str, Tensor]:
    """Run a Neural Turing Machine or a Differentiable Neural Computer, and keep every step of it to look at.

        trace = memory_trace(cell, x)
        trace["write_weights"][:, 0, 0]       # [T, N]: where the first write head was, step by step

    No gradient is recorded. The cell runs in the mode that it is in.

    Shapes: x [T, B, I] -> output [T, B, O], memory [T, B, N, W], read_weights [T, B, R, N], write_weights
        [T, B, heads that write, N] and all other fields of the cell's state, each with T in front.

    Args:
        cell: an NTM or a DNC, wrapped or not.
        x: the inputs.
        state: the state before the first step; the cell's initial state where not given.

    Returns: `output` and every field of the state after each step, by name.

    Raises:
        ConfigError: the cell has no memory to look at.
        ShapeError: the inputs or the state have the wrong shape.
    """
    if not isinstance(unwrap(cell), MemoryCell):
        raise ConfigError(f"`memory_trace` looks into cells with a memory, NTM and DNC, got `{type(cell).__name__}`.")
    expect_shape("x", x, T=None, B=None, I=cell.input_size)
    state = cell.as_state(state, x.shape[1], like=x)
    begin = {"output": x.new_zeros(x.shape[1], cell.output_size), **state._asdict()}
    steps: list[dict[str, Tensor]] = []
    with torch.no_grad():
        for row in x:
            output, state = cell.step(row, state)
            steps.append({"output": output, **state._asdict()})
    return {
        name: torch.stack([step[name] for step in steps]) if steps else value.detach().new_zeros(0, *value.shape)
        for name, value in begin.items()
    }
