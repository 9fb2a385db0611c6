"""Products of matrices of any strides, for the work outside the loops over time.

    C = A B + bias        A [M, K], B [K, N], bias [N]

One piece of code serves the products before a loop and the sums over all rows after it, where A is a transpose. The
inner size is cut into blocks; of each block a panel of columns of B is copied into one stretch of memory that stays in
the second-level cache while rows of A go past it. A tile of C is summed up in registers. Threads share the rows or the
panels, never a sum: results do not depend on how many there are.

With factors of bfloat16 the copy of the panel is rounded, and so is one of the block of A; an entry of the inner size
is then a word of two numbers.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from llvmlite import ir
from torch import Tensor

from recurra.engine.cpu import arena, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.packing import PanelWriter, laid_out
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.writer import POINTER
from recurra.engine.memory import in_memory

__all__ = ["matmul"]

# Entries of the inner size in a block: a panel is to be a quarter of a common second-level cache at most. Where A is a
# transpose, a row of it is spread over as many lines of memory, which must stay near until the rows that follow, in the
# same lines, were read (measured on a Zen 5: 8 to 20 % of products whose factors come from far, 2 to 5 % of others).
_BLOCK, _BLOCK_OF_TRANSPOSE = 512, 128
# entries of the inner size that A is fetched ahead, where each stands in a line of memory of its own; fewer where these
# lines are pages apart, as the nearest cache has room for a dozen such (measured on a Zen 5: 5 to 9 % of the products)
_AHEAD, _AHEAD_BY_PAGES = 24, 8
_PAGE = 1 << 12

# words of the table; the shares of rows and columns that threads have are found by the code, from the first two lines
_TABLE = (
    *("rows", "inner", "columns", "down", "along", "block"),
    *("a", "a_row", "a_inner", "b", "b_inner", "b_column"),
    *("c", "c_row", "bias", "panels", "panels_of_thread", "rounded"),
)


def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None, *, bf16: bool = False) -> Tensor:
    """`a @ b + bias`, without a gradient.

    Shapes: a [M, K], b [K, N], bias [N], all of one type, float32 or float64, on the CPU -> [M, N].

    Args:
        a, b, bias: see above.
        bf16: round the factors of float32 to bfloat16 and add up in float32, on a processor that can.
    """
    rows, inner = a.shape
    columns = b.shape[1]
    if 0 in (rows, inner, columns):
        return a @ b if bias is None else torch.addmm(bias, a, b)
    a, b = laid_out(a), laid_out(b)
    result = arena.empty((rows, columns), a.dtype)
    height, width = _tile(host(), a.element_size())
    lanes = host().lanes(a.element_size())
    threads = team.num_threads() if 2 * rows * inner * columns >= team.WORTH_A_THREAD else 1
    unit = lanes if bf16 else height  # what is rounded stands in whole lines
    down, along = _grid(rows, columns, unit, width, threads, by_rows=bf16)
    # where A is a transpose, as a rule of rows of a batch, room for a whole block: it is then the same for all batches
    block = _BLOCK_OF_TRANSPOSE if a.stride(0) == 1 else min(_BLOCK, _up(inner, lanes))
    panels = arena.empty((down * along, block + 1, width), a.dtype)
    rounded = arena.empty((along, _up(rows, lanes) if bf16 else 0, block // 2), a.dtype)
    bias = None if bias is None else in_memory(bias).contiguous()
    words: list[int | Tensor] = [
        rows,
        inner,
        columns,
        down,
        along,
        block,
        a,
        *a.stride(),
        b,
        *b.stride(),
        result,
        columns,
    ]
    words += [0 if bias is None else bias, panels, (block + 1) * width, rounded]
    team.do(team.Job(_code(8 * a.element_size(), bf16, host()), words, down * along))
    return result


def _up(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def _tile(target: Target, itemsize: int) -> tuple[int, int]:
    """Rows and columns of the register tile, and of a panel as many columns."""
    rows, vectors = target.tile(target.registers)
    return rows, vectors * target.lanes(itemsize)


@functools.lru_cache(maxsize=256)
def _grid(rows: int, columns: int, unit: int, width: int, threads: int, *, by_rows: bool) -> tuple[int, int]:
    """How many shares there are of the rows, and of the columns, one of each for a thread: as even as tiles and panels
    allow, the rows in whole units.

    Where it makes no difference a thread has all columns of some rows, or all rows of some panels: so that no row, or
    else no panel, is copied twice.
    """
    tiles, panels = -(-rows // unit), -(-columns // width)

    def grid(along: int) -> tuple[int, int]:
        return min(threads // along, tiles), min(along, panels)

    def largest(count: int, unit: int, parts: int) -> int:  # the last tile or panel may be narrow
        return max(min(count, last * unit) - first * unit for first, last in team.cut(-(-count // unit), parts))

    def cost(along: int) -> tuple[int, int]:
        shares = grid(along)
        return largest(rows, unit, shares[0]) * largest(columns, width, shares[1]), along if by_rows else -along

    return grid(min(range(1, threads + 1), key=cost))


@functools.cache
def _code(bits: int, bf16: bool, target: Target) -> Code:
    team.prepare()
    return compile_text(_Emitter(target, bits, "matmul", bf16=bf16).emit(), "matmul", target)


class _Emitter(PanelWriter):
    def emit(self) -> str:
        b = self.b
        _, thread = self.function.args
        self.head = head = self.read_head(_TABLE, (), ("a", "b", "c", "bias", "panels", "rounded"))
        self.height, width = _tile(self.target, self.itemsize)
        down, along = b.sdiv(thread, head["along"]), b.srem(thread, head["along"])
        unit = self.lanes if self.bf16 else self.height
        head["first_row"], head["last_row"] = self._share("rows", unit, down, head["down"])
        head["first_column"], head["last_column"] = self._share("columns", width, along, head["along"])
        # the copies of a thread's rows stand after those of the threads before
        copied = b.add(b.mul(along, self._whole(head["rows"])), head["first_row"])
        self.copy = self.at(head["rounded"], b.mul(copied, b.ashr(head["block"], self.word(1))))
        self.rows_of_copy = self._whole(b.sub(head["last_row"], head["first_row"]))
        # blocks of one size, but for the last
        number = self.quotient(head["inner"], head["block"])
        even = self.quotient(head["inner"], number)
        head["block"] = self._whole(even)
        # behind the panel stands the row with which its sums begin
        self.panel = self.at(head["panels"], b.mul(thread, head["panels_of_thread"]))
        self.start = self.at(self.panel, b.mul(head["block"], self.word(width)))
        self.each(self.word(0), self.head["inner"], self.head["block"], lambda k: self._block(k, width // self.lanes))
        b.ret_void()
        return self.text()

    def _whole(self, count: Any) -> Any:
        """So many, rounded up to whole vectors."""
        return self.b.mul(self.quotient(count, self.word(self.lanes)), self.word(self.lanes))

    def _share(self, name: str, unit: int, part: Any, parts: Any) -> tuple[Any, Any]:
        """The first and the last, which is not in it, of one of so many parts, as `team.cut` has it."""
        b, count, unit = self.b, self.head[name], self.word(unit)
        units = self.quotient(count, unit)

        def edge(part: Any) -> Any:
            return self.least(b.mul(b.sdiv(b.mul(units, part), parts), unit), count)

        return edge(part), edge(b.add(part, self.word(1)))

    def _block(self, k: Any, vectors: int) -> None:
        """Add what entries from k on of the inner size give."""
        b, head = self.b, self.head
        self.count = self.least(b.sub(head["inner"], k), head["block"])
        self.is_first = b.icmp_signed("==", k, self.word(0))
        # where the first row of this thread begins, and how far it is to the next one, and to the next entry
        row = b.mul(head["first_row"], head["a_row"])
        self.a = self.at(head["a"], b.add(row, b.mul(k, head["a_inner"])))
        self.a_row, self.a_inner, self.entries = head["a_row"], head["a_inner"], self.count
        self.b_block = self.at(head["b"], b.mul(k, head["b_inner"]))
        if self.bf16:
            self._round_block()
        # full panels of columns, then one of what is left, whose last vector may not be full
        width = self.word(vectors * self.lanes)
        left = b.srem(b.sub(head["last_column"], head["first_column"]), width)
        column = b.sub(head["last_column"], left)
        self.each(head["first_column"], column, width, lambda column: self._panel(column, [self.lanes] * vectors))
        needed = self.quotient(left, self.word(self.lanes))
        for full in range(vectors):
            with b.if_then(b.icmp_signed("==", needed, self.word(full + 1))):
                self._panel(column, [*[self.lanes] * full, b.sub(left, self.word(full * self.lanes))])

    def _panel(self, column: Any, counts: list[Any]) -> None:
        """Columns of C that stand side by side, in vectors with so many numbers."""
        b, head = self.b, self.head
        strides = head["b_inner"], head["b_column"]
        source = self.at(self.b_block, b.mul(column, strides[1]))
        self.pack_panel(source, strides, self.count, self.panel, counts)
        bias = b.icmp_unsigned("!=", head["bias"], ir.Constant(POINTER, None))
        for n, count in enumerate(counts):
            start = self.vector_at(self.start, n)
            self.write(self.vectors.const(0.0), start)
            with b.if_then(bias):
                self.write(self.load(self.vector_at(self.at(head["bias"], column), n), count, self.lanes), start)

        def tile(size: int, row: Any) -> None:
            self._sums(row, column, size, counts)

        self.in_pieces(b.sub(head["last_row"], head["first_row"]), self.height, tile)

    # --- copies ----------------------------------------------------------------------------------------------------

    def _round_block(self) -> None:
        """Copy this thread's rows of the block of A, and have products read the copy: [row, entry] or [entry, row]."""
        b, head = self.b, self.head
        rows, half = b.sub(head["last_row"], head["first_row"]), b.ashr(head["block"], self.word(1))
        self.entries = b.ashr(b.add(self.count, self.word(1)), self.word(1))
        by_rows = b.icmp_signed("==", head["a_inner"], self.word(1))
        with b.if_else(by_rows) as (yes, no):
            with yes:
                self.each(self.word(0), rows, 1, lambda row: self._round_row(row, half))
            with no:
                self.each(self.word(0), self.count, 2, lambda k: self._round_lines(k, rows))
        self.a = self.copy
        self.a_row = b.select(by_rows, half, self.word(1))
        self.a_inner = b.select(by_rows, self.word(1), self.rows_of_copy)

    def _round_row(self, row: Any, half: Any) -> None:
        b = self.b
        old, new = self.at(self.a, b.mul(row, self.head["a_row"])), self.at(self.copy, b.mul(row, half))

        def piece(k: Any) -> None:
            numbers = self.load(self.at(old, k), self.up_to(b.sub(self.count, k)), self.lanes)
            b.store(self.words_of_neighbours(numbers), self.at(new, b.ashr(k, self.word(1))), align=4)

        self.each(self.word(0), self.count, self.lanes, piece)

    def _round_lines(self, k: Any, rows: Any) -> None:
        b = self.b
        even, odd = (self.at(self.a, b.mul(b.add(k, self.word(i)), self.head["a_inner"])) for i in range(2))
        goal = self.at(self.copy, b.mul(b.ashr(k, self.word(1)), self.rows_of_copy))
        has_odd = b.icmp_signed("<", b.add(k, self.word(1)), self.count)

        def piece(row: Any) -> None:
            count = self.up_to(b.sub(rows, row))
            one = self.load(self.at(even, row), count, self.lanes)
            other = self.load(self.at(odd, row), b.select(has_odd, count, self.word(0)), self.lanes)
            b.store(self.words_of_two(one, other), self.at(goal, row), align=4)

        self.each(self.word(0), rows, self.lanes, piece)

    # --- sums ------------------------------------------------------------------------------------------------------

    def _sums(self, row: Any, column: Any, size: int, counts: list[Any]) -> None:
        """C[row : row + size, a panel] += A[row : row + size, a block] @ panel; rows are counted within the thread."""
        b, head, lanes, vectors = self.b, self.head, self.lanes, len(counts)
        a = self.at(self.a, b.mul(row, self.a_row))
        rows = [self.at(a, b.mul(self.word(r), self.a_row)) for r in range(size)]
        c = self.at(self.at(head["c"], b.mul(b.add(head["first_row"], row), head["c_row"])), column)
        goals = [self.at(c, b.mul(self.word(r), head["c_row"])) for r in range(size)]
        starts = [b.select(self.is_first, self.start, goal) for goal in goals]
        sums = [self.load(self.vector_at(start, n), count, lanes) for start in starts for n, count in enumerate(counts)]
        bytes_ = b.mul(self.a_inner, self.word(self.itemsize))
        by_pages = b.icmp_signed("==", b.and_(bytes_, self.word(_PAGE - 1)), self.word(0))
        ahead = b.mul(bytes_, b.select(by_pages, self.word(_AHEAD_BY_PAGES), self.word(_AHEAD)))

        def accumulate(k: Any, sums: list[Any]) -> list[Any]:
            line = self.at(self.panel, b.mul(k, self.word(vectors * lanes)))
            factors = [self.factors(self.vector_at(line, n)) for n in range(vectors)]
            step = b.mul(k, self.a_inner)
            self.fetch(self.at(rows[0], step), ahead)
            for r in range(size):
                spread = self.spread_factor(self.at(rows[r], step))
                for n in range(vectors):
                    sums[r * vectors + n] = self.add_product(spread, factors[n], sums[r * vectors + n])
            return sums

        sums = self.loop(self.word(0), self.entries, 1, sums, accumulate)
        for r, goal in enumerate(goals):
            for n, count in enumerate(counts):
                self.store(sums[r * vectors + n], self.vector_at(goal, n), count, lanes)
