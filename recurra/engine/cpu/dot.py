"""The product of the rows of a tile with a matrix of parameters, inside a loop.

Weights come packed into panels of columns. A register tile is some rows by the vectors of a panel: its sums stay in
registers while the inner size goes by.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from recurra.engine.loop import Value

if TYPE_CHECKING:
    from recurra.engine.cpu.emit import Emitter

__all__ = ["Dot"]

# Measured in November 2026 on a Zen 5, whose nearest cache has 48 KiB: loops of 64 to 256 units with up to four
# sequences take 2 to 30 % less when they go through panels of weights to and fro, with six as long, with sixteen 5 %
# more. To go through the inside of a panel that way pays with one or two sequences where it is all there is and half
# of it stays there; larger ones take up to 40 % more.
_FEW, _FEWER = 4, 2
_ONE_PANEL = range((1 << 15) + 1, (1 << 16) + 1)  # bytes


class Dot:
    """One product of a schedule.

    Attributes:
        rows, vectors: of the register tile.
        last: vectors of the last panel that hold columns, where they are fewer; else 0.
        inner: numbers of a row that is read.
        panel: columns of a panel.
        num_panels: of the matrix.
    """

    def __init__(self, emitter: Emitter, value: Value) -> None:
        self.e, self.value = emitter, value
        vectors = -(-value.width // emitter.lanes)
        self.rows, self.vectors = emitter.target.tile(vectors)
        self.last = vectors % self.vectors
        self.inner = value.args[0].width
        self.panel = self.vectors * emitter.lanes
        self.num_panels = -(-value.width // self.panel)

    @property
    def kind(self) -> tuple[int, ...]:
        """All that its code depends on, but for where numbers stand."""
        return (self.inner, self.value.width, self._stride, self._goal_stride)

    @property
    def _stride(self) -> int:
        """Numbers from one row that is read to the next."""
        e = self.e
        return e.sizes.strides[-1 if e.bf16 else e.plan.place[self.value.args[0]].index]

    @property
    def _goal_stride(self) -> int:
        return self.e.sizes.strides[self.e.plan.place[self.value].index]

    def emit(self, t: Any, running: Any) -> None:
        """Emit the product of the first `running` rows at step `t`."""
        e, b = self.e, self.e.b
        is_odd = b.icmp_signed("==", b.and_(t, e.word(1)), e.word(1))
        rows_of, matrix = self.value.args
        place = e.plan.place[rows_of]
        source = e.at(e.buffers[place.index], e.word(place.start))
        if e.bf16:
            source = self._rounded_rows(source, e.sizes.strides[place.index], running)
        goal, weights = e.buffers[e.plan.place[self.value].index], e.matrices[e.plan.place[matrix].index]
        args = [source, weights, goal, running, is_odd, e.member, e.sharers]
        if e.dot_kinds[self.kind] == 1:
            self._emit_panels(*args)
        else:  # LLVM takes longer than in proportion to the size of a function
            e.call_own(f"dot_{'_'.join(map(str, self.kind))}", args, self._emit_panels)

    def _emit_panels(
        self, source: Any, weights: Any, goal: Any, running: Any, is_odd: Any, member: Any, sharers: Any
    ) -> None:
        e, b = self.e, self.e.b
        inner = -(-self.inner // 2) if e.bf16 else self.inner

        # With few sequences a step takes as long as to read the weights. They are read forth at one step and back at
        # the next, so that it begins with what is still in the nearest cache.
        alone = self.num_panels == 1 and inner * self.panel * e.itemsize in _ONE_PANEL
        mine = e.quotient(b.sub(e.word(self.num_panels), member), sharers)
        back = b.and_(is_odd, b.icmp_signed("<=", running, e.word(_FEW)))
        begin, way = self._way(back, b.sub(mine, e.word(1)))

        def one_panel(k: Any) -> None:
            p = b.add(member, b.mul(sharers, b.add(begin, b.mul(k, way))))
            panel = e.at(weights, b.mul(p, e.word(inner * self.panel)))
            panel_goal = e.at(goal, b.mul(p, e.word(self.panel)))

            def tile(vectors: int, size: int, r: Any) -> None:
                rows = e.at(source, b.mul(r, e.word(self._stride)))
                goals = e.at(panel_goal, b.mul(r, e.word(self._goal_stride)))
                self._tile(rows, panel, inner, goals, size, vectors, is_odd if alone and size <= _FEWER else None)

            def tiles(vectors: int) -> None:
                e.in_pieces(running, e.target.tile_rows(vectors), functools.partial(tile, vectors))

            if not self.last:
                tiles(self.vectors)
                return
            with b.if_else(b.icmp_signed("==", p, e.word(self.num_panels - 1))) as (narrow, whole):
                with narrow:
                    tiles(self.last)
                with whole:
                    tiles(self.vectors)

        e.each(e.word(0), mine, 1, one_panel)

    def _way(self, back: Any, last: Any) -> tuple[Any, Any]:
        """Where to begin and which way to go: from 0 up, or from the last one down."""
        b, word = self.e.b, self.e.word
        return b.select(back, last, word(0)), b.select(back, word(-1), word(1))

    def _tile(self, rows: Any, panel: Any, inner: int, goals: Any, size: int, vectors: int, back: Any) -> None:
        """goals[r, :] = rows[r, :] @ panel, for `size` rows and the first `vectors` of the panel.

        Entries of the inner size are taken from the last one to the first where `back` is true.
        """
        e, lanes = self.e, self.e.lanes
        # one or two rows leave too few sums to hide the latency of an FMA: split the inner size among more of them
        chains = 4 if size == 1 else 2 if size == 2 else 1
        chains = chains if inner % chains == 0 else 1
        begin, way = (e.word(0), e.word(1)) if back is None else self._way(back, e.word(inner - chains))

        def accumulate(k: Any, sums: list[Any]) -> list[Any]:
            k = e.b.add(begin, e.b.mul(k, way))
            for chain in range(chains):
                at = e.b.add(k, e.word(chain))
                line = e.at(panel, e.b.mul(at, e.word(self.panel)))
                columns = [e.factors(e.at(line, e.word(n * lanes))) for n in range(vectors)]
                for r in range(size):
                    spread = e.spread_factor(e.at(rows, e.b.add(at, e.word(r * self._stride))))
                    for n in range(vectors):
                        index = (chain * size + r) * vectors + n
                        sums[index] = e.add_product(spread, columns[n], sums[index])
            return sums

        none = [e.vectors.const(0.0)] * (chains * size * vectors)
        sums = e.loop(e.word(0), e.word(inner), chains, none, accumulate)
        for r in range(size):
            for n in range(vectors):
                total = sums[r * vectors + n]
                for chain in range(1, chains):
                    total = e.b.fadd(total, sums[(chain * size + r) * vectors + n])
                e.write(total, e.at(goals, e.word(r * self._goal_stride + n * lanes)))

    def _rounded_rows(self, source: Any, stride: int, running: Any) -> Any:
        """The rows that are read as words of two bfloat16, an odd one beside a 0; returns where they stand."""
        e = self.e
        goal, places = e.buffers[-1], ((source, stride), (e.buffers[-1], self._stride))

        def row(r: Any) -> None:
            old, new = (e.at(place, e.b.mul(r, e.word(n))) for place, n in places)

            def columns(column: Any, count: int) -> None:
                words = e.words_of_neighbours(e.load(e.at(old, column), count, e.lanes))
                e.b.store(words, e.at(new, e.b.sdiv(column, e.word(2))), align=4)

            e.columns(self.inner, columns)

        e.each(e.word(0), running, 1, row)
        return goal
