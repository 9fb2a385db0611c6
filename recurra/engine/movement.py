"""Calls that move numbers and change none: slices, concatenations, views, transposes, padding.

The call itself, run on the places of the numbers in place of the numbers, says where each number of its result comes
from. What it says is read off in stretches, each one a slice of a source or one number many times; or, where that makes
fewer pieces, in boxes, each one a view of a source.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from recurra.engine.loop import Map, Value
from recurra.engine.rows import row_axis, row_shape
from recurra.engine.trace import Unsupported, batch_factor, op_name

__all__ = ["MAX_PIECES", "Box", "Piece", "boxes", "origins", "pieces", "places_of"]

MAX_PIECES = 64  # a result in more pieces than this makes more code than it is worth
_TURNS = (2, 3, 4)
_ROW = 1 << 40  # what the places of the second row are ahead of those of the first

# (source, first place, how many numbers, whether it is one number many times)
Piece = tuple[Value, int, int, bool]
# (source, its places, places of the result)
Box = tuple[Value, Map, Map]
Table = np.ndarray[Any, np.dtype[np.int64]]


def places_of(value: Value, count: int) -> tuple[Value, Tensor]:
    """The value whose memory is read, and the place in it of each of `count` numbers; one number serves them all."""
    if value.op == "view":
        source, view = value.args
        places = torch.tensor([view.start], device="cpu")
        for size, stride in zip(view.sizes, view.strides, strict=True):
            places = (places[:, None] + stride * torch.arange(size, device="cpu")).flatten()
        return source, places
    places = torch.arange(count, device="cpu")
    return value, places if value.width == count else torch.zeros_like(places)


def origins(node: fx.Node, value_of: Any) -> tuple[list[Value], Tensor]:
    """The sources of a call that only moves numbers, and for each number of a row its place among them.

    Two rows are moved, so that a call which takes a row of its result from another row is found.

    Shapes: -> sources, places [*the shape of a row].

    Raises:
        Unsupported: it mixes rows.
    """
    sources: list[Value] = []

    def places(arg: Any) -> Any:
        if isinstance(arg, tuple | list):
            return [places(item) for item in arg]
        if not isinstance(arg, fx.Node):
            return 2 * batch_factor(arg) or arg
        before = sum(source.width for source in sources)
        shape = row_shape(arg)
        source, index = places_of(value_of(arg), torch.Size(shape).numel())
        sources.append(source)
        index = before + index.reshape(shape)
        axis = row_axis(arg)
        return index if axis is None else torch.stack([index, index + _ROW], axis).flatten(axis, axis + 1)

    args = [places(arg) for arg in node.args]
    result = _call(node, args, sources, value_of)
    axis, shape = row_axis(node), row_shape(node)
    if axis is not None and result.numel() == 2 * torch.Size(shape).numel():
        first, second = result.reshape(*shape[:axis], 2, *shape[axis:]).unbind(axis)
        if bool((first < _ROW).all()) and torch.equal(first, second % _ROW):
            return sources, first
    raise Unsupported(op_name(node), "it mixes the rows of the batch")


def _call(node: fx.Node, args: list[Any], sources: list[Value], value_of: Any) -> Tensor:
    kind: Any = node.target
    if op_name(node) == "constant_pad_nd":
        fill = node.args[2] if len(node.args) > 2 else 0.0
        before = sum(source.width for source in sources)
        sources.append(value_of(fill))
        return kind(args[0], args[1], before)
    return kind(*args, **node.kwargs)


def pieces(sources: list[Value], places: Any) -> Iterator[Piece]:
    """Read places off in stretches."""
    table = np.asarray(places, np.int64).reshape(-1)
    begins = _begins(sources)
    owner = np.searchsorted(begins, table, side="right") - 1
    ahead = np.diff(table)
    # where a stretch of places that follow each other ends, and one of places that are all the same
    follow = np.flatnonzero((ahead != 1) | (np.diff(owner) != 0)) + 1
    repeat = np.flatnonzero(ahead != 0) + 1
    at = 0
    while at < len(table):
        same = at + 1 < len(table) and table[at + 1] == table[at]
        ends = repeat if same else follow
        next_end = np.searchsorted(ends, at, side="right")
        end = int(ends[next_end]) if next_end < len(ends) else len(table)
        index = int(owner[at])
        yield sources[index], int(table[at] - begins[index]), end - at, bool(same)
        at = end


def _begins(sources: list[Value]) -> Table:
    return np.cumsum([0, *(source.width for source in sources[:-1])], dtype=np.int64)


def boxes(sources: list[Value], places: Tensor) -> list[Box]:
    """Read places off in boxes, at most `MAX_PIECES` + 1 of them. Shapes: places [*the shape of a row]."""
    table = np.asarray(places, np.int64)
    begins = _begins(sources)
    owner = np.searchsorted(begins, table, side="right") - 1
    goal = np.arange(table.size, dtype=np.int64).reshape(table.shape)
    found = []
    for places_, owners, goals in islice(_boxes(table, owner, goal), MAX_PIECES + 1):
        index = int(owners.flat[0])
        source = _map(places_)
        moved = Map(source.start - int(begins[index]), source.sizes, source.strides)
        found.append((sources[index], moved.joined(), _map(goals).joined()))
    return found


def _boxes(table: Table, owner: Table, goal: Table) -> Iterator[tuple[Table, Table, Table]]:
    """Cut where it makes the fewest parts until in each part every axis goes on in equal steps."""
    axes = range(table.ndim)
    cuts = [_cuts(table, owner, axis) for axis in axes]
    if not any(cuts):
        cuts = [_uneven(table, axis) for axis in axes]
    if not any(cuts):
        yield table, owner, goal
        return
    axis = min((axis for axis in axes if cuts[axis]), key=lambda axis: (len(cuts[axis]), axis))
    step = _turns(table, owner, axis, len(cuts[axis]))
    for part in zip(*(_parts(array, axis, cuts[axis], step) for array in (table, owner, goal)), strict=True):
        yield from _boxes(*part)


def _parts(table: Table, axis: int, cuts: list[int], step: int) -> list[Table]:
    """A table in parts: cut along an axis, or, with a step, every so many slices of it together."""
    if step == 1:
        return np.split(table, cuts, axis)
    along = np.moveaxis(table, axis, 0)
    return [np.moveaxis(along[start::step], 0, axis) for start in range(step)]


def _turns(table: Table, owner: Table, axis: int, cuts: int) -> int:
    """How many slices take turns along an axis, as those of an image with zeros between its lines; 1 if none do."""
    for step in _TURNS:
        if cuts >= step:
            parts = zip(_parts(table, axis, [], step), _parts(owner, axis, [], step), strict=True)
            if not any(_cuts(part, its_owner, axis) for part, its_owner in parts):
                return step
    return 1


def _cuts(table: Table, owner: Table, axis: int) -> list[int]:
    """Where, along an axis, the steps from one slice to the next are others than before, or their sources are."""
    if table.shape[axis] < 2 or not table.size:
        return []
    steps, owners = (np.moveaxis(np.diff(array, axis=axis), axis, 0) for array in (table, owner))
    steps = steps.reshape(len(steps), -1)
    goes_on = (owners.reshape(len(steps), -1) == 0).all(axis=1)
    is_same = [False, *(steps[1:] == steps[:-1]).all(axis=1)]
    cuts: list[int] = []
    is_first = True  # of the steps of a part
    for at in range(len(steps)):
        if not goes_on[at] or not (is_first or is_same[at]):
            cuts.append(at + 1)
            is_first = True
        else:
            is_first = False
    return cuts


def _uneven(table: Table, axis: int) -> list[int]:
    """Every place along an axis, where the steps along it are not the same all over the other axes."""
    steps = np.diff(table, axis=axis)
    return [*range(1, table.shape[axis])] if steps.size and (steps != steps.flat[0]).any() else []


def _map(table: Table) -> Map:
    corner = (0,) * table.ndim
    ends = [(*corner[:axis], min(1, size - 1), *corner[axis + 1 :]) for axis, size in enumerate(table.shape)]
    return Map(int(table[corner]), table.shape, tuple(int(table[end] - table[corner]) for end in ends))
