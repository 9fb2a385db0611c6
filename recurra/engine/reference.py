"""The reference engine: a Python loop over time. Slow, obviously right, and the judge of every other engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.ragged import Ragged, put_rows
from recurra.shapes import describe, shape_text

__all__ = ["Stepped", "WithStep", "checked", "run", "run_padded"]


class Stepped(Protocol):
    """What can be stepped: a cell, or as much of one as this engine must know."""

    @property
    def State(self) -> Any:
        """Class of the states."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output of one sequence."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """One time step."""


@dataclass(frozen=True)
class WithStep:
    """A cell with another step, as far as this engine must know it."""

    cell: Stepped
    step: Callable[[Tensor, Any], tuple[Tensor, Any]]

    @property
    def State(self) -> Any:
        return self.cell.State

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.cell.output_shape


Read = Callable[[Tensor, list[int]], Iterable[Tensor]]


def run(cell: Stepped, x: Ragged, state: Any, read: Read = Tensor.split) -> tuple[Tensor, Any]:
    """Step every sequence from its first step to its last.

    Sequences are ordered by falling length, so that those still running at step t are the first rows of the batch; a
    sequence that has ended leaves the batch with its state, and padding does not exist.

    Shapes: x.values [N, *input_shape] without resets, fields of state [B, ...] -> outputs [N, *output_shape], state
        after the last steps.

    Args:
        cell: what is stepped.
        x: the sequences.
        state: before the first steps.
        read: gives the inputs of each step, from the rows of all steps in their order and the rows of each step.
    """
    order = x.lengths.argsort(descending=True, stable=True)
    starts = x.offsets[:-1][order]
    running = _counts(x)
    fields = tuple(field.index_select(0, order) for field in state)
    # the rows of x in the order of the steps; taken at once, for a gradient of each row alone would be one of all of x
    rows = torch.cat([starts[:0], *(starts[:count] + t for t, count in enumerate(running))])
    inputs = read(x.values.index_select(0, rows), running)
    ended: list[tuple[Tensor, ...]] = []  # states of the sequences that ended, the shortest first
    outputs: list[Tensor] = []
    for count, inputs_t in zip(running, inputs, strict=True):
        fields, done = _cut(fields, count)
        ended.append(done)
        output, after = checked(cell, cell.step(inputs_t, cell.State(*fields)), fields)
        outputs.append(output)
        fields = tuple(after)
    ended.append(fields)
    # the longest sequences stand first, so what ended last is put first
    final = [torch.cat([done[index] for done in reversed(ended)]) for index in range(len(fields))]
    back = order.argsort()
    last = cell.State(*(field.index_select(0, back) for field in final))
    if not outputs:
        return x.values.new_zeros(0, *cell.output_shape), last
    return put_rows(torch.cat(outputs), rows, len(rows)), last


def run_padded(cell: Stepped, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """As `run`, for sequences of one length: nothing looks at a value, so that torch's tracers can follow.

    Shapes: x [T, B, *input_shape], fields of state [B, ...] -> outputs [T, B, *output_shape], state after the
        last step.
    """
    fields = tuple(state)
    outputs: list[Tensor] = []
    for inputs in x.unbind() if x.shape[1] else ():
        output, after = checked(cell, cell.step(inputs, cell.State(*fields)), fields)
        outputs.append(output)
        fields = tuple(after)
    values = torch.stack(outputs) if outputs else x.new_zeros(*x.shape[:2], *cell.output_shape)
    return values, cell.State(*fields)


def _counts(x: Ragged) -> list[int]:
    """For each time step, how many sequences have that step."""
    return torch.bincount(x.position, minlength=x.max_length).tolist()


def _cut(fields: tuple[Tensor, ...], count: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    if count == len(fields[0]):  # nothing ended; spares a slice for each field and step
        return fields, tuple(field[:0] for field in fields)
    return tuple(field[:count] for field in fields), tuple(field[count:] for field in fields)


def checked(cell: Stepped, result: Any, before: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
    """What a step returned, as output and state, once it is known to keep the contract.

    Raises:
        ShapeError: it is no pair, the state has another type or shape than before, or the output is not
            [B, *output_shape].
    """
    # looked at before it is unpacked: a lone tensor would be taken apart into its rows
    if not isinstance(result, tuple | list) or len(result) != 2 or isinstance(result, cell.State):
        got = f"{len(result)} things" if type(result) in (tuple, list) else describe(result)
        raise ShapeError(f"`{_name(cell)}.step` must return (output, {cell.State.__name__}), got {got}.")
    output, after = result
    _check(cell, output, after, before)
    return output, after


def _check(cell: Stepped, output: Any, after: Any, before: tuple[Tensor, ...]) -> None:
    name = _name(cell)
    if not isinstance(after, cell.State):
        raise ShapeError(
            f"`{name}.step` must return (output, {cell.State.__name__}), got a state of {describe(after)}."
        )
    for field, new, old in zip(cell.State._fields, after, before, strict=True):
        if not isinstance(new, Tensor) or new.shape != old.shape:
            raise ShapeError(
                f"`{name}.step` must keep the shape of `state.{field}` {list(old.shape)}, returned {describe(new)}."
            )
        if (new.is_floating_point(), new.is_complex()) != (old.is_floating_point(), old.is_complex()):
            raise ShapeError(f"`{name}.step` must keep the type of `state.{field}` {old.dtype}, returned {new.dtype}.")
    num_rows = before[0].shape[0]  # not its length, which would be a number to tracers
    if not isinstance(output, Tensor) or output.shape != (num_rows, *cell.output_shape):
        how = "set `output_size` in the cell's `__init__`" if len(cell.output_shape) == 1 else "see `output_shape`"
        raise ShapeError(
            f"`{name}.step` must return an output of shape {shape_text(f'B={num_rows}', O=cell.output_shape)}, got "
            f"{describe(output)}; {how}."
        )


def _name(cell: Stepped) -> str:
    return type(cell.cell if isinstance(cell, WithStep) else cell).__name__
