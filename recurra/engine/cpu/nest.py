"""A pass over several axes of a row: nested loops, one of which goes over vectors.

The axes that a reduction keeps are the outer loops, so that its sums stay in registers. Which axis goes over vectors is
chosen by cost: best is one along which everything that is read stands side by side, or is one number for all lanes.
What does not change along the inner loops is read before them. Of a sum, a few results are computed at a time: they
share what they read, and their additions do not wait for each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from recurra.engine.cpu.functions import OPERATIONS, SLOW
from recurra.engine.cpu.reductions import START, accumulate, across, of_first
from recurra.engine.cpu.vectors import Vectors
from recurra.engine.cpu.writer import I32
from recurra.engine.loop import POINTWISE, REDUCTIONS, Map, Value
from recurra.engine.schedule import Group, Place

if TYPE_CHECKING:
    from recurra.engine.cpu.emit import Emitter

__all__ = ["Nest"]

_AT_A_TIME = (4, 3, 2)


@dataclass(frozen=True)
class _Access:
    """A value that is read from memory or written to it, with its step along each axis."""

    value: Value
    place: Place
    strides: tuple[int, ...]


@dataclass
class _Point:
    """Where the loops stand: an address for each access, and what was read already; `count` lanes are in use."""

    pointers: list[Any]
    known: dict[int, Any] = field(default_factory=dict)
    count: int = 0


class Nest:
    """One group of a schedule as nested loops."""

    def __init__(self, emitter: Emitter, group: Group) -> None:
        self.e, self.group = emitter, group
        self.sums = [value for value in group.values if value.op in REDUCTIONS]
        axes = group.space.axes(group.width)
        self.sizes = tuple(size for size, _ in axes)
        whole = bool(self.sums) and not group.space.reduced
        self.reduced = tuple(bool(self.sums) and (gone or whole) for _, gone in axes)
        inside = set(group.values)
        read = {arg for value in group.values for arg in value.operands() if arg not in inside and arg.op != "const"}
        ordered = sorted(read, key=lambda value: value.name)
        self.spread = [value for value in ordered if value.width == 1]
        self.reads = [self._access(value, emitter.plan.place[value]) for value in ordered if value.width > 1]
        self.writes = [
            self._access(value, place) for value in group.values for place in emitter.plan.stores.get(value, [])
        ]
        self._join_axes()
        self.vector = min(range(len(self.sizes)), key=self._cost)
        self.lanes = min(emitter.lanes, 1 << (self.sizes[self.vector] - 1).bit_length())
        target = emitter.target
        self.vectors = Vectors(emitter.b, emitter.bits, self.lanes, fused=target.fused, scales=target.scales)
        kept = [a for a in range(len(self.sizes)) if not self.reduced[a] and a != self.vector]
        gone = [a for a in range(len(self.sizes)) if self.reduced[a] and a != self.vector]
        self.order = [*kept, *gone, self.vector] if self.reduced[self.vector] else [*kept, self.vector, *gone]
        self.jam = next((a for a in reversed(kept) if self.sums and _together(self.sizes[a]) > 1), None)
        # x * y that only a sum reads is added to it by one instruction
        self.fused = {
            value.args[0]
            for value in self.sums
            if value.op == "sum" and value.args[0].op == "mul" and self._readers(value.args[0]) == [value]
        }

    @property
    def is_plain(self) -> bool:
        """Whether it is a pass over columns that stand side by side."""
        return len(self.sizes) == 1 and all(access.place.map is None for access in self.reads + self.writes)

    def _readers(self, value: Value) -> list[Value]:
        stored = bool(self.e.plan.stores.get(value))
        return [user for user in self.group.values if value in user.operands()] if not stored else []

    def _access(self, value: Value, place: Place) -> _Access:
        if value.op in REDUCTIONS and value in self.sums:
            kept = Map.whole(tuple(1 if g else s for s, g in zip(self.sizes, self.reduced, strict=True)))
            strides = tuple(0 if g else s for s, g in zip(kept.strides, self.reduced, strict=True))
            return _Access(value, place, strides)
        places = (place.map or Map.whole((self.group.width,))).cut(self.sizes)
        assert places is not None, f"{value} cannot be read by {self.group}"
        return _Access(value, place, places.strides)

    def _join_axes(self) -> None:
        """Make one axis of two that nothing tells apart."""
        at = len(self.sizes) - 2
        while at >= 0:
            inner = self.sizes[at + 1]
            alike = self.reduced[at] == self.reduced[at + 1]
            if alike and all(a.strides[at] == inner * a.strides[at + 1] for a in self.reads + self.writes):
                self.sizes = (*self.sizes[:at], self.sizes[at] * inner, *self.sizes[at + 2 :])
                self.reduced = (*self.reduced[:at], *self.reduced[at + 1 :])
                self.reads, self.writes = (
                    [_Access(a.value, a.place, (*a.strides[:at], *a.strides[at + 1 :])) for a in accesses]
                    for accesses in (self.reads, self.writes)
                )
            at -= 1

    def _cost(self, axis: int) -> float:
        """About how many instructions the pass takes with vectors along an axis."""
        lanes = min(self.e.lanes, self.sizes[axis])
        work = sum(12 if value.op in SLOW else 1 for value in self.group.values)
        work += sum(1 if a.strides[axis] in (0, 1) else 2 * lanes for a in self.reads + self.writes)
        count = math.prod(self.sizes) // self.sizes[axis] * -(-self.sizes[axis] // self.e.lanes)
        results = math.prod(size for size, gone in zip(self.sizes, self.reduced, strict=True) if not gone)
        return count * work + (8 * results * len(self.sums) if self.reduced[axis] else 0)

    # --- loops -------------------------------------------------------------------------------------------------------

    def emit(self, r: Any, row: Any) -> None:
        """Emit the pass for row `r` of the tile, which is `row` of the arrays."""
        e = self.e
        self.numbers = {v: e.load_flagged(v, e.address(e.plan.place[v], r, row), 1, e.numbers) for v in self.spread}
        self.splats = {v: e.splat(number, self.vectors) for v, number in self.numbers.items()}
        pointers = [e.address(access.place, r, row) for access in self.reads + self.writes]
        self._over(self.order, [_Point(pointers)], None if self.sums else [])

    def _over(self, axes: list[int], points: list[_Point], totals: list[Any] | None) -> list[Any] | None:
        """The loops over these axes, for a few points at a time; `totals` are the sums so far, point by point."""
        for point in points:
            self._read_ahead(point, axes)
        if totals is None and all(self.reduced[axis] for axis in axes):
            begin = [self.vectors.const(START[value.op]) for _ in points for value in self.sums]
            self._store_totals(points, self._over(axes, points, begin) or [])
            return None
        if not axes:
            return self._body(points, totals or [])
        axis, *rest = axes
        if axis == self.vector:
            return self._over_vectors(rest, points, totals)
        step = _together(self.sizes[axis]) if axis == self.jam else 1

        def body(index: Any, carried: list[Any]) -> list[Any]:
            inner = [self._moved(point, axis, index, by) for point in points for by in range(step)]
            return self._over(rest, inner, None if totals is None else carried) or []

        stop = self.e.word(self.sizes[axis])
        found = self.e.loop(self.e.word(0), stop, step, totals or [], body)
        return None if totals is None else found

    def _over_vectors(self, rest: list[int], points: list[_Point], totals: list[Any] | None) -> list[Any] | None:
        e, size = self.e, self.sizes[self.vector]
        blocks = size // self.lanes
        # few sums at a time leave the adders idle: take several vectors of results
        step = _together(blocks) if totals is None and len(points) == 1 else 1

        def block(column: Any, carried: list[Any], *, count: int, blocks: int) -> list[Any]:
            inner = [
                self._moved(point, self.vector, column, by * self.lanes, count)
                for point in points
                for by in range(blocks)
            ]
            return self._over(rest, inner, None if totals is None else carried) or []

        carried = totals or []
        if blocks == step:
            carried = block(e.word(0), carried, count=self.lanes, blocks=step)
        elif blocks:
            carried = e.loop(
                e.word(0),
                e.word(blocks * self.lanes),
                step * self.lanes,
                carried,
                lambda column, now: block(column, now, count=self.lanes, blocks=step),
            )
        if size % self.lanes:
            carried = block(e.word(blocks * self.lanes), carried, count=size % self.lanes, blocks=1)
        return None if totals is None else carried

    def _moved(self, point: _Point, axis: int, index: Any, by: int, count: int = 0) -> _Point:
        """The point at `index + by` of an axis."""
        e = self.e
        pointers = list(point.pointers)
        for number, access in enumerate(self.reads + self.writes):
            stride = access.strides[axis]
            if stride and number not in point.known:
                pointers[number] = e.at(e.at(pointers[number], e.b.mul(index, e.word(stride))), e.word(by * stride))
        return _Point(pointers, dict(point.known), count or point.count)

    # --- one point ---------------------------------------------------------------------------------------------------

    def _read_ahead(self, point: _Point, axes: list[int]) -> None:
        """Read what stays the same along the axes that are left."""
        for number, access in enumerate(self.reads):
            if number not in point.known and not any(access.strides[axis] for axis in axes):
                ahead = self.vector in axes
                stride = 0 if ahead else access.strides[self.vector]
                point.known[number] = self._load(access.value, point.pointers[number], stride, point.count)

    def _load(self, value: Value, pointer: Any, stride: int, count: int) -> Any:
        e, v = self.e, self.vectors
        if stride == 1:
            return e.load_flagged(value, pointer, count, v)
        if stride == 0:
            return e.splat(e.load_flagged(value, pointer, 1, e.numbers), v)
        loaded = v.const(0.0)
        for lane in range(count):
            number = e.load(e.at(pointer, e.word(lane * stride)), 1, 1)
            loaded = number if v.lanes == 1 else e.b.insert_element(loaded, number, ir.Constant(I32, lane))
        return e.b.fcmp_unordered("!=", loaded, v.const(0.0)) if value.boolean else loaded

    def _store(self, access: _Access, what: Any, pointer: Any, count: int) -> None:
        e, v, stride = self.e, self.vectors, access.strides[self.vector]
        if stride == 1 or v.lanes == 1:
            e.put(access.place, access.value, what, pointer, count, v)
            return
        for lane in range(count):
            number = e.b.extract_element(what, ir.Constant(I32, lane))
            e.put(access.place, access.value, number, e.at(pointer, e.word(lane * stride)), 1, e.numbers)

    def _body(self, points: list[_Point], totals: list[Any]) -> list[Any]:
        found: list[Any] = []
        computed = []
        for index, point in enumerate(points):
            known = {**self.splats, **{self.reads[number].value: x for number, x in point.known.items()}}
            mine = dict(zip(self.sums, totals[index * len(self.sums) :], strict=False))
            for value in self.group.values:
                if value.op in REDUCTIONS:
                    mine[value] = self._added(value, mine[value], known, point.count)
                elif value not in self.fused:
                    known[value] = OPERATIONS[value.op](self.vectors, *(self._operand(a, known) for a in value.args))
            found += [mine[value] for value in self.sums]
            computed.append(known)
        # all reads come before all writes: a pass may write the state that it reads
        for point, known in zip(points, computed, strict=True):
            for number, access in enumerate(self.writes, len(self.reads)):
                if access.value.op in POINTWISE:
                    self._store(access, known[access.value], point.pointers[number], point.count)
        return found

    def _operand(self, value: Value, known: dict[Value, Any]) -> Any:
        return self.vectors.const(value.args[0]) if value.op == "const" else known[value]

    def _added(self, value: Value, total: Any, known: dict[Value, Any], count: int) -> Any:
        v, source = self.vectors, value.args[0]
        if source not in self.fused:
            return accumulate(v, value.op, total, self._operand(source, known), count)
        result = v.fma(self._operand(source.args[0], known), self._operand(source.args[1], known), total)
        return of_first(v, result, total, count) if self.reduced[self.vector] else result

    def _store_totals(self, points: list[_Point], totals: list[Any]) -> None:
        left = iter(totals)
        for point in points:
            for value in self.sums:
                total = next(left)
                for number, access in enumerate(self.writes, len(self.reads)):
                    if access.value is not value:
                        continue
                    if self.reduced[self.vector]:
                        total_ = total if self.lanes == 1 else across(self.vectors, value.op, total)
                        self.e.put(access.place, value, total_, point.pointers[number], 1, self.e.numbers)
                    else:
                        self._store(access, total, point.pointers[number], point.count)


def _together(count: int) -> int:
    """How many of so many results are computed at a time."""
    return next((some for some in _AT_A_TIME if count % some == 0), 1)
