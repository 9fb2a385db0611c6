"""The reference engine: a Python loop over time. Slow, obviously right, and the judge of every other engine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.engine.contract import Cell
from recurra.errors import ShapeError
from recurra.ragged import Ragged, take_rows
from recurra.shapes import describe

__all__ = ["check_step", "run"]


def run(cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
    """Step every sequence from its first step to its last.

    Sequences are ordered by falling length, so that those still running at step t are the first rows of the batch; a
    sequence that has ended leaves the batch with its state, and padding does not exist.

    Shapes: x.values [N, I] without resets, fields of state [B, ...] -> outputs [N, O], state after the last steps.
    """
    order = x.lengths.argsort(descending=True, stable=True)
    starts = x.offsets[:-1][order]
    running = _counts(x)
    fields = tuple(field.index_select(0, order) for field in state)
    ended: list[tuple[Tensor, ...]] = []  # states of the sequences that ended, the shortest first
    outputs: list[Tensor] = []
    rows: list[Tensor] = []
    for t, count in enumerate(running):
        fields, done = _cut(fields, count)
        ended.append(done)
        rows.append(starts[:count] + t)
        output, after = cell.step(x.values.index_select(0, rows[-1]), cell.State(*fields))
        check_step(cell, output, after, fields)
        outputs.append(output)
        fields = tuple(after)
    ended.append(fields)
    # the longest sequences stand first, so what ended last is put first
    final = [torch.cat([done[index] for done in reversed(ended)]) for index in range(len(fields))]
    back = order.argsort()
    last = cell.State(*(field.index_select(0, back) for field in final))
    if not outputs:
        return x.values.new_zeros(0, cell.output_size), last
    return take_rows(torch.cat(outputs), torch.cat(rows).argsort()), last


def _counts(x: Ragged) -> list[int]:
    """For each time step, how many sequences have that step."""
    return torch.bincount(x.position, minlength=x.max_length).tolist()


def _cut(fields: tuple[Tensor, ...], count: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    if count == len(fields[0]):  # nothing ended; spares a slice for each field and step
        return fields, tuple(field[:0] for field in fields)
    return tuple(field[:count] for field in fields), tuple(field[count:] for field in fields)


def check_step(cell: Cell, output: Tensor, after: Any, before: tuple[Tensor, ...]) -> None:
    """Check what a step returned against the contract.

    Raises:
        ShapeError: the state has another type or shape than before, or the output is not [B, O].
    """
    name = type(cell).__name__
    if not isinstance(after, cell.State):
        raise ShapeError(
            f"`{name}.step` must return (output, {cell.State.__name__}), got a state of {describe(after)}."
        )
    for field, new, old in zip(cell.State._fields, after, before, strict=True):
        if new.shape != old.shape:
            raise ShapeError(
                f"`{name}.step` must keep the shape of `state.{field}` {list(old.shape)}, returned {list(new.shape)}."
            )
    num_rows = len(before[0])
    if output.shape != (num_rows, cell.output_size):
        raise ShapeError(
            f"`{name}.step` must return an output of shape [B={num_rows}, O={cell.output_size}], got "
            f"{describe(output)}; set `output_size` in the cell's `__init__`."
        )
