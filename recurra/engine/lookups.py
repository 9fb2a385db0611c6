"""Rewrites of numbers at listed places, `h[:, places]`, where the list is a buffer, which may change after compiling,
or leaps about too often to be read in stretches; and at places that each row computes, `memory[rows, place]` or
`table[place]`.

All places are compared with those of the list, once for all steps; what is not there counts as zero, whatever it is.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses import FakeTensor

from recurra.engine.graph_writer import GraphWriter
from recurra.engine.movement import MAX_PIECES
from recurra.engine.rows import row_axis
from recurra.engine.taken_apart import MOST_PLACES
from recurra.engine.trace import BATCH, named_as, op_name

__all__ = ["lookups"]

aten = torch.ops.aten


_MOST_READ = 1 << 16  # numbers of a table that torch could read at one place


def lookups(graph: fx.Graph, *, of_input: bool = False) -> None:
    """`index` and `index_put` by a list of places for all sequences or a place of each.

    Args:
        graph: changed in place.
        of_input: also those of the input alone, which torch does before the loop where it has all steps; of a table, up
            to a size beyond which it is slower than torch.
    """
    unknown: set[fx.Node] = set()  # what is made of parameters and buffers
    hoisted: set[fx.Node] = set()  # what is made of the input besides
    is_input_next = True
    for node in list(graph.nodes):
        operands = node.all_input_nodes
        if node.op == "placeholder":
            if row_axis(node) is None:
                unknown.add(node)
            elif is_input_next:  # it is the first that has rows
                hoisted.add(node)
                is_input_next = False
            continue
        if operands and unknown.issuperset(operands):
            unknown.add(node)
            continue
        if any(arg in hoisted for arg in operands) and (hoisted | unknown).issuperset(operands):
            hoisted.add(node)
            if not of_input or _reads_much(node):
                continue
        if node.target in (aten.index.Tensor, aten.index_put.default):
            if found := _list_of(node, unknown):
                _compare(node, *found)
            else:
                _look_up(node, *node.args[:2])
        elif node.target is aten.embedding.default:
            _look_up(node, node.args[0], [node.args[1]])


def _reads_much(node: fx.Node) -> bool:
    source: Any = node.args[0] if node.target in (aten.index.Tensor, aten.embedding.default) else None
    return source is not None and row_axis(source) is None and source.meta["val"].numel() > _MOST_READ


def _list_of(node: fx.Node, unknown: set[fx.Node]) -> tuple[int, fx.Node] | None:
    """The axis and the list of places of a look-up that is to be rewritten."""
    source: Any = node.args[0]
    lists: Any = node.args[1]
    named = [(axis, places) for axis, places in enumerate(lists) if places is not None]
    if len(named) != 1 or row_axis(source) in (None, named[0][0]):
        return None
    axis, places = named[0]
    value = places.meta["val"]
    is_list = (places in unknown or _leaps(places)) and value.dim() > 0 and value.dtype in (torch.int64, torch.int32)
    return (axis, places) if is_list else None


def _leaps(places: fx.Node) -> bool:
    """Whether a list that is written in the step makes more pieces than a move can have."""
    value = places.meta["val"]
    is_written = places.op == "call_function" and not places.args and not isinstance(value, FakeTensor)
    return is_written and value.dim() > 0 and int((value.flatten().diff().diff() != 0).sum()) >= MAX_PIECES


def _from_the_front(places: Tensor, size: int) -> Tensor:
    """Places as counted from the front, where -1 is the last.

    Raises:
        IndexError: there is no such place.
    """
    if not isinstance(places, FakeTensor):
        wrong = places[(places < -size) | (places >= size)]
        if len(wrong):
            raise IndexError(f"place {int(wrong[0])} is out of bounds for an axis with size {size}")
    return places.remainder(size)


named_as(aten.remainder, _from_the_front)


def _compare(node: fx.Node, axis: int, places: fx.Node) -> None:
    writer = GraphWriter(node)
    source: Any = node.args[0]
    shape = source.meta["val"].shape
    size, count, behind = shape[axis], places.meta["val"].numel(), shape[axis + 1 :]
    every = writer.view(writer.call(aten.arange.default, size), size, 1)
    goal = writer.view(writer.call(_from_the_front, places, size), count)
    is_there = writer.view(writer.call(aten.eq.Tensor, every, goal), size, -1, *[1] * len(behind))
    if node.target is aten.index.Tensor:
        found = _where(writer, is_there, writer.call(aten.unsqueeze.default, source, axis + 1))
        found = writer.call(aten.sum.dim_IntList, found, [axis])
        writer.replace(writer.view(found, *node.meta["val"].shape))
        return
    adds_up = len(node.args) > 3 and node.args[3]
    new: Any = node.args[2]
    new = writer.call(aten.expand.default, new, [*shape[:axis], *places.meta["val"].shape, *behind])
    new = writer.view(new, *shape[:axis], count, *behind)
    if not adds_up:  # what is written first to a place that is listed twice is gone
        is_written = writer.call(aten.any.dim, is_there, 1)
        is_there = writer.call(aten.logical_and.default, is_there, _is_last(writer, goal, count, len(behind)))
        source = _where(writer, writer.call(aten.logical_not.default, is_written), source)
    found = _where(writer, is_there, writer.call(aten.unsqueeze.default, new, axis))
    writer.replace(writer.call(aten.add.Tensor, source, writer.call(aten.sum.dim_IntList, found, [axis + 1])))


def _is_last(writer: GraphWriter, places: fx.Node, count: int, behind: int) -> fx.Node:
    """Whether a place does not come again in a list, [count] with so many axes behind."""
    number = writer.call(aten.arange.default, count)
    is_same = writer.call(aten.eq.Tensor, writer.view(places, count, 1), places)
    is_later = writer.call(aten.lt.Tensor, writer.view(number, count, 1), number)
    comes_again = writer.call(aten.any.dim, writer.call(aten.logical_and.default, is_same, is_later), 1)
    return writer.view(writer.call(aten.logical_not.default, comes_again), count, *[1] * behind)


def _look_up(node: fx.Node, source: Any, lists: Any) -> None:
    """`memory[rows, places]`, a place of each row of its own, or `table[places]`, rows of parameters."""
    is_own = len(lists) == 2 and _counts_rows(lists[0]) and row_axis(source) == 0
    places = lists[-1]
    if not is_own and (len(lists) != 1 or places is None or row_axis(source) is not None):
        return
    size, *sizes = source.meta["val"].shape[is_own:]
    value = places.meta["val"]
    if value.dtype == torch.bool or row_axis(places) != 0 or value.dim() > 2 or size * value[:1].numel() > MOST_PLACES:
        return
    writer = GraphWriter(node)
    behind = writer.call(aten.add.Tensor, places, size)  # -1 is the last
    places = writer.call(aten.where.self, writer.call(aten.lt.Scalar, places, 0), behind, places)
    places = writer.call(aten.unsqueeze.default, places, value.dim())
    is_there = writer.call(aten.eq.Tensor, writer.call(aten.arange.default, size), places)  # [B, .., n]
    if node.target is aten.index_put.default:
        _put(node, writer, is_there, is_own)
        return
    if is_own:  # [B, 1, n, ..]
        source = writer.view(source, len(value), *[1] * (value.dim() - 1), size, *sizes)
    found = _where(writer, writer.view(is_there, *is_there.meta["val"].shape, *[1] * len(sizes)), source)
    writer.replace(writer.call(aten.sum.dim_IntList, found, [value.dim()]))


def _counts_rows(node: Any) -> bool:
    """Whether a list is 0, 1, .. for all rows, also with an axis of one place more."""
    while isinstance(node, fx.Node) and node.target in (
        aten.unsqueeze.default,
        aten.reshape.default,
        aten.view.default,
    ):
        node = node.args[0]
    return (
        isinstance(node, fx.Node) and op_name(node) == "arange" and row_axis(node) == 0 and node.args[0] in (0, BATCH)
    )


def _where(writer: GraphWriter, is_there: fx.Node, source: fx.Node) -> fx.Node:
    return writer.call(aten.where.self, is_there, source, writer.call(aten.zeros_like.default, source))


def _put(node: fx.Node, writer: GraphWriter, is_there: fx.Node, is_own: bool) -> None:
    """Write at one place of each row, or add up what there is for a place: in the row, or in a table of all rows."""
    target: Any = node.args[0]
    new: Any = node.args[2]
    adds_up = len(node.args) > 3 and node.args[3]
    rows, *others, size = is_there.meta["val"].shape
    sizes = target.meta["val"].shape[1 + is_own :]
    if not adds_up and (others or not is_own):
        return
    new = writer.call(aten.expand.default, new, [rows, *others, *sizes])
    if not is_own:
        every = rows * math.prod(others)
        counts = writer.call(aten._to_copy.default, writer.view(is_there, every, size), dtype=new.meta["val"].dtype)
        made = writer.call(aten.mm.default, writer.turn(counts, 1, 0), writer.view(new, every, math.prod(sizes)))
        writer.replace(writer.call(aten.add.Tensor, target, writer.view(made, size, *sizes)))
        return
    is_there = writer.view(is_there, rows, *others, size, *[1] * len(sizes))
    new = writer.call(aten.unsqueeze.default, new, 1 + len(others))
    if not adds_up:
        writer.replace(writer.call(aten.where.self, is_there, new, target))
        return
    made = _where(writer, is_there, new)
    if others:
        made = writer.call(aten.sum.dim_IntList, made, [1])
    writer.replace(writer.call(aten.add.Tensor, target, made))
