"""What of a value of the traced batch belongs to one sequence.

Most values are [B, ...]. torch also writes products of per-row matrices as [B * heads, ...] and products with a weight
for each head as [heads, B, ...]: the batch may stand at any axis and share it with numbers of its row, which come after
it. A row is what the value would be at a batch of one.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, fx

from recurra.engine.trace import batch_factor

__all__ = ["from_rows", "row_axis", "row_shape", "row_width", "shape_of", "to_rows"]


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape of a value of the traced batch."""
    return tuple(node.meta["val"].shape)


def row_axis(node: fx.Node) -> int | None:
    """The axis of the batch; None where the batch is not in the value, or in more than one axis."""
    axes = [axis for axis, size in enumerate(node.meta["val"].shape) if batch_factor(size)]
    return axes[0] if len(axes) == 1 else None


def row_shape(node: fx.Node) -> tuple[int, ...]:
    """The shape at a batch of one; of a parameter, its shape."""
    return tuple(batch_factor(size) or size for size in node.meta["val"].shape)


def row_width(node: fx.Node) -> int:
    """How many numbers of a value belong to one row."""
    return math.prod(row_shape(node))


def to_rows(tensor: Tensor, node: fx.Node, num_rows: int) -> Tensor:
    """The value of a node for `num_rows` rows as [num_rows, width]."""
    axis = row_axis(node)
    if axis:
        tensor = tensor.unflatten(axis, (num_rows, row_shape(node)[axis])).movedim(axis, 0)
    return tensor.reshape(num_rows, row_width(node))


def from_rows(rows: Tensor, node: fx.Node, num_rows: int) -> Tensor:
    """The inverse of `to_rows`."""
    axis, shape = row_axis(node), row_shape(node)
    if axis:
        return rows.reshape(num_rows, *shape).movedim(0, axis).flatten(axis, axis + 1)
    return rows.reshape(num_rows * shape[0], *shape[1:])
