"""Over which axes a pass over a row goes, where some of its values are views of others or sums over some axes.

A plain pass goes over the columns of a row, whatever they mean. One that reads a matrix transposed, or one number of a
vector for each row of a matrix, must count rows and columns apart: its space has a cut between them. Values that are
computed in one pass share their space; where two cannot agree, a value goes through memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from recurra.engine.loop import POINTWISE, REDUCTIONS, Map, Program, Value

__all__ = ["FLAT", "Space", "is_computed", "spaces", "span"]


@dataclass(frozen=True)
class Space:
    """How the columns of a row are counted.

    Attributes:
        cuts: numbers of columns of the inner axes together, the innermost first: a matrix [16, 64] has a cut at 64.
        reduced: the stretches (from, to) between cuts that reductions of this pass go over, and nobody else stores
            anything for; none where they reduce the whole row, or nothing.
    """

    cuts: tuple[int, ...] = ()
    reduced: tuple[tuple[int, int], ...] = ()

    def with_(self, other: Space) -> Space | None:
        """A space that serves both, or None."""
        if self.reduced and other.reduced and self.reduced != other.reduced:
            return None
        cuts = tuple(sorted({*self.cuts, *other.cuts}))
        if any(outer % inner for inner, outer in pairwise(cuts)):
            return None
        return Space(cuts, self.reduced or other.reduced)

    def axes(self, width: int) -> list[tuple[int, bool]]:
        """The size of each axis, the outermost first, and whether it is reduced."""
        edges = (1, *self.cuts, width)
        stretches = list(pairwise(edges))[::-1]
        return [
            (high // low, any(start <= low and high <= end for start, end in self.reduced)) for low, high in stretches
        ]


FLAT = Space()


def _cuts(sizes: Iterable[int]) -> tuple[int, ...]:
    sizes = tuple(sizes)
    edges = {math.prod(sizes[axis:]) for axis in range(1, len(sizes))}
    return tuple(sorted(edges - {1, math.prod(sizes)}))


def _of_reduction(value: Value) -> Space:
    if len(value.args) == 1:
        return Space((), ((1, value.args[0].width),))
    _, sizes, axes = value.args
    return Space(_cuts(sizes), tuple((math.prod(sizes[a + 1 :]), math.prod(sizes[a:])) for a in reversed(axes)))


def is_computed(value: Value) -> bool:
    """Whether a value is computed in a pass over a row."""
    return value.op in POINTWISE or value.op in REDUCTIONS


def span(value: Value) -> int:
    """Columns of the pass that computes a value: a sum passes over what it adds up."""
    width: int = value.args[0].width if value.op in REDUCTIONS else value.width
    return width


def spaces(program: Program) -> dict[Value, Space]:
    """The space of every computed value. Adds copies where a value cannot be read or written as it should be."""
    own = _own(program)
    groups = {value: _Group([value], space) for value, space in own.items()}
    users = program.users()
    # the numbers that only a sum reads are the ones that must not go through memory: there may be very many
    for value in own:
        if value.op in REDUCTIONS and value.args[0] in own and len(users[value.args[0]]) == 1:
            _join(groups, value, value.args[0])
    for value in own:
        for arg in value.operands():
            if arg in own and arg.op in POINTWISE and arg.width == span(value):
                _join(groups, value, arg)
    for value in list(program.values):
        if value.op == "join":
            _place_pieces(program, groups, value)
    return {value: _plain(group.space, span(value)) for value, group in groups.items()}


def _plain(space: Space, width: int) -> Space:
    """A pass with sums over the whole row is like one without: it goes over the columns in order."""
    return Space(space.cuts) if space.reduced == ((1, width),) else space


@dataclass
class _Group:
    values: list[Value]
    space: Space


def _join(groups: dict[Value, _Group], one: Value, other: Value) -> None:
    first, second = groups[one], groups[other]
    both = first.space.with_(second.space)
    if first is second or both is None:
        return
    if len(first.values) < len(second.values):
        first, second = second, first
    first.space = both
    first.values += second.values
    for value in second.values:
        groups[value] = first


def _own(program: Program) -> dict[Value, Space]:
    """What each computed value asks for by itself."""
    own: dict[Value, Space] = {}
    values: list[Value] = []
    for value in program.values:
        if is_computed(value):
            space = _of_reduction(value) if value.op in REDUCTIONS else FLAT
            for index, arg in enumerate(value.args):
                if not isinstance(arg, Value) or arg.op != "view":
                    continue
                both = space.with_(Space(_cuts(arg.args[1].sizes)))
                if both is None:
                    copy = Value("copy", (arg,), arg.width, arg.boolean, name=f"{arg.name}'")
                    own[copy] = Space(_cuts(arg.args[1].sizes))
                    values.append(copy)
                    value.args = (*value.args[:index], copy, *value.args[index + 1 :])
                else:
                    space = both
            own[value] = space
        values.append(value)
    program.values = values
    return own


def _place_pieces(program: Program, groups: dict[Value, _Group], value: Value) -> None:
    args: list[Value | Map] = []
    for piece, places in value.pieces():
        mine = Space(_cuts(places.sizes))
        both = groups[piece].space.with_(mine)
        if both is None:
            copy = Value("copy", (piece,), piece.width, piece.boolean, name=f"{piece.name}'")
            program.values.insert(program.values.index(value), copy)
            groups[copy] = _Group([copy], mine)
            piece = copy
        else:
            groups[piece].space = both
        args += [piece, places]
    value.args = tuple(args)
