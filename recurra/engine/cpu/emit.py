"""A schedule as LLVM IR: one function that runs tiles of sequences over all their time steps.

The function gets one table of 64-bit words (`Table` says what is where) and the number of the thread. A tile is up to
a few dozen sequences of falling length; at step t the first `active[t]` of them still run, so the ones that ended cost
nothing. State and intermediate rows stand in scratch memory of the thread; products read weights packed into panels.

A tile may have several threads, its sharers. Its rows are dealt out among them, and of each product its panels. The
rows that a product reads must be there before it, and all its columns after it, so the sharers meet twice. Each number
is written by one of them. Where meetings take too long, since other programs have the cores, the sharers part before a
product: the first of them goes on alone, as all that a step leaves for another stands in memory of the tile, and for
the others no rows are left.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

from recurra.engine.cpu.convolution import Convolver
from recurra.engine.cpu.dot import Dot
from recurra.engine.cpu.nest import Nest
from recurra.engine.cpu.row_pass import RowPass
from recurra.engine.cpu.target import Target
from recurra.engine.cpu.vectors import Vectors
from recurra.engine.cpu.writer import I64, Writer
from recurra.engine.loop import Value
from recurra.engine.schedule import Group, Place, Schedule
from recurra.engine.share import share

__all__ = ["Sizes", "emit", "sizes_of"]

# words of a tile: its first sequence, how many, steps of the longest, where its `active` counts begin
TILE_WORDS = 4
# words of the table before the addresses of arrays, vectors, matrices, states in, states out
HEADER = (
    *("num_threads", "sharers", "num_tiles", "tiles", "active", "order", "row_base"),
    *("row_stride", "step_rows", "step_mask", "falls"),
    *("scratch", "scratch_rows", "totals", "meeting", "sleepers"),
)
# steps of a tile whose terms are added up before their sum joins the others': sums of many numbers stay exact
_TERMS = 64
_ALL = (1 << 63) - 1  # more rows than a tile can have


@dataclass(frozen=True)
class Sizes:
    """What the caller must know of the code when it fills the table.

    Attributes:
        lanes: numbers in one vector.
        panels: for each matrix its (inner size, outer size, columns of a panel).
        strides: numbers from one row to the next of each scratch buffer; 0 for those that all rows use in turn.
        shared: numbers of the memory that rows use in turn.
        row_tile: rows of the largest register tile; scratch has that many rows more than a tile has sequences.
        totals: where each sum over all rows begins in the sums of a tile.
        total: numbers of all sums. Each thread of a tile has two times as many: its sums are those of both halves.
    """

    lanes: int
    panels: tuple[tuple[int, int, int], ...]
    strides: tuple[int, ...]
    shared: int
    row_tile: int
    totals: tuple[int, ...]
    total: int

    def scratch(self, rows: int) -> int:
        """Numbers of scratch memory that a thread needs for that many rows."""
        return sum(self.strides) * rows + self.shared


class Emitter(Writer):
    """Writes the function of a schedule; `sizes` are those of its code."""

    def __init__(
        self, plan: Schedule, target: Target, bits: int, reverse: bool, name: str, *, bf16: bool, past_caches: bool
    ) -> None:
        super().__init__(target, bits, name, bf16=bf16)
        self.plan, self.reverse, self.streamed = plan, reverse, plan.streamed if past_caches else set()
        self.dots = {value: Dot(self, value) for segment in plan.segments for value in segment.dots}
        self.shared = share(plan)
        ends = [start + plan.scratch[buffer] + self.lanes for buffer, start in self.shared.items()]
        self.in_turn = -(-max(ends, default=0) // self.lanes) * self.lanes
        groups = [group for segment in plan.segments for group in segment.groups]
        convolutions = [value for group in groups for value in group.values if value.op == "conv"]
        self.convolvers = {value: Convolver(self, value) for value in convolutions}
        self.sizes = Sizes(
            self.lanes,
            self._panels(),
            self._strides(),
            self.in_turn + sum(each.room for each in self.convolvers.values()),
            max((dot.rows for dot in self.dots.values()), default=1),
            *self._totals(),
        )
        self.dot_kinds = Counter(dot.kind for dot in self.dots.values())

    # --- sizes -----------------------------------------------------------------------------------------------------

    def _panels(self) -> tuple[tuple[int, int, int], ...]:
        panels = [(0, 0, 0)] * len(self.plan.matrices)
        for value, dot in self.dots.items():
            panels[self.plan.place[value.args[1]].index] = (dot.inner, value.width, dot.panel)
        return tuple(panels)

    def _strides(self) -> tuple[int, ...]:
        strides = [-(-width // self.lanes) * self.lanes for width in self.plan.scratch]
        for buffer in self.shared:
            strides[buffer] = 0
        for value, dot in self.dots.items():
            strides[self.plan.place[value].index] = dot.num_panels * dot.panel
        # rows as pairs of bfloat16 stand behind them, for one product after the other
        widest = max((dot.inner for dot in self.dots.values()), default=0) if self.bf16 else 0
        return (*strides, -(-widest // (2 * self.lanes)) * self.lanes)

    def _totals(self) -> tuple[tuple[int, ...], int]:
        ends = list(
            itertools.accumulate((-(-width // self.lanes) * self.lanes for _, width in self.plan.totals), initial=0)
        )
        return tuple(ends[:-1]), ends[-1]

    # --- the function ------------------------------------------------------------------------------------------------

    def emit(self) -> str:
        b = self.b
        _, thread = self.function.args
        header, states_in, states_out = self._read_table()
        self.meeting = self.at(self.function.args[0], self.word(HEADER.index("meeting")), 8)  # two words, for sharers
        sharers = header["sharers"]
        team, self.member = b.sdiv(thread, sharers), b.srem(thread, sharers)
        self.sharing, self.limit = (b.alloca(I64) for _ in range(2))  # sharers that are left, rows of a tile for them
        b.store(sharers, self.sharing)
        b.store(self.word(_ALL), self.limit)
        self._deal_out_scratch(header)

        def tile(index: Any) -> None:
            words = self.at(header["tiles"], b.mul(index, self.word(TILE_WORDS)), 8)
            first, rows, steps, counts = (self.read_word(words, k) for k in range(TILE_WORDS))
            part = b.add(b.mul(index, sharers), self.member)
            self.totals = self.at(header["totals"], b.mul(part, self.word(2 * self.sizes.total)))
            self._copy_states(states_in, first, self._left(rows), into_scratch=True)
            if self.sizes.total:
                self.clear(self.totals, self.word(2 * self.sizes.total))

            def step(number: Any) -> None:
                t = b.select(self.falls, b.sub(b.sub(steps, number), self.word(1)), number)
                running = b.load(self.at(header["active"], b.add(counts, t), 8), typ=I64)
                self._step(first, t, self._left(running))
                if self.sizes.total:
                    turn = b.and_(number, self.word(_TERMS - 1))
                    with b.if_then(b.icmp_signed("==", turn, self.word(_TERMS - 1)), likely=False):
                        self._add_up()

            self.each(self.word(0), steps, 1, step)
            self._add_up()
            self._copy_states(states_out, first, self._left(rows), into_scratch=False)

        self.each_of_thread(team, header["num_tiles"], b.sdiv(header["num_threads"], sharers), tile)
        # those that were left without rows sleep here until the first is done: libgomp's barrier would keep a core busy
        with b.if_then(b.icmp_signed("<", b.load(self.sharing, typ=I64), sharers), likely=False):
            self.emit_meeting(self.meeting, sharers)
        if self.streamed:
            b.fence("seq_cst")  # what went past the caches is seen by whoever comes next
        b.ret_void()
        return self.text()

    def _read_table(self) -> tuple[dict[str, Any], list[Any], list[Any]]:
        """The header, and where the states stand before the first steps and after the last."""
        table, plan = self.function.args[0], self.plan
        header = self.read_words(table, HEADER)
        for name in ("tiles", "active", "order", "row_base", "step_rows", "totals"):
            header[name] = self.pointer(header[name])
        self.order, self.row_base, self.row_stride = (header[name] for name in ("order", "row_base", "row_stride"))
        self.step_rows, self.step_mask = header["step_rows"], header["step_mask"]
        # whether steps go by from the last one to the first
        self.falls = self.b.icmp_signed("==" if self.reverse else "!=", header["falls"], self.word(0))
        places = itertools.count(len(HEADER))

        def addresses(count: int) -> list[Any]:
            return [self.pointer(self.read_word(table, place)) for place in itertools.islice(places, count)]

        self.arrays = addresses(len(plan.arrays))
        self.vector_addresses = addresses(len(plan.vectors))
        self.matrices = addresses(len(plan.matrices))
        return header, addresses(len(plan.carries)), addresses(len(plan.carries))

    def _deal_out_scratch(self, header: dict[str, Any]) -> None:
        """Where the buffers of this thread and of those that share its tiles stand."""
        b, rows = self.b, header["scratch_rows"]
        _, thread = self.function.args
        for_rows = self.word(sum(self.sizes.strides))
        per_thread = b.mul(b.mul(rows, for_rows), self.word(self.itemsize))
        if self.sizes.shared:
            per_thread = b.add(per_thread, self.word(self.sizes.shared * self.itemsize))
        of_team, own = (
            self.pointer(b.add(header["scratch"], b.mul(number, per_thread)))
            for number in (b.sub(thread, self.member), thread)
        )
        starts = itertools.accumulate(self.sizes.strides, initial=0)
        # each sharer rounds for itself what products read
        self.buffers = [
            self.at(of_team if number < len(self.plan.scratch) else own, b.mul(self.word(start), rows))
            for number, start in zip(range(len(self.sizes.strides)), starts, strict=False)
        ]
        in_turn = self.at(own, b.mul(for_rows, rows))
        for buffer, offset in self.shared.items():
            self.buffers[buffer] = self.at(in_turn, self.word(offset))
        offset = self.in_turn
        for convolver in self.convolvers.values():
            convolver.begin(self.at(in_turn, self.word(offset)))
            offset += convolver.room

    def _add_up(self) -> None:
        """Move the sums of the last steps to the sums of all steps before."""
        lanes, total = self.lanes, self.word(self.sizes.total)

        def one_vector(column: Any) -> None:
            late = self.at(self.totals, column)
            early = self.at(late, total)
            self.write(self.b.fadd(self.read(early), self.read(late)), early)
            self.write(self.vectors.const(0.0), late)

        if self.sizes.total:
            self.each(self.word(0), total, lanes, one_vector)

    def _copy_states(self, outside: list[Any], first: Any, rows: Any, *, into_scratch: bool) -> None:
        for address, buffer in zip(outside, self.plan.carries, strict=True):
            width, stride = self.plan.scratch[buffer], self.sizes.strides[buffer]

            def row(
                r: Any, *, address: Any = address, buffer: int = buffer, width: int = width, stride: int = stride
            ) -> None:
                sequence = self.b.load(self.at(self.order, self.b.add(first, r), 8), typ=I64)
                out = self.at(address, self.b.mul(sequence, self.word(width)))
                inside = self.at(self.buffers[buffer], self.b.mul(r, self.word(stride)))
                source, goal = (out, inside) if into_scratch else (inside, out)
                self.copy_numbers(source, goal, width)

            self.each(self.member, rows, self.sharers, row)

    def _left(self, rows: Any) -> Any:
        """How many of the rows are dealt out to this thread and those with whom it still shares."""
        self.sharers = self.b.load(self.sharing, typ=I64)
        return self.least(rows, self.b.load(self.limit, typ=I64))

    def _part(self) -> None:
        """The first of the sharers has all rows from now on, the others have none."""
        b = self.b
        b.store(self.word(1), self.sharing)
        b.store(b.select(b.icmp_signed("==", self.member, self.word(0)), self.word(_ALL), self.word(0)), self.limit)

    def _step(self, first: Any, t: Any, running: Any) -> None:
        shift = self._shift(t)
        step = self.b.select(self.falls, self.word(-1), self.word(1))
        to_next = self.b.sub(self._shift(self.b.add(t, step)), shift)
        for segment in self.plan.segments:
            if segment.dots:
                self.emit_meeting(self.meeting, self.sharers, self._part)
                running = self._left(running)
                for dot in segment.dots:
                    self.dots[dot].emit(t, running)
                self.emit_meeting(self.meeting, self.sharers)
            if not segment.groups:
                continue

            def row(r: Any, *, groups: list[Group] = segment.groups, running: Any = running) -> None:
                base = self._row_base(first, r)
                self.ahead = self._ahead(first, r, running, base, to_next)
                self._row(groups, r, self.b.add(base, shift))

            self.each(self.member, running, self.sharers, row)

    def _shift(self, t: Any) -> Any:
        """Rows from the first step of a sequence to step t; there is one before the first, and one after the last."""
        b = self.b
        place = b.and_(b.add(t, self.word(1)), self.step_mask)
        return b.add(b.mul(t, self.row_stride), b.load(self.at(self.step_rows, place, 8), typ=I64))

    def _row_base(self, first: Any, r: Any) -> Any:
        return self.b.load(self.at(self.row_base, self.b.add(first, r), 8), typ=I64)

    def _ahead(self, first: Any, r: Any, running: Any, base: Any, to_next: Any) -> Any:
        """How many rows behind this one the row stands that its thread comes to next: at this step, or at the next.

        To the next step it is `to_next` rows.
        """
        b, word = self.b, self.word
        following = b.add(r, self.sharers)
        is_there = b.icmp_signed("<", following, running)
        other = self._row_base(first, b.select(is_there, following, self.member))
        return b.add(b.sub(other, base), b.select(is_there, word(0), to_next))

    def _row(self, groups: list[Group], r: Any, row: Any) -> None:
        for group in groups:
            convolver = self.convolvers.get(group.values[0])
            nest = Nest(self, group) if convolver is None and group.width > 1 else None
            made = convolver or (RowPass(self, group) if nest is None or nest.is_plain else nest)
            made.emit(r, row)

    # --- where values stand ------------------------------------------------------------------------------------------

    def address(self, place: Place, r: Any, row: Any) -> Any:
        """Where the row of a place begins: `r` counts within the tile, `row` within the arrays."""
        begin = place.map.start if place.map else place.start
        if place.kind == "scratch":
            start = self.b.mul(r, self.word(self.sizes.strides[place.index]))
            return self.at(self.buffers[place.index], self.b.add(start, self.word(begin)))
        if place.kind == "array":
            width = self.plan.arrays[place.index][1]
            return self.at(self.arrays[place.index], self.b.add(self.b.mul(row, self.word(width)), self.word(begin)))
        if place.kind == "total":
            return self.at(self.totals, self.word(self.sizes.totals[place.index] + begin))
        return self.at(self.vector_addresses[place.index], self.word(begin))

    def bytes_ahead(self, place: Place) -> Any:
        """From the row of an array to the one that is read next."""
        width = self.plan.arrays[place.index][1]
        return self.b.mul(self.ahead, self.word(width * self.itemsize))

    def load_flagged(self, value: Value, pointer: Any, count: int, vectors: Vectors) -> Any:
        """Truth values stand in memory as 0 and 1."""
        loaded = self.load(pointer, count, vectors.lanes)
        return self.b.fcmp_unordered("!=", loaded, vectors.const(0.0)) if value.boolean else loaded

    def is_streamed(self, place: Place) -> bool:
        """Whether vectors go past the caches: those of an array that is made of whole ones."""
        if place.kind != "array" or place.index not in self.streamed or place.map is not None:
            return False
        return place.start % self.lanes == self.plan.arrays[place.index][1] % self.lanes == 0

    def put(
        self,
        place: Place,
        value: Value,
        what: Any,
        pointer: Any,
        count: int,
        vectors: Vectors,
        *,
        streamed: bool = False,
    ) -> None:
        """Write a value where it belongs, or add it to what stands there if that is a sum over all rows."""
        if value.boolean:
            what = vectors.choose(what, vectors.const(1.0), vectors.const(0.0))
        if place.kind == "total":
            what = self.b.fadd(self.load(pointer, count, vectors.lanes), what)
        self.store(what, pointer, count, vectors.lanes, streamed=streamed)


def sizes_of(plan: Schedule, target: Target, bits: int, *, bf16: bool = False) -> Sizes:
    """The sizes that the caller of a schedule's code must follow; see `emit`."""
    return Emitter(plan, target, bits, reverse=False, name="sizes", bf16=bf16, past_caches=False).sizes


def emit(
    plan: Schedule,
    target: Target,
    *,
    bits: int,
    reverse: bool,
    name: str,
    bf16: bool = False,
    past_caches: bool = False,
) -> str:
    """The LLVM IR of a schedule, as text.

    Args:
        plan: the schedule.
        target: the processor.
        bits: 32 or 64, the precision.
        reverse: run from the last time step to the first.
        name: of the function.
        bf16: whether matrices come packed as bfloat16, and rows are rounded for products with them.
        past_caches: whether the arrays that may be are written past the caches.
    """
    return Emitter(plan, target, bits, reverse, name, bf16=bf16, past_caches=past_caches).emit()
