"""The one door to the engines: `scan` runs a cell over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from recurra.engine import reference
from recurra.engine.contract import Cell
from recurra.errors import CompileError, ConfigError, ShapeError, did_you_mean
from recurra.ragged import Ragged
from recurra.shapes import describe

__all__ = ["ENGINES", "scan"]

Batch = TypeVar("Batch", Tensor, Ragged)
Engine = Callable[[Cell, Ragged, Any], tuple[Tensor, Any]]


def _auto(cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
    kernel = cell.kernel()
    if kernel is not None and kernel.supports(x.values):
        return kernel.run(x, state)
    return reference.run(cell, x, state)


def _torch(cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
    kernel = cell.kernel()
    if kernel is None or not kernel.supports(x.values):
        raise CompileError(
            f"torch has no kernel that computes `{cell}` on {x.values.dtype} exactly: use engine='auto' or 'reference'."
        )
    return kernel.run(x, state)


ENGINES: dict[str, Engine] = {
    "auto": _auto,  # the fastest engine that computes exactly the same
    "reference": reference.run,  # the Python loop
    "torch": _torch,  # torch's own kernels (oneDNN, cuDNN), or an error
}


def scan(
    cell: Cell,
    x: Batch,
    state: Any = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
    engine: str = "auto",
) -> tuple[Batch, Any]:
    """Run a cell over time.

        outputs, state = recurra.scan(cell, x)              # x [T, B, I] -> outputs [T, B, O]
        outputs, state = recurra.scan(cell, ragged)         # Ragged -> Ragged
        outputs, state = recurra.scan(cell, more, state)    # go on where the last call ended

    Shapes: x [T, B, I] or Ragged with values [N, I]; fields of state [B, ...] -> outputs [T, B, O] or Ragged with
        values [N, O], state.

    Args:
        cell: any `recurra.Cell`.
        x: the inputs, padded and time-major, or ragged.
        state: the state before the first step (the last one, with `reverse`); the cell's initial state where not given.
        lengths: steps of each sequence, [B], for padded inputs; what stands beyond them is never read, outputs there
            are 0, and the returned state is that after each sequence's own last step.
        resets: bool [T, B], for padded inputs: True where the state begins anew just before that step. A Ragged
            carries its own.
        reverse: run from the last step of each sequence to its first; outputs stay in the order of the inputs.
        engine: `"auto"` takes the fastest engine that computes exactly the same; `"reference"` is the Python loop.

    Raises:
        ShapeError: inputs, lengths, resets or state have the wrong shape.
        ConfigError: the engine is unknown.
        CompileError: the engine that was asked for cannot run this cell.
    """
    run = _engine(engine)
    ragged = _as_ragged(cell, x, lengths, resets)
    if cell.input_size != ragged.values.shape[1]:
        raise ShapeError(
            f"`x` must have I={cell.input_size} columns for `{type(cell).__name__}`, got {describe(_tensor(x))}."
        )
    state = cell.as_state(state, ragged.batch_size, like=ragged.values)
    with parametrize.cached():  # a weight drawn anew for each sequence (weight drop) is drawn once a scan
        values, state = _run_segments(run, cell, ragged, state, reverse)
    outputs = ragged.replace(values)
    if isinstance(x, Ragged):
        return outputs, state
    return outputs.to_padded(num_steps=len(x)), state


def _engine(name: str) -> Engine:
    if name not in ENGINES:
        raise ConfigError(f"Unknown engine `{name}`.{did_you_mean(name, ENGINES)} All: {', '.join(ENGINES)}.")
    return ENGINES[name]


def _tensor(x: Tensor | Ragged) -> Tensor:
    return x.values if isinstance(x, Ragged) else x


def _as_ragged(cell: Cell, x: Tensor | Ragged, lengths: Any, resets: Tensor | None) -> Ragged:
    if isinstance(x, Ragged):
        if lengths is not None or resets is not None:
            raise ShapeError("`lengths` and `resets` belong to padded inputs: a Ragged carries its own.")
        if x.values.dim() != 2:
            raise ShapeError(f"`x.values` must have shape [N, I={cell.input_size}], got {describe(x.values)}.")
        return x
    if not isinstance(x, Tensor) or x.dim() != 3:
        raise ShapeError(f"`x` must be a Ragged or have shape [T, B, I={cell.input_size}], got {describe(x)}.")
    return Ragged.from_padded(x, lengths, resets=resets)


def _run_segments(run: Engine, cell: Cell, x: Ragged, state: Any, reverse: bool) -> tuple[Tensor, Any]:
    """Turn resets and direction into plain sequences that run forward."""
    if reverse:
        values, state = _run_resets(run, cell, x.reverse(), state)
        return x.replace(values).reverse().values, state
    return _run_resets(run, cell, x, state)


def _run_resets(run: Engine, cell: Cell, x: Ragged, state: Any) -> tuple[Tensor, Any]:
    if x.resets is None:
        return run(cell, x, state)
    segments, origin = x.split_at_resets()
    fresh = cell.initial_state(segments.batch_size, dtype=x.values.dtype, device=x.values.device)
    changes = origin.diff() != 0
    edge = torch.ones(1, dtype=torch.bool, device=origin.device)
    first = torch.cat([edge, changes]).nonzero().flatten()[: x.batch_size]  # where each sequence begins
    last = torch.cat([changes, edge]).nonzero().flatten()[: x.batch_size]
    begin = cell.State(*(new.index_copy(0, first, old) for new, old in zip(fresh, state, strict=True)))
    values, after = run(cell, segments, begin)
    return values, cell.State(*(field.index_select(0, last) for field in after))
