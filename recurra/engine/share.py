"""Which scratch memory lives so short that others can have the same.

Passes run row by row within a segment, so a value that no other segment reads needs memory for one row alone, and only
until the last pass that reads it is over. With matrices for rows, or with many passes over vectors, that is the
difference between the nearest cache and the one behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recurra.engine.schedule import Group, Schedule

__all__ = ["share"]

_ALIGNMENT = 16  # numbers: a multiple of every vector


def share(plan: Schedule) -> dict[int, int]:
    """Where each scratch buffer that is for one row alone begins in the memory for such."""
    times: dict[int, list[tuple[int, int]]] = {}
    for number, segment in enumerate(plan.segments):
        for turn, group in enumerate(segment.groups):
            for buffer in _touched(plan, group):
                times.setdefault(buffer, []).append((number, turn))
    for buffer in _for_all_rows(plan):
        times.pop(buffer, None)
    lives = {
        buffer: (min(when), max(when)) for buffer, when in times.items() if len({segment for segment, _ in when}) == 1
    }
    starts: dict[int, int] = {}
    for buffer in sorted(lives, key=lambda buffer: (lives[buffer], buffer)):
        taken = [
            (starts[other], starts[other] + _padded(plan.scratch[other]))
            for other in starts
            if lives[other][0] <= lives[buffer][1] and lives[buffer][0] <= lives[other][1]
        ]
        starts[buffer] = _first_gap(sorted(taken), _padded(plan.scratch[buffer]))
    return starts


def _touched(plan: Schedule, group: Group) -> Iterator[int]:
    for value in group.values:
        places = [plan.place[arg] for arg in value.operands() if arg in plan.place]
        for place in [*places, *plan.stores.get(value, [])]:
            if place.kind == "scratch":
                yield place.index


def _for_all_rows(plan: Schedule) -> set[int]:
    """What products read and write, for all rows of a tile at once, and the state."""
    dots = [dot for segment in plan.segments for dot in segment.dots]
    places = [plan.place[value] for dot in dots for value in (dot, dot.args[0])]
    return {*plan.carries, *(place.index for place in places if place.kind == "scratch")}


def _first_gap(taken: list[tuple[int, int]], width: int) -> int:
    at = 0
    for start, end in taken:
        if start - at >= width:
            break
        at = max(at, end)
    return at


def _padded(width: int) -> int:
    return -(-width // _ALIGNMENT) * _ALIGNMENT
