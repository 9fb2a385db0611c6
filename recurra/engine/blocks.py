"""Rewrites of products of a row's matrices with parameters into products of rows with one matrix.

torch spreads a parameter over the batch before it multiplies: `h[:, :, None, :] @ w` with a weight for each head copies
the weights for each sequence, and their gradient is a batch of outer products, summed up. Written as a product of
[heads, B, n] with [heads, n, m], then head by head, nothing is copied, weights are packed once, and the gradient is one
product over all steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from recurra.engine.borders import summed_axes
from recurra.engine.graph_writer import GraphWriter
from recurra.engine.rows import row_axis, row_shape, shape_of
from recurra.engine.trace import BATCH

__all__ = ["gradients_of_spread_weights", "products_of_heads", "products_of_spread_weights"]

aten = torch.ops.aten

_MAX_HEADS = 32  # more products than this make more code than they are worth
_VIEWS = (aten.reshape.default, aten.expand.default, aten.permute.default, aten.unsqueeze.default)


def _operands(product: fx.Node) -> tuple[fx.Node, fx.Node]:
    left: Any = product.args[0]
    right: Any = product.args[1]
    return left, right


def _spread_from(node: fx.Node) -> fx.Node | None:
    """The weights [f, k, m] that a value [B * f, k, m] is made of by repeating them for each sequence."""
    heads = row_shape(node)[0]
    source: Any = node
    while isinstance(source, fx.Node) and source.target in _VIEWS and row_axis(source) == 0:
        below: Any = source.args[0]
        if source.target is aten.expand.default and row_axis(below) is None:
            matches = math.prod(shape_of(below)) == heads * math.prod(shape_of(node)[1:])
            found: fx.Node = below
            return found if matches else None
        order: Any = source.args[1]
        if source.target is aten.permute.default and order[0] != 0:
            return None
        source = below
    return None


def _again(writer: GraphWriter, node: fx.Node, weights: fx.Node) -> fx.Node:
    """The views that made `node` of the spread weights, for one sequence: [f, k, m]."""
    chain: list[fx.Node] = []
    source: Any = node
    while source is not weights:
        chain.append(source)
        source = source.args[0]
    made = weights
    for view in reversed(chain):
        target, args = view.target, list(view.args[1:])
        if target in (aten.reshape.default, aten.expand.default):
            args = [list(row_shape(view))]
        made = writer.call(target, made, *args)
    return made


def products_of_spread_weights(graph: fx.Graph) -> None:
    """`bmm(rows [B * f, n, k], weights spread to [B * f, k, m])` as a product of [f, B * n, k] with [f, k, m]."""
    for node in list(graph.nodes):
        if node.target is not aten.bmm.default or row_axis(node) != 0:
            continue
        left, right = _operands(node)
        writer = GraphWriter(node)
        if (weights := _spread_from(right)) is not None and row_axis(left) == 0:
            writer.replace(_turned(writer, left, _again(writer, right, weights)))
        elif (weights := _spread_from(left)) is not None and row_axis(right) == 0:
            # (A b)' = b' A'
            flipped = writer.turn(_again(writer, left, weights), 0, 2, 1)
            made = _turned(writer, writer.turn(right, 0, 2, 1), flipped)
            writer.replace(writer.turn(made, 0, 2, 1))


def _turned(writer: GraphWriter, rows: fx.Node, weights: fx.Node) -> fx.Node:
    """Rows [B * f, n, k] times weights [f, k, m], as [B * f, n, m]."""
    heads, inner, outer = shape_of(weights)
    count = shape_of(rows)[1]
    apart = writer.turn(writer.view(rows, BATCH, heads, count, inner), 1, 0, 2, 3)
    made = writer.call(aten.bmm.default, writer.view(apart, heads, BATCH * count, inner), weights)
    together = writer.turn(writer.view(made, heads, BATCH, count, outer), 1, 0, 2, 3)
    return writer.view(together, BATCH * heads, count, outer)


def gradients_of_spread_weights(graph: fx.Graph) -> None:
    """The sum over the batch of `bmm([B * f, k, n], [B * f, n, m])` as one `bmm([f, k, B * n], [f, B * n, m])`."""
    for node in list(graph.nodes):
        if node.target is not aten.sum.dim_IntList or summed_axes(node) != [0]:
            continue
        product: Any = node.args[0]
        while isinstance(product, fx.Node) and product.target is aten.reshape.default:
            product = product.args[0]
        if not isinstance(product, fx.Node) or product.target is not aten.bmm.default:
            continue
        left, right = _operands(product)
        if row_axis(left) != 0 or row_axis(right) != 0 or shape_of(node.args[0])[0] != BATCH:
            continue
        writer = GraphWriter(node)
        heads, (_, k, n), m = row_shape(left)[0], shape_of(left), shape_of(right)[2]
        one = writer.turn(writer.view(left, BATCH, heads, k, n), 1, 2, 0, 3)
        other = writer.turn(writer.view(right, BATCH, heads, n, m), 1, 0, 2, 3)
        made = writer.call(
            aten.bmm.default, writer.view(one, heads, k, BATCH * n), writer.view(other, heads, BATCH * n, m)
        )
        writer.replace(writer.view(made, *shape_of(node)))


def products_of_heads(graph: fx.Graph) -> None:
    """`bmm(rows [f, B * n, k], weights [f, k, m])` head by head: each is a product of rows with a packed matrix."""
    for node in list(graph.nodes):
        if node.target is not aten.bmm.default or row_axis(node) != 1:
            continue
        rows, weights = _operands(node)
        if row_axis(rows) != 1 or row_axis(weights) is not None or shape_of(weights)[0] > _MAX_HEADS:
            continue
        writer = GraphWriter(node)
        heads = [
            writer.call(aten.mm.default, *(writer.call(aten.select.int, arg, 0, head) for arg in (rows, weights)))
            for head in range(shape_of(weights)[0])
        ]
        writer.replace(_stacked(writer, heads))


def _stacked(writer: GraphWriter, parts: Sequence[fx.Node]) -> fx.Node:
    if len(parts) == 1:
        return writer.call(aten.unsqueeze.default, parts[0], 0)
    return writer.call(aten.cat.default, [writer.call(aten.unsqueeze.default, part, 0) for part in parts], 0)
