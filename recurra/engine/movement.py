"""Calls that move numbers and change none: slices, concatenations, views, transposes, padding.

The call itself, run on the places of the numbers in place of the numbers, says where each number of its result comes
from. What it says is read off in stretches: each one is a slice of a source, or one number many times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine.loop import Value
from recurra.engine.split import is_rows
from recurra.engine.trace import Unsupported, batch_factor

__all__ = ["MAX_PIECES", "Piece", "origins", "pieces"]

MAX_PIECES = 64  # a result in more pieces than this makes more code than it is worth
_ROW = 1 << 40  # what the places of the second row are ahead of those of the first

# (source, first place, how many numbers, whether it is one number many times)
Piece = tuple[Value, int, int, bool]


def origins(node: fx.Node, value_of: Any) -> tuple[list[Value], Tensor]:
    """The sources of a call that only moves numbers, and for each number of a row its place among them.

    Two rows are moved, so that a call which takes a row of its result from another row is found.

    Raises:
        Unsupported: it mixes rows.
    """
    sources: list[Value] = []

    def places(arg: Any) -> Any:
        if isinstance(arg, tuple | list):
            return [places(item) for item in arg]
        if not isinstance(arg, fx.Node):
            return 2 * batch_factor(arg) or arg
        value: Value = value_of(arg)
        before = sum(source.width for source in sources)
        sources.append(value)
        shape = arg.meta["val"].shape[1:] if is_rows(arg) else arg.meta["val"].shape
        count = torch.Size(shape).numel()
        # a value of width 1 serves every place of its row
        index = before + (torch.arange(count) if value.width == count else torch.zeros(count, dtype=torch.int64))
        index = index.reshape(shape)
        return torch.stack([index, index + _ROW]) if is_rows(arg) else index

    args = [places(arg) for arg in node.args]
    result = _call(node, args, sources, value_of)
    if result.shape != (2, *node.meta["val"].shape[1:]) or not torch.equal(result[0], result[1] % _ROW):
        raise Unsupported(_name(node), "it mixes the rows of the batch")
    return sources, result[0].flatten()


def _call(node: fx.Node, args: list[Any], sources: list[Value], value_of: Any) -> Tensor:
    kind: Any = node.target
    if _name(node) == "constant_pad_nd":
        fill = node.args[2] if len(node.args) > 2 else 0.0
        before = sum(source.width for source in sources)
        sources.append(value_of(fill))
        return kind(args[0], args[1], before)
    return kind(*args, **node.kwargs)


def _name(node: fx.Node) -> str:
    return getattr(node.target, "overloadpacket", node.target).__name__  # type: ignore[union-attr]


def pieces(sources: list[Value], places: list[int]) -> Iterator[Piece]:
    """Read places off in stretches."""
    source_of = [(index, start) for index, source in enumerate(sources) for start in range(source.width)]
    at = 0
    while at < len(places):
        index, start = source_of[places[at]]
        left = sources[index].width - start
        end = at + 1
        if end < len(places) and places[end] == places[at]:
            while end < len(places) and places[end] == places[at]:
                end += 1
            yield sources[index], start, end - at, True
        else:
            while end < len(places) and end - at < left and places[end] == places[at] + end - at:
                end += 1
            yield sources[index], start, end - at, False
        at = end
