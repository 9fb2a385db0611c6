"""A schedule as LLVM IR: one function that runs tiles of sequences over all their time steps.

The function gets one table of 64-bit words (`Table` says what is where) and the number of the thread. A tile is up to
a few dozen sequences of falling length; at step t the first `active[t]` of them still run, so the ones that ended cost
nothing. State and intermediate rows stand in scratch memory of the thread; products read weights packed into panels.

A tile may have several threads, its sharers. Its rows are dealt out among them, and of each product its panels. The
rows that a product reads must be there before it, and all its columns after it, so the sharers meet twice. Each number
is written by one of them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from recurra.engine.cpu.convolution import Convolver
from recurra.engine.cpu.functions import OPERATIONS, SLOW, Vectors
from recurra.engine.cpu.nest import Nest
from recurra.engine.cpu.target import Target
from recurra.engine.cpu.writer import I32, I64, Writer
from recurra.engine.loop import POINTWISE, REDUCTIONS, Value
from recurra.engine.schedule import Group, Place, Schedule
from recurra.engine.share import share

__all__ = ["Layout", "emit", "layout_of"]

# words of a tile: its first sequence, how many, steps of the longest, where its `active` counts begin
TILE_WORDS = 4
# words of the table before the addresses of arrays, vectors, matrices, states in, states out
HEADER = (
    *("num_threads", "sharers", "num_tiles", "tiles", "active", "order", "row_base", "row_stride"),
    *("scratch", "scratch_rows", "totals", "meeting", "sleepers"),
)
# steps of a tile whose terms are added up before their sum joins the others': sums of many numbers stay exact
_TERMS = 64
_CHAINS = 4  # sums that an adder can work on before the first of them is ready
# Measured in November 2026 on a Zen 5, whose nearest cache has 48 KiB: loops of 64 to 256 units with up to four
# sequences take 2 to 30 % less when they go through panels of weights to and fro, with six as long, with sixteen 5 %
# more. To go through the inside of a panel that way pays with one or two sequences where it is all there is and half
# of it stays there; larger ones take up to 40 % more.
_FEW, _FEWER = 4, 2
_ONE_PANEL = range((1 << 15) + 1, (1 << 16) + 1)  # bytes
_BETTER = {"sum": "add", "max": "maximum", "min": "minimum"}  # what puts two results of a reduction together


@dataclass(frozen=True)
class Layout:
    """Sizes that the caller must follow when it fills the table.

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
    def __init__(
        self, plan: Schedule, target: Target, bits: int, reverse: bool, name: str, *, bf16: bool, past_caches: bool
    ) -> None:
        super().__init__(target, bits, name, bf16=bf16)
        self.plan, self.reverse, self.streamed = plan, reverse, plan.streamed if past_caches else set()
        self.tiles = [self._dot_tile(dot) for segment in plan.segments for dot in segment.dots]
        dots = [dot for segment in plan.segments for dot in segment.dots]
        self.dot_tile = dict(zip(dots, self.tiles, strict=True))
        self.shared = share(plan)
        ends = [start + plan.scratch[buffer] + self.lanes for buffer, start in self.shared.items()]
        self.in_turn = -(-max(ends, default=0) // self.lanes) * self.lanes
        groups = [group for segment in plan.segments for group in segment.groups]
        convolutions = [value for group in groups for value in group.values if value.op == "conv"]
        self.convolvers = {value: Convolver(self, value) for value in convolutions}
        self.layout = Layout(
            self.lanes,
            self._panels(),
            self._strides(),
            self.in_turn + sum(each.room for each in self.convolvers.values()),
            max((rows for rows, _ in self.tiles), default=1),
            *self._totals(),
        )

    # --- sizes -----------------------------------------------------------------------------------------------------

    def _dot_tile(self, dot: Value) -> tuple[int, int]:
        return self.target.tile(-(-dot.width // self.lanes))

    def _panels(self) -> tuple[tuple[int, int, int], ...]:
        panels = [(0, 0, 0)] * len(self.plan.matrices)
        for dot, (_, vectors) in self.dot_tile.items():
            rows, matrix = dot.args
            panels[self.plan.place[matrix].index] = (rows.width, dot.width, vectors * self.lanes)
        return tuple(panels)

    def _strides(self) -> tuple[int, ...]:
        strides = [-(-width // self.lanes) * self.lanes for width in self.plan.scratch]
        for buffer in self.shared:
            strides[buffer] = 0
        for dot, (_, vectors) in self.dot_tile.items():
            panel = vectors * self.lanes
            strides[self.plan.place[dot].index] = -(-dot.width // panel) * panel
        # rows as pairs of bfloat16 stand behind them, for one product after the other
        widest = max((dot.args[0].width for dot in self.dot_tile), default=0) if self.bf16 else 0
        return (*strides, -(-widest // (2 * self.lanes)) * self.lanes)

    def _totals(self) -> tuple[tuple[int, ...], int]:
        ends = list(
            itertools.accumulate((-(-width // self.lanes) * self.lanes for _, width in self.plan.totals), initial=0)
        )
        return tuple(ends[:-1]), ends[-1]

    # --- the function ------------------------------------------------------------------------------------------------

    def emit(self) -> str:
        b, plan = self.b, self.plan
        table, thread = self.function.args
        header = self.read_words(table, HEADER)
        self.order = self.pointer(header["order"])
        self.row_base = self.pointer(header["row_base"])
        self.row_stride = header["row_stride"]
        tiles = self.pointer(header["tiles"])
        active = self.pointer(header["active"])
        scratch_rows = header["scratch_rows"]
        self.sharers = header["sharers"]
        self.meeting = self.at(table, self.word(HEADER.index("meeting")), 8)  # two words, in which the sharers meet
        team, self.member = b.sdiv(thread, self.sharers), b.srem(thread, self.sharers)
        cursor = len(HEADER)

        def addresses(count: int) -> list[Any]:
            nonlocal cursor
            found = [self.pointer(self.read_word(table, cursor + index)) for index in range(count)]
            cursor += count
            return found

        self.arrays = addresses(len(plan.arrays))
        self.vector_addresses = addresses(len(plan.vectors))
        self.matrices = addresses(len(plan.matrices))
        states_in = addresses(len(plan.carries))
        states_out = addresses(len(plan.carries))
        per_thread = b.mul(b.mul(scratch_rows, self.word(sum(self.layout.strides))), self.word(self.itemsize))
        if self.layout.shared:
            per_thread = b.add(per_thread, self.word(self.layout.shared * self.itemsize))
        base, own = (
            b.add(header["scratch"], b.mul(number, per_thread)) for number in (b.sub(thread, self.member), thread)
        )
        self.buffers = []
        start = self.word(0)
        for number, stride in enumerate(self.layout.strides):  # each sharer rounds for itself what products read
            of_team = self.pointer(base if number < len(plan.scratch) else own)
            self.buffers.append(self.at(of_team, b.mul(start, scratch_rows)))
            start = self.word(start.constant + stride)
        in_turn = self.at(self.pointer(own), b.mul(self.word(sum(self.layout.strides)), scratch_rows))
        for buffer, offset in self.shared.items():
            self.buffers[buffer] = self.at(in_turn, self.word(offset))
        offset = self.in_turn
        for convolver in self.convolvers.values():
            convolver.begin(self.at(in_turn, self.word(offset)))
            offset += convolver.room

        def tile(index: Any) -> None:
            words = self.at(tiles, b.mul(index, self.word(TILE_WORDS)), 8)
            first, rows, steps, counts = (self.read_word(words, k) for k in range(TILE_WORDS))
            part = b.add(b.mul(index, self.sharers), self.member)
            self.totals = self.at(self.pointer(header["totals"]), b.mul(part, self.word(2 * self.layout.total)))
            self._copy_states(states_in, first, rows, into_scratch=True)
            self._begin_sums()

            def step(number: Any) -> None:
                t = b.sub(b.sub(steps, number), self.word(1)) if self.reverse else number
                running = b.load(self.at(active, b.add(counts, t), 8), typ=I64)
                self._step(first, t, running)
                if self.layout.total:
                    turn = b.and_(number, self.word(_TERMS - 1))
                    with b.if_then(b.icmp_signed("==", turn, self.word(_TERMS - 1)), likely=False):
                        self._add_up()

            self.each(self.word(0), steps, 1, step)
            self._add_up()
            self._copy_states(states_out, first, rows, into_scratch=False)

        self.each_of_thread(team, header["num_tiles"], b.sdiv(header["num_threads"], self.sharers), tile)
        if self.streamed:
            b.fence("seq_cst")  # what went past the caches is seen by whoever comes next
        b.ret_void()
        return self.text()

    def _begin_sums(self) -> None:
        def one_vector(column: Any) -> None:
            self.store(self.vectors.const(0.0), self.at(self.totals, column), self.lanes, self.lanes)

        if self.layout.total:
            self.each(self.word(0), self.word(2 * self.layout.total), self.lanes, one_vector)

    def _add_up(self) -> None:
        """Move the sums of the last steps to the sums of all steps before."""
        lanes, total = self.lanes, self.word(self.layout.total)

        def one_vector(column: Any) -> None:
            late = self.at(self.totals, column)
            early = self.at(late, total)
            self.store(self.b.fadd(self.load(early, lanes, lanes), self.load(late, lanes, lanes)), early, lanes, lanes)
            self.store(self.vectors.const(0.0), late, lanes, lanes)

        if self.layout.total:
            self.each(self.word(0), total, lanes, one_vector)

    def _copy_states(self, outside: list[Any], first: Any, rows: Any, *, into_scratch: bool) -> None:
        for address, buffer in zip(outside, self.plan.carries, strict=True):
            width, stride = self.plan.scratch[buffer], self.layout.strides[buffer]

            def row(
                r: Any, *, address: Any = address, buffer: int = buffer, width: int = width, stride: int = stride
            ) -> None:
                sequence = self.b.load(self.at(self.order, self.b.add(first, r), 8), typ=I64)
                out = self.at(address, self.b.mul(sequence, self.word(width)))
                inside = self.at(self.buffers[buffer], self.b.mul(r, self.word(stride)))
                source, goal = (out, inside) if into_scratch else (inside, out)

                def columns(column: Any, count: int) -> None:
                    lanes = self.lanes
                    self.store(self.load(self.at(source, column), count, lanes), self.at(goal, column), count, lanes)

                self.columns(width, columns)

            self.each(self.member, rows, self.sharers, row)

    def _step(self, first: Any, t: Any, running: Any) -> None:
        shift = self.b.mul(t, self.row_stride)
        for segment in self.plan.segments:
            if segment.dots:
                self.emit_meeting(self.meeting, self.sharers)
                for dot in segment.dots:
                    self._dot(dot, t, running)
                self.emit_meeting(self.meeting, self.sharers)
            if not segment.groups:
                continue

            def row(r: Any, *, groups: list[Group] = segment.groups) -> None:
                base = self._row_base(first, r)
                self.ahead = self._ahead(first, r, running, base)
                self._row(groups, r, self.b.add(base, shift))

            self.each(self.member, running, self.sharers, row)

    def _row_base(self, first: Any, r: Any) -> Any:
        return self.b.load(self.at(self.row_base, self.b.add(first, r), 8), typ=I64)

    def _ahead(self, first: Any, r: Any, running: Any, base: Any) -> Any:
        """How many rows behind this one the row stands that its thread comes to next: at this step, or at the next."""
        b, word = self.b, self.word
        following = b.add(r, self.sharers)
        is_there = b.icmp_signed("<", following, running)
        step = b.sub(word(0), self.row_stride) if self.reverse else self.row_stride
        other = self._row_base(first, b.select(is_there, following, self.member))
        return b.add(b.sub(other, base), b.select(is_there, word(0), step))

    # --- products ----------------------------------------------------------------------------------------------------

    def _dot(self, dot: Value, t: Any, running: Any) -> None:
        b = self.b
        rows_of, matrix = dot.args
        largest, vectors = self.dot_tile[dot]
        inner = rows_of.width
        panel = vectors * self.lanes
        is_odd = b.icmp_signed("==", b.and_(t, self.word(1)), self.word(1))
        source_place, goal_place = self.plan.place[rows_of], self.plan.place[dot]
        source = self.at(self.buffers[source_place.index], self.word(source_place.start))
        source_stride = self.layout.strides[source_place.index]
        goal = self.buffers[goal_place.index]
        goal_stride = self.layout.strides[goal_place.index]
        weights = self.matrices[self.plan.place[matrix].index]
        if self.bf16:
            source, source_stride = self._rounded_rows(source, source_stride, inner, running), self.layout.strides[-1]
            inner = -(-inner // 2)

        def one_panel(p: Any) -> None:
            panel_weights = self.at(weights, b.mul(p, self.word(inner * panel)))
            panel_goal = self.at(goal, b.mul(p, self.word(panel)))

            def tile(size: int, r: Any) -> None:
                rows = self.at(source, b.mul(r, self.word(source_stride)))
                goals = self.at(panel_goal, b.mul(r, self.word(goal_stride)))
                back = is_odd if alone and size <= _FEWER else None
                self._product(rows, source_stride, panel_weights, inner, goals, goal_stride, size, vectors, back)

            self.in_pieces(self.word(0), running, largest, 1, tile)

        # With few sequences a step takes as long as to read the weights. They are read forth at one step and back at
        # the next, so that it begins with what is still in the nearest cache.
        count = -(-dot.width // panel)
        alone = count == 1 and inner * panel * self.itemsize in _ONE_PANEL
        mine = b.sdiv(b.add(b.sub(self.word(count), self.member), b.sub(self.sharers, self.word(1))), self.sharers)
        back = b.and_(is_odd, b.icmp_signed("<=", running, self.word(_FEW)))
        begin, way = self._way(back, b.sub(mine, self.word(1)))

        def of_mine(k: Any) -> None:
            one_panel(b.add(self.member, b.mul(self.sharers, b.add(begin, b.mul(k, way)))))

        self.each(self.word(0), mine, 1, of_mine)

    def _way(self, back: Any, last: Any) -> tuple[Any, Any]:
        """Where to begin and which way to go: from 0 up, or from the last one down."""
        b, word = self.b, self.word
        return b.select(back, last, word(0)), b.select(back, word(-1), word(1))

    def _product(
        self,
        rows: Any,
        stride: int,
        weights: Any,
        inner: int,
        goals: Any,
        goal_stride: int,
        size: int,
        vectors: int,
        back: Any,
    ) -> None:
        """goals[r, :] = rows[r, :] @ panel, for `size` rows; the sums stay in registers.

        Entries of the inner size are taken from the last one to the first where `back` is true.
        """
        v, lanes = self.vectors, self.lanes
        # one or two rows leave too few sums to hide the latency of an FMA: split the inner size among more of them
        chains = 4 if size == 1 else 2 if size == 2 else 1
        chains = chains if inner % chains == 0 else 1
        begin, way = (self.word(0), self.word(1)) if back is None else self._way(back, self.word(inner - chains))

        def accumulate(k: Any, sums: list[Any]) -> list[Any]:
            k = self.b.add(begin, self.b.mul(k, way))
            for chain in range(chains):
                at = self.b.add(k, self.word(chain))
                line = self.at(weights, self.b.mul(at, self.word(vectors * lanes)))
                columns = [self.factors(self.at(line, self.word(n * lanes))) for n in range(vectors)]
                for r in range(size):
                    spread = self.spread_factor(self.at(rows, self.b.add(at, self.word(r * stride))))
                    for n in range(vectors):
                        index = (chain * size + r) * vectors + n
                        sums[index] = self.add_product(spread, columns[n], sums[index])
            return sums

        sums = self.loop(self.word(0), self.word(inner), chains, [v.const(0.0)] * (chains * size * vectors), accumulate)
        for r in range(size):
            for n in range(vectors):
                total = sums[r * vectors + n]
                for chain in range(1, chains):
                    total = self.b.fadd(total, sums[(chain * size + r) * vectors + n])
                self.store(total, self.at(goals, self.word(r * goal_stride + n * lanes)), lanes, lanes)

    def _rounded_rows(self, source: Any, stride: int, inner: int, running: Any) -> Any:
        """The rows that a product reads as words of two bfloat16, an odd one beside a 0; returns where they stand."""
        goal, goal_stride = self.buffers[-1], self.layout.strides[-1]

        def row(r: Any) -> None:
            old, new = (
                self.at(place, self.b.mul(r, self.word(n))) for place, n in ((source, stride), (goal, goal_stride))
            )

            def columns(column: Any, count: int) -> None:
                words = self.words_of_neighbours(self.load(self.at(old, column), count, self.lanes))
                self.b.store(words, self.at(new, self.b.sdiv(column, self.word(2))), align=4)

            self.columns(inner, columns)

        self.each(self.word(0), running, 1, row)
        return goal

    # --- passes over a row -------------------------------------------------------------------------------------------

    def address(self, place: Place, r: Any, row: Any) -> Any:
        """Where the row of a place begins: `r` counts within the tile, `row` within the arrays."""
        begin = place.map.start if place.map else place.start
        if place.kind == "scratch":
            start = self.b.mul(r, self.word(self.layout.strides[place.index]))
            return self.at(self.buffers[place.index], self.b.add(start, self.word(begin)))
        if place.kind == "array":
            width = self.plan.arrays[place.index][1]
            return self.at(self.arrays[place.index], self.b.add(self.b.mul(row, self.word(width)), self.word(begin)))
        if place.kind == "total":
            return self.at(self.totals, self.word(self.layout.totals[place.index] + begin))
        return self.at(self.vector_addresses[place.index], self.word(begin))

    def _row(self, groups: list[Group], r: Any, row: Any) -> None:
        for group in groups:
            if group.values[0] in self.convolvers:
                self.convolvers[group.values[0]].emit(r, row)
                continue
            nest = Nest(self, group) if group.width > 1 else None
            if nest is None or nest.is_plain:
                self._group(group, r, row)
            else:
                nest.emit(r, row)

    def _group(self, group: Group, r: Any, row: Any) -> None:
        single = group.width == 1
        vectors = self.numbers if single else self.vectors
        inside = set(group.values)
        needed = {arg for value in group.values for arg in value.operands() if arg not in inside and arg.op != "const"}
        ordered = sorted(needed, key=lambda value: value.name)
        starts = {value: self.address(self.plan.place[value], r, row) for value in ordered}
        goals = {
            value: [(place, self.address(place, r, row)) for place in self.plan.stores.get(value, [])]
            for value in group.values
        }
        spread = {v: self.load_flagged(v, starts[v], 1, self.numbers) for v in ordered if v.width == 1}
        spread = {value: self.splat(number, vectors) for value, number in spread.items()}
        fetched = {} if single else {value: self._bytes_ahead(value) for value in ordered if self._is_rows(value)}
        sums = [value for value in group.values if value.op in REDUCTIONS]

        def block(column: Any, count: int, totals: list[Any]) -> list[Any]:
            known: dict[Value, Any] = dict(spread)
            for value in ordered:
                if value not in known:
                    pointer = self.at(starts[value], column)
                    known[value] = self.load_flagged(value, pointer, count, vectors)
                    if value in fetched and count == self.lanes:
                        self.fetch(pointer, fetched[value])
            results = dict(zip(sums, totals, strict=True))
            for value in group.values:
                if value.op in REDUCTIONS:
                    x = self._operand(value.args[0], known, vectors)
                    results[value] = self.accumulate(value.op, results[value], x, count, vectors)
                else:
                    args = [self._operand(arg, known, vectors) for arg in value.args]
                    known[value] = OPERATIONS[value.op](vectors, *args)
            # all reads come before all writes: a pass may write the state that it reads
            for value in group.values:
                if value.op in POINTWISE:
                    for place, goal in goals[value]:
                        streamed = self._is_streamed(place)
                        self.put(place, value, known[value], self.at(goal, column), count, vectors, streamed=streamed)
            return [results[value] for value in sums]

        begin = [vectors.const({"sum": 0.0, "max": float("-inf"), "min": float("inf")}[value.op]) for value in sums]
        if single:
            totals = block(self.word(0), 1, begin)
        else:
            chains = self._chains(group)

            def some_blocks(column: Any, carried: list[Any]) -> list[Any]:
                found: list[Any] = []
                for chain in range(chains):
                    mine = carried[chain * len(sums) : (chain + 1) * len(sums)]
                    found += block(self.b.add(column, self.word(chain * self.lanes)), self.lanes, mine)
                return found

            step = chains * self.lanes
            even, whole = (group.width // size * size for size in (step, self.lanes))
            ends = (
                self.loop(self.word(0), self.word(even), step, begin * chains, some_blocks) if even else begin * chains
            )
            totals = ends[: len(sums)]
            for chain in range(1, chains):
                others = ends[chain * len(sums) : (chain + 1) * len(sums)]
                totals = [
                    OPERATIONS[_BETTER[value.op]](vectors, *pair)
                    for value, pair in zip(sums, zip(totals, others, strict=True), strict=True)
                ]
            for column in range(even, whole, self.lanes):
                totals = block(self.word(column), self.lanes, totals)
            if group.width % self.lanes:
                totals = block(self.word(whole), group.width % self.lanes, totals)
        for value, total in zip(sums, totals, strict=True):
            number = total if single else self.across(value.op, total)
            for place, goal in goals[value]:
                self.put(place, value, number, goal, 1, self.numbers)

    def _is_rows(self, value: Value) -> bool:
        return value.width > 1 and self.plan.place[value].kind == "array"

    def _bytes_ahead(self, value: Value) -> Any:
        """From the row of an array to the one that is read next."""
        width = self.plan.arrays[self.plan.place[value].index][1]
        return self.b.mul(self.ahead, self.word(width * self.itemsize))

    def _chains(self, group: Group) -> int:
        """How many sums of its own each reduction has: alone, every addition would wait for the one before."""
        waits = any(value.op in REDUCTIONS for value in group.values) and group.width >= _CHAINS * self.lanes
        return _CHAINS if waits and not any(value.op in SLOW for value in group.values) else 1

    def _operand(self, value: Value, known: dict[Value, Any], vectors: Vectors) -> Any:
        return vectors.const(value.args[0]) if value.op == "const" else known[value]

    def load_flagged(self, value: Value, pointer: Any, count: int, vectors: Vectors) -> Any:
        """Truth values stand in memory as 0 and 1."""
        loaded = self.load(pointer, count, vectors.lanes)
        return self.b.fcmp_unordered("!=", loaded, vectors.const(0.0)) if value.boolean else loaded

    def _is_streamed(self, place: Place) -> bool:
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

    def accumulate(self, op: str, total: Any, x: Any, count: int, vectors: Vectors) -> Any:
        result = OPERATIONS[_BETTER[op]](vectors, total, x)
        if count == vectors.lanes:
            return result
        mask = ir.Constant(vectors.flag, [lane < count for lane in range(vectors.lanes)])
        return vectors.choose(mask, result, total)

    def across(self, op: str, total: Any) -> Any:
        """The sum or extremum of the lanes, by halves."""
        better = OPERATIONS[_BETTER[op]]
        lanes = total.type.count
        while lanes > 1:
            half = lanes // 2
            undefined = ir.Constant(total.type, ir.Undefined)
            parts = []
            for start in (0, half):
                pick = ir.Constant(ir.VectorType(I32, half), [start + lane for lane in range(half)])
                parts.append(self.b.shuffle_vector(total, undefined, pick))
            total = better(Vectors(self.b, self.bits, half) if half > 1 else _Pair(self.b, self.bits), *parts)
            lanes = half
        return self.b.extract_element(total, ir.Constant(I32, 0))


class _Pair(Vectors):
    """Vectors of one lane, as `shufflevector` leaves them."""

    def __init__(self, builder: ir.IRBuilder, bits: int) -> None:
        super().__init__(builder, bits, 1)
        self.real = ir.VectorType(self.real, 1)
        self.whole = ir.VectorType(self.whole, 1)
        self.flag = ir.VectorType(self.flag, 1)


def layout_of(plan: Schedule, target: Target, bits: int, *, bf16: bool = False) -> Layout:
    """The sizes that the caller of a schedule's code must follow; see `emit`."""
    return Emitter(plan, target, bits, reverse=False, name="layout", bf16=bf16, past_caches=False).layout


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
