"""A pass over the columns of a row: whole chains of pointwise operations on one vector after the other.

While it reads the rows of arrays, those that come next are fetched: nothing else says that they will be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recurra.engine.cpu.functions import OPERATIONS, SLOW
from recurra.engine.cpu.reductions import START, accumulate, across, together
from recurra.engine.loop import POINTWISE, REDUCTIONS, Value
from recurra.engine.schedule import Group

if TYPE_CHECKING:
    from recurra.engine.cpu.emit import Emitter

__all__ = ["RowPass"]

_CHAINS = 4  # sums that an adder can work on before the first of them is ready


class RowPass:
    """One group of a schedule whose numbers all stand side by side."""

    def __init__(self, emitter: Emitter, group: Group) -> None:
        self.e, self.group = emitter, group
        self.vectors = emitter.numbers if group.width == 1 else emitter.vectors
        inside = set(group.values)
        read = {arg for value in group.values for arg in value.operands() if arg not in inside and arg.op != "const"}
        self.read = sorted(read, key=lambda value: value.name)
        self.sums = [value for value in group.values if value.op in REDUCTIONS]

    def emit(self, r: Any, row: Any) -> None:
        """Emit the pass for row `r` of the tile, which is `row` of the arrays."""
        e, place = self.e, self.e.plan.place
        self.starts = {value: e.address(place[value], r, row) for value in self.read}
        self.goals = {
            value: [(place, e.address(place, r, row)) for place in e.plan.stores.get(value, [])]
            for value in self.group.values
        }
        numbers = {v: e.load_flagged(v, self.starts[v], 1, e.numbers) for v in self.read if v.width == 1}
        self.spread = {value: e.splat(number, self.vectors) for value, number in numbers.items()}
        self.ahead = {}
        if self.group.width == 1:
            totals = self._block(e.word(0), 1, self._begin())
        else:
            arrays = [v for v in self.read if v.width > 1 and place[v].kind == "array"]
            self.ahead = {value: e.bytes_ahead(place[value]) for value in arrays}
            totals = [across(self.vectors, v.op, total) for v, total in zip(self.sums, self._columns(), strict=True)]
        for value, total in zip(self.sums, totals, strict=True):
            for place_, goal in self.goals[value]:
                e.put(place_, value, total, goal, 1, e.numbers)

    def _begin(self) -> list[Any]:
        return [self.vectors.const(START[value.op]) for value in self.sums]

    def _columns(self) -> list[Any]:
        """All columns; returns the sums, lane by lane."""
        e, width, count = self.e, self.group.width, len(self.sums)
        chains = self._chains()

        def some_blocks(column: Any, carried: list[Any]) -> list[Any]:
            found: list[Any] = []
            for chain in range(chains):
                mine = carried[chain * count : (chain + 1) * count]
                found += self._block(e.b.add(column, e.word(chain * e.lanes)), e.lanes, mine)
            return found

        step = chains * e.lanes
        even, whole = (width // size * size for size in (step, e.lanes))
        ends = self._begin() * chains
        if even:
            ends = e.loop(e.word(0), e.word(even), step, ends, some_blocks)
        totals = ends[:count]
        for chain in range(1, chains):
            others = ends[chain * count : (chain + 1) * count]
            totals = [
                together(self.vectors, value.op, *pair)
                for value, pair in zip(self.sums, zip(totals, others, strict=True), strict=True)
            ]
        for column in range(even, whole, e.lanes):
            totals = self._block(e.word(column), e.lanes, totals)
        if width % e.lanes:
            totals = self._block(e.word(whole), width % e.lanes, totals)
        return totals

    def _chains(self) -> int:
        """How many sums of its own each reduction has: alone, every addition would wait for the one before."""
        waits = self.sums and self.group.width >= _CHAINS * self.e.lanes
        return _CHAINS if waits and not any(value.op in SLOW for value in self.group.values) else 1

    def _block(self, column: Any, count: int, totals: list[Any]) -> list[Any]:
        """The next `count` columns, at most a vector of them."""
        e, vectors = self.e, self.vectors
        known: dict[Value, Any] = dict(self.spread)
        for value in self.read:
            if value not in known:
                pointer = e.at(self.starts[value], column)
                known[value] = e.load_flagged(value, pointer, count, vectors)
                if value in self.ahead and count == e.lanes:
                    e.fetch(pointer, self.ahead[value])
        results = dict(zip(self.sums, totals, strict=True))
        for value in self.group.values:
            if value.op in REDUCTIONS:
                x = self._operand(value.args[0], known)
                results[value] = accumulate(vectors, value.op, results[value], x, count)
            else:
                args = [self._operand(arg, known) for arg in value.args]
                known[value] = OPERATIONS[value.op](vectors, *args)
        # all reads come before all writes: a pass may write the state that it reads
        for value in self.group.values:
            if value.op in POINTWISE:
                for place, goal in self.goals[value]:
                    streamed = e.is_streamed(place)
                    e.put(place, value, known[value], e.at(goal, column), count, vectors, streamed=streamed)
        return [results[value] for value in self.sums]

    def _operand(self, value: Value, known: dict[Value, Any]) -> Any:
        return self.vectors.const(value.args[0]) if value.op == "const" else known[value]
