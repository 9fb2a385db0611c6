"""Making the values of a loop program: numbers and truth values, vectors and views of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import fx

from recurra.engine.loop import COMPARISONS, LOGIC, Map, Program, Value
from recurra.engine.movement import MAX_PIECES, Box, boxes, pieces
from recurra.engine.trace import Unsupported

__all__ = ["Builder"]


@dataclass
class Builder:
    """Adds values to a program.

    Attributes:
        program: what they are added to.
        known: values that are there already: of numbers, of leaves and of graph nodes.
    """

    program: Program
    known: dict[Any, Value] = field(default_factory=dict)

    def add(self, op: str, args: tuple[Any, ...], width: int, boolean: bool = False) -> Value:
        """A new value."""
        value = Value(op, args, width, boolean)
        self.program.values.append(value)
        return value

    def leaf(self, op: str, node: fx.Node, width: int, boolean: bool = False) -> Value:
        """What stands in memory before the step; one value for each node and kind."""
        if (op, node) not in self.known:
            value = Value(op, (), width, boolean, node)
            self.program.values.append(value)
            self.known[op, node] = value
        return self.known[op, node]

    def const(self, number: Any) -> Value:
        """A number that serves the whole row."""
        if isinstance(number, complex):
            raise Unsupported("complex")
        number = float(number)
        key = ("const", repr(number))  # 0 and -0 are equal, and NaN is not
        if key not in self.known:
            self.known[key] = self.add("const", (number,), 1)
        return self.known[key]

    def pointwise(self, op: str, *args: Any) -> Value:
        """A pointwise operation on values and numbers, of the kinds that it works on."""
        values = [arg if isinstance(arg, Value) else self.const(arg) for arg in args]
        width = next((value.width for value in values if value.width != 1), 1)  # 0 of a vector without numbers
        boolean = op in COMPARISONS or op in LOGIC
        if op in LOGIC:
            values = [self.flag(value) for value in values]
        elif op == "where":
            boolean = values[1].boolean and values[2].boolean
            kind = self.flag if boolean else self.number
            values = [self.flag(values[0]), kind(values[1]), kind(values[2])]
        elif op != "copy":
            values = [self.number(value) for value in values]
        return self.add(op, tuple(values), width, boolean)

    def number(self, value: Value) -> Value:
        """1 for true and 0 for false."""
        if not value.boolean:
            return value
        return self.add("where", (value, self.const(1.0), self.const(0.0)), value.width)

    def flag(self, value: Value) -> Value:
        """True for what is not 0."""
        return value if value.boolean else self.add("ne", (value, self.const(0.0)), value.width, True)

    def full(self, value: Value, width: int) -> Value:
        """As a vector of that many numbers of its own, for what is kept, carried or put beside others."""
        if value.width == width and value.op not in ("const", "vector"):
            return value
        if value.boolean:
            return self.add("or", (value, self.flag(self.const(0.0))), width, True)
        # -0 is what can be added to every number and changes none
        return self.add("add", (value, self.const(-0.0)), width)

    def view(self, source: Value, places: Map) -> Value:
        """The numbers of a value at these places: the value itself or a slice of it where that is what they are.

        Of width 1 where all of them are one number.
        """
        if source.op == "view":
            source = self.add("copy", (source,), source.width, source.boolean)
        while source.op == "slice":
            source, start = source.args
            places = Map(places.start + start, places.sizes, places.strides)
        places = places.joined()
        if not any(places.strides):
            return self._slice(source, places.start, 1)
        if places.strides == (1,):
            return self._slice(source, places.start, places.width)
        return self.add("view", (source, places), places.width, source.boolean)

    def mapped(self, value: Value, sizes: tuple[int, ...]) -> tuple[Value, Map]:
        """The value whose memory is read, and where it stands there, axis by axis; one number serves all axes."""
        if value.width == 1 != math.prod(sizes):
            return value, Map(0, sizes, (0,) * len(sizes))
        if value.op != "view":
            return value, Map.whole(sizes)
        source, places = value.args
        cut = places.cut(sizes)
        return (value, Map.whole(sizes)) if cut is None else (source, cut)

    def spread(self, value: Value, mine: tuple[int, ...], sizes: tuple[int, ...]) -> Value:
        """A value of shape `mine` broadcast to `sizes`."""
        if math.prod(mine) == math.prod(sizes) or value.width == 1:
            return value
        source, places = self.mapped(value, mine)
        new = len(sizes) - len(mine)
        strides = [0] * new + [
            s if n == size else 0 for n, s, size in zip(mine, places.strides, sizes[new:], strict=True)
        ]
        return self.view(source, Map(places.start, sizes, tuple(strides)))

    def move(self, sources: list[Value], places: torch.Tensor, op: str) -> Value:
        """The numbers at these places of the sources; of width 1 where all of them are one number."""
        found = list(islice(pieces(sources, places), MAX_PIECES + 1))
        if len(found) > 1 and len(fewer := boxes(sources, places)) < len(found):
            return self._put_together(fewer, places.numel(), op)
        if len(found) > MAX_PIECES:
            raise Unsupported(op, f"it moves a row in more than {MAX_PIECES} pieces")
        parts = [(self._slice(source, start, 1 if same else count), count) for source, start, count, same in found]
        if len(parts) == 1:
            return parts[0][0]
        boolean = all(part.boolean for part, _ in parts)
        parts = [(part if boolean else self.number(part), count) for part, count in parts]
        return self.add("cat", tuple(self.full(part, count) for part, count in parts), places.numel(), boolean)

    def _put_together(self, found: list[Box], width: int, op: str) -> Value:
        if len(found) > MAX_PIECES:
            raise Unsupported(op, f"it moves a row in more than {MAX_PIECES} pieces")
        if len(found) == 1:
            return self.view(*found[0][:2])
        parts = [(self.view(source, places), goal) for source, places, goal in found]
        boolean = all(part.boolean for part, _ in parts)
        args = [(self.full(part if boolean else self.number(part), goal.width), goal) for part, goal in parts]
        return self.add("join", tuple(item for arg in args for item in arg), width, boolean)

    def _slice(self, source: Value, start: int, width: int) -> Value:
        if width == source.width:
            return source
        return self.add("slice", (source, start), width, source.boolean)
