"""A rewrite of what stands as [n, B, ..] and is made [n * B, ..] for a product with a matrix, as [B * n, ..].

`nn.MultiheadAttention` and what else wants the batch second do so. Numbers of one sequence then stand apart, which no
row is: all of it is made in the order of rows, and turned where somebody looks at [n, B, ..] again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from recurra.engine.borders import is_transposed
from recurra.engine.graph_writer import GraphWriter
from recurra.engine.rows import shape_of
from recurra.engine.trace import BATCH, batch_factor

__all__ = ["rows_in_order"]

aten = torch.ops.aten


def rows_in_order(graph: fx.Graph) -> None:
    """Make again, in the order of rows, whatever is known to be made of rows one by one."""
    in_order: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        writer = GraphWriter(node)
        if node.target is aten.reshape.default and (count := _steps_first(node.args[0])):
            if shape_of(node)[:1] == (count * BATCH,):
                apart = writer.view(node.args[0], count, BATCH, -1)
                in_order[node] = writer.view(writer.turn(apart, 1, 0, 2), *shape_of(node))
        elif any(arg in in_order for arg in node.all_input_nodes):
            _go_on(writer, node, in_order)


def _go_on(writer: GraphWriter, node: fx.Node, in_order: dict[fx.Node, fx.Node]) -> None:
    args: Any = fx.map_arg(node.args, lambda arg: in_order.get(arg, arg))
    apart = [arg for arg in node.all_input_nodes if arg not in in_order]
    shape = shape_of(node)
    if node.target is aten.reshape.default and (count := _steps_first(node)):
        together = writer.view(args[0], BATCH, count, -1)
        writer.replace(writer.view(writer.turn(together, 1, 0, 2), *shape))
    elif node.target is aten.sum.dim_IntList and list(args[1]) == [0]:
        writer.replace(writer.call(node.target, *args))
    elif node.target is aten.mm.default and is_transposed(node.args[0]):  # a sum over all rows, in the same order
        if not apart:
            writer.replace(writer.call(node.target, *args))
    elif _is_by_rows(node) and not any(batch_factor(size) for arg in apart for size in shape_of(arg)):
        in_order[node] = writer.call(node.target, *args, **node.kwargs)
        assert shape_of(in_order[node]) == shape


def _is_by_rows(node: fx.Node) -> bool:
    is_pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
    return is_pointwise or node.target is aten.mm.default or is_transposed(node)


def _steps_first(node: Any) -> int:
    """n of a value [n, B, ..] or [n, B * heads, ..], n > 1; 0 of any other."""
    shape = shape_of(node)
    return shape[0] if len(shape) > 2 and shape[0] > 1 and not batch_factor(shape[0]) and batch_factor(shape[1]) else 0
