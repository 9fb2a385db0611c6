"""Products of matrices of any strides, for the work outside the loops over time.

    C = A B + bias        A [M, K], B [K, N], bias [N]

One piece of code serves the products before a loop and the sums over all rows after it, where A is a transpose. The
inner size is cut into blocks; of each block a panel of columns of B is copied into one stretch of memory that stays in
the second-level cache while rows of A go past it. A tile of C is summed up in registers. Threads share the rows or the
panels, never a sum: results do not depend on how many there are.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable
from typing import Any

import torch
from llvmlite import ir
from torch import Tensor

from recurra.engine.cpu import arena, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import Target, host, row_sizes
from recurra.engine.cpu.writer import I32, POINTER, Writer

__all__ = ["matmul"]

_BLOCK = 512  # of the inner size: a panel of it is a quarter of a common second-level cache at most
_AHEAD = 24  # entries of the inner size that A is fetched ahead, where each stands in a line of memory of its own

# words of the table; those of each thread follow
_TABLE = (
    *("threads", "inner", "block", "a", "a_row", "a_inner", "b", "b_inner", "b_column"),
    *("c", "c_row", "bias", "panels"),
)
_THREAD = ("first_row", "last_row", "first_column", "last_column")


def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a @ b + bias`, without a gradient.

    Shapes: a [M, K], b [K, N], bias [N], all of one type, float32 or float64, on the CPU -> [M, N].
    """
    rows, inner = a.shape
    columns = b.shape[1]
    if 0 in (rows, inner, columns):
        return a @ b if bias is None else torch.addmm(bias, a, b)
    result = arena.empty(rows, columns, a.dtype)
    height, width = _tile(host(), a.element_size())
    parts = _parts(rows, columns, height, width, team.num_threads())
    block = -(-inner // max(1, -(-inner // _BLOCK)))  # blocks of one size, but for the last
    panels = torch.empty(len(parts), block + 1, width, dtype=a.dtype)
    bias = None if bias is None else bias.contiguous()
    words = [len(parts), inner, block, a.data_ptr(), *a.stride(), b.data_ptr(), *b.stride()]
    words += [result.data_ptr(), columns, 0 if bias is None else bias.data_ptr(), panels.data_ptr()]
    table = (ctypes.c_int64 * (len(words) + 4 * len(parts)))(*words, *itertools.chain.from_iterable(parts))
    team.run(_code(8 * a.element_size(), host()), ctypes.addressof(table), len(parts))
    return result


def _tile(target: Target, itemsize: int) -> tuple[int, int]:
    """Rows and columns of the register tile, and of a panel as many columns."""
    rows, vectors = target.tile(target.registers)
    return rows, vectors * target.lanes(itemsize)


@functools.lru_cache(maxsize=256)
def _parts(rows: int, columns: int, height: int, width: int, threads: int) -> list[tuple[int, int, int, int]]:
    """Rows and columns of each thread, from the first to the last: shares as even as tiles and panels allow.

    Where it makes no difference a thread has all rows of some panels, so that no panel is copied twice.
    """
    tiles, panels = -(-rows // height), -(-columns // width)

    def largest(across: int) -> int:
        return -(-panels // across) * -(-tiles // (threads // across))

    across = min(range(1, threads + 1), key=lambda across: (largest(across), -across))
    down = [(first * height, min(rows, last * height)) for first, last in _cut(tiles, threads // across)]
    along = [(first * width, min(columns, last * width)) for first, last in _cut(panels, across)]
    return [(*each, *other) for each, other in itertools.product(down, along)]


def _cut(count: int, parts: int) -> list[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return [(first, last) for first, last in itertools.pairwise(edges) if first < last]


@functools.cache
def _code(bits: int, target: Target) -> Code:
    team.prepare()
    return compile_text(str(_Emitter(target, bits, "matmul").emit()), "matmul", target)


class _Emitter(Writer):
    def emit(self) -> ir.Module:
        b = self.b
        table, thread = self.function.args
        own = self.at(table, b.add(self.word(len(_TABLE)), b.mul(thread, self.word(len(_THREAD)))), 8)
        self.head = {**self.read_words(table, _TABLE), **self.read_words(own, _THREAD)}
        for name in ("a", "b", "c", "bias", "panels"):
            self.head[name] = self.pointer(self.head[name])
        self.height, width = _tile(self.target, self.itemsize)
        # behind the panel stands the row with which its sums begin
        share = b.mul(b.add(self.head["block"], self.word(1)), self.word(width))
        self.panel = self.at(self.head["panels"], b.mul(thread, share))
        self.start = self.at(self.panel, b.mul(self.head["block"], self.word(width)))
        self.each(self.word(0), self.head["inner"], self.head["block"], lambda k: self._block(k, width // self.lanes))
        b.ret_void()
        self.emit_team()
        return self.module

    def _block(self, k: Any, vectors: int) -> None:
        """Add what entries from k on of the inner size give."""
        b, head = self.b, self.head
        left = b.sub(head["inner"], k)
        self.count = b.select(b.icmp_signed("<", left, head["block"]), left, head["block"])
        self.is_first = b.icmp_signed("==", k, self.word(0))
        self.a = self.at(head["a"], b.mul(k, head["a_inner"]))
        self.b_block = self.at(head["b"], b.mul(k, head["b_inner"]))
        # panels of columns, then narrower ones, then a vector that is not full
        column = self._cut(head["first_column"], head["last_column"], vectors, self.lanes, self._full_panel)
        count = b.sub(head["last_column"], column)
        with b.if_then(b.icmp_signed(">", count, self.word(0))):
            self._panel(column, 1, count)

    def _cut(self, start: Any, stop: Any, largest: int, unit: int, body: Callable[[int, Any], None]) -> Any:
        """`body(size, at)` for pieces of the largest size, then for smaller ones; returns where what is left begins."""
        for size in row_sizes(largest):
            step = self.word(size * unit)
            end = self.b.add(start, self.b.mul(self.b.sdiv(self.b.sub(stop, start), step), step))
            self.each(start, end, step, functools.partial(body, size))
            start = end
        return start

    def _full_panel(self, vectors: int, column: Any) -> None:
        self._panel(column, vectors, self.lanes)

    def _panel(self, column: Any, vectors: int, count: Any) -> None:
        """Columns of C that stand side by side: `vectors` of them, each with `count` numbers."""
        b, head = self.b, self.head
        self._pack(column, vectors, count)
        bias = b.icmp_unsigned("!=", head["bias"], ir.Constant(POINTER, None))
        for n in range(vectors):
            self.store(self.vectors.const(0.0), self._vector(self.start, n), self.lanes, self.lanes)
            with b.if_then(bias):
                numbers = self.load(self._vector(self.at(head["bias"], column), n), count, self.lanes)
                self.store(numbers, self._vector(self.start, n), self.lanes, self.lanes)

        def tile(size: int, row: Any) -> None:
            self._sums(row, column, size, vectors, count)

        self._cut(head["first_row"], head["last_row"], self.height, 1, tile)

    def _vector(self, pointer: Any, n: int) -> Any:
        return self.at(pointer, self.word(n * self.lanes))

    def _pack(self, column: Any, vectors: int, count: Any) -> None:
        """Copy a panel of this block of B, so that what is read one after the other stands so."""
        b, head = self.b, self.head
        source = self.at(self.b_block, b.mul(column, head["b_column"]))
        by_lines = b.icmp_signed("==", head["b_column"], self.word(1))
        with b.if_else(by_lines) as (yes, no):
            with yes:
                self.each(self.word(0), self.count, 1, lambda k: self._copy_line(source, k, vectors, count))
            with no:
                if isinstance(count, int):
                    by_columns = b.icmp_signed("==", head["b_inner"], self.word(1))
                    done = b.select(by_columns, b.and_(self.count, self.word(-self.lanes)), self.word(0))
                    self.each(self.word(0), done, self.lanes, lambda k: self._turn_square(source, k, vectors))
                    self._copy_numbers(source, done, self.word(vectors * self.lanes), vectors)
                else:
                    self._copy_numbers(source, self.word(0), count, vectors)

    def _copy_line(self, source: Any, k: Any, vectors: int, count: Any) -> None:
        old = self.at(source, self.b.mul(k, self.head["b_inner"]))
        for n in range(vectors):
            numbers = self.load(self._vector(old, n), count, self.lanes)
            self.store(numbers, self._vector(self._line(k, vectors), n), self.lanes, self.lanes)

    def _copy_numbers(self, source: Any, start: Any, columns: Any, vectors: int) -> None:
        """One by one, from an entry of the inner size on."""
        b, head = self.b, self.head

        def number(j: Any, k: Any) -> None:
            old = self.at(source, b.add(b.mul(j, head["b_column"]), b.mul(k, head["b_inner"])))
            self.store(self.load(old, 1, 1), self.at(self._line(k, vectors), j), 1, 1)

        self.each(self.word(0), columns, 1, lambda j: self.each(start, self.count, 1, lambda k: number(j, k)))

    def _turn_square(self, source: Any, k: Any, vectors: int) -> None:
        """As many entries of the inner size as a vector has lanes, from columns that stand in one stretch each."""
        b, lanes = self.b, self.lanes
        for n in range(vectors):
            columns = []
            for j in range(lanes):
                start = b.mul(self.word(n * lanes + j), self.head["b_column"])
                columns.append(self.load(self.at(source, b.add(start, k)), lanes, lanes))
            for j, line in enumerate(self.transposed(columns)):
                self.store(line, self._vector(self._line(b.add(k, self.word(j)), vectors), n), lanes, lanes)

    def _line(self, k: Any, vectors: int) -> Any:
        return self.at(self.panel, self.b.mul(k, self.word(vectors * self.lanes)))

    def _sums(self, row: Any, column: Any, size: int, vectors: int, count: Any) -> None:
        """C[row : row + size, a panel] += A[row : row + size, a block] @ panel."""
        b, head, lanes = self.b, self.head, self.lanes
        a = self.at(self.a, b.mul(row, head["a_row"]))
        rows = [self.at(a, b.mul(self.word(r), head["a_row"])) for r in range(size)]
        c = self.at(self.at(head["c"], b.mul(row, head["c_row"])), column)
        goals = [self.at(c, b.mul(self.word(r), head["c_row"])) for r in range(size)]
        starts = [b.select(self.is_first, self.start, goal) for goal in goals]
        sums = [self.load(self._vector(start, n), count, lanes) for start in starts for n in range(vectors)]
        ahead = b.mul(head["a_inner"], self.word(_AHEAD))

        def accumulate(k: Any, sums: list[Any]) -> list[Any]:
            line = self._line(k, vectors)
            numbers = [self.load(self._vector(line, n), lanes, lanes) for n in range(vectors)]
            step = b.mul(k, head["a_inner"])
            self._fetch(self.at(rows[0], b.add(step, ahead)))
            for r in range(size):
                spread = self.splat(self.load(self.at(rows[r], step), 1, 1), self.vectors)
                for n in range(vectors):
                    sums[r * vectors + n] = self.vectors.fma(spread, numbers[n], sums[r * vectors + n])
            return sums

        sums = self.loop(self.word(0), self.count, 1, sums, accumulate)
        for r, goal in enumerate(goals):
            for n in range(vectors):
                self.store(sums[r * vectors + n], self._vector(goal, n), count, lanes)

    def _fetch(self, pointer: Any) -> None:
        """Have the memory there brought near; it is no fault where there is none."""
        kind = ir.FunctionType(ir.VoidType(), [POINTER, I32, I32, I32])
        function = self.module.globals.get("llvm.prefetch.p0") or ir.Function(self.module, kind, "llvm.prefetch.p0")
        read, nearest, data = (ir.Constant(I32, number) for number in (0, 3, 1))
        self.b.call(function, [pointer, read, nearest, data])
