"""Rewrites of numbers at listed places, `h[:, places]`, where the list is a buffer, which may change after compiling,
or leaps about too often to be read in stretches.

All places are compared with those of the list, once for all steps; what is not there counts as zero, whatever it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses import FakeTensor

from recurra.engine.graph_writer import GraphWriter
from recurra.engine.movement import MAX_PIECES
from recurra.engine.rows import row_axis
from recurra.engine.trace import named_as

__all__ = ["lookups_in_buffers"]

aten = torch.ops.aten


def lookups_in_buffers(graph: fx.Graph) -> None:
    """`index` and `index_put` by one list of places for all sequences; of the input alone, torch does it before."""
    unknown: set[fx.Node] = set()  # what is made of parameters and buffers
    of_input: set[fx.Node] = set()
    is_input_next = True
    for node in list(graph.nodes):
        operands = node.all_input_nodes
        if node.op == "placeholder":
            if row_axis(node) is None:
                unknown.add(node)
            elif is_input_next:  # it is the first that has rows
                of_input.add(node)
                is_input_next = False
            continue
        if operands and unknown.issuperset(operands):
            unknown.add(node)
        elif any(arg in of_input for arg in operands) and (of_input | unknown).issuperset(operands):
            of_input.add(node)
        elif node.target in (aten.index.Tensor, aten.index_put.default) and (found := _list_of(node, unknown)):
            _compare(node, *found)


def _list_of(node: fx.Node, unknown: set[fx.Node]) -> tuple[int, fx.Node] | None:
    """The axis and the list of places of a look-up that is to be rewritten."""
    source: Any = node.args[0]
    lists: Any = node.args[1]
    named = [(axis, places) for axis, places in enumerate(lists) if places is not None]
    if len(named) != 1 or row_axis(source) in (None, named[0][0]):
        return None
    axis, places = named[0]
    value = places.meta["val"]
    is_list = (places in unknown or _leaps(places)) and value.dim() == 1 and value.dtype in (torch.int64, torch.int32)
    adds_up = node.target is aten.index.Tensor or (len(node.args) > 3 and node.args[3])
    return (axis, places) if is_list and adds_up else None


def _leaps(places: fx.Node) -> bool:
    """Whether a list that is written in the step makes more pieces than a move can have."""
    value = places.meta["val"]
    is_written = places.op == "call_function" and not places.args and not isinstance(value, FakeTensor)
    return is_written and value.dim() == 1 and int((value.diff().diff() != 0).sum()) >= MAX_PIECES


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
    size, rank = source.meta["val"].shape[axis], source.meta["val"].dim()
    every = writer.view(writer.call(aten.arange.default, size), size, 1)
    is_there = writer.call(aten.eq.Tensor, every, writer.call(_from_the_front, places, size))
    is_there = writer.view(is_there, size, -1, *[1] * (rank - axis - 1))
    if node.target is aten.index.Tensor:
        spread = writer.call(aten.unsqueeze.default, source, axis + 1)
        zero = writer.call(aten.zeros_like.default, spread)
        found = writer.call(aten.where.self, is_there, spread, zero)
        writer.replace(writer.call(aten.sum.dim_IntList, found, [axis]))
    else:
        spread = writer.call(aten.unsqueeze.default, node.args[2], axis)
        zero = writer.call(aten.zeros_like.default, spread)
        found = writer.call(aten.where.self, is_there, spread, zero)
        writer.replace(writer.call(aten.add.Tensor, source, writer.call(aten.sum.dim_IntList, found, [axis + 1])))
