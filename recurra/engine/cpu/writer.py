"""What machine code is written with: one function of a table of 64-bit words and the number of the thread."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from recurra.engine.cpu import team
from recurra.engine.cpu.target import Target
from recurra.engine.cpu.vectors import Vectors

__all__ = ["I32", "I64", "POINTER", "Writer"]

I64, I32, POINTER = ir.IntType(64), ir.IntType(32), ir.PointerType()


class _BFloat(ir.types._BaseFloatType):
    null, intrinsic_name = "0.0", "bf16"

    def __str__(self) -> str:
        return "bfloat"


_BFloat._create_instance()


class Writer:
    """Writes `name(table, thread)` as LLVM IR.

    Args:
        target: the processor.
        bits: 32 or 64, the precision.
        name: of the function.
        bf16: whether factors of products are words of two bfloat16, which `add_product` sums up in float32.
    """

    def __init__(self, target: Target, bits: int, name: str, *, bf16: bool = False) -> None:
        self.target, self.bits, self.itemsize, self.bf16 = target, bits, bits // 8, bf16
        self.lanes = target.lanes(self.itemsize)
        self.module = ir.Module(name)
        self.module.triple = target.triple
        self.function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [POINTER, I64]), name)
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.vectors = Vectors(self.b, bits, self.lanes, fused=target.fused, scales=target.scales)
        self.numbers = Vectors(self.b, bits, 1, fused=target.fused)
        self.words = ir.VectorType(I32, self.lanes)

    # --- addresses -------------------------------------------------------------------------------------------------

    def word(self, number: int) -> ir.Constant:
        return ir.Constant(I64, number)

    def at(self, pointer: Any, index: Any, itemsize: int | None = None) -> Any:
        """The address of number `index` after `pointer`."""
        bytes_ = self.b.mul(index, self.word(itemsize or self.itemsize))
        return self.b.gep(pointer, [bytes_], inbounds=True, source_etype=ir.IntType(8))

    def read_word(self, pointer: Any, index: int) -> Any:
        return self.b.load(self.at(pointer, self.word(index), 8), typ=I64)

    def read_words(self, pointer: Any, names: Sequence[str]) -> dict[str, Any]:
        """The words that stand there in this order."""
        return {name: self.read_word(pointer, index) for index, name in enumerate(names)}

    def read_head(self, names: Sequence[str], of_thread: Sequence[str], pointers: Sequence[str]) -> dict[str, Any]:
        """The words of the table, then those of the thread behind them; some are addresses."""
        table, thread = self.function.args
        own = self.at(table, self.b.add(self.word(len(names)), self.b.mul(thread, self.word(len(of_thread)))), 8)
        head = {**self.read_words(table, names), **self.read_words(own, of_thread)}
        return {**head, **{name: self.pointer(head[name]) for name in pointers}}

    def pointer(self, word: Any) -> Any:
        return self.b.inttoptr(word, POINTER)

    def quotient(self, count: Any, unit: Any) -> Any:
        """How many units it takes for so many, the last one maybe not whole."""
        return self.b.sdiv(self.b.add(count, self.b.sub(unit, self.word(1))), unit)

    def least(self, one: Any, other: Any) -> Any:
        """The smaller of two words."""
        return self.b.select(self.b.icmp_signed("<", one, other), one, other)

    def most(self, one: Any, other: Any) -> Any:
        """The larger of two words."""
        return self.b.select(self.b.icmp_signed(">", one, other), one, other)

    def call(self, name: str, result: Any, args: Sequence[Any]) -> Any:
        """Call a function that stands elsewhere, one of LLVM's or one that `team.prepare` names."""
        kind = ir.FunctionType(result, [arg.type for arg in args])
        return self.b.call(self.module.globals.get(name) or ir.Function(self.module, kind, name), args)

    def call_own(self, name: str, args: Sequence[Any], body: Callable[..., None]) -> None:
        """Call a function of this module, whose code `body(*args)` writes at the first call."""
        if name not in self.module.globals:
            function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [arg.type for arg in args]), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            caller = self.b.block
            self.b.position_at_end(function.append_basic_block("entry"))
            body(*function.args)
            self.b.ret_void()
            self.b.position_at_end(caller)
        self.call(name, ir.VoidType(), args)

    # --- loops -----------------------------------------------------------------------------------------------------

    def loop(
        self, start: Any, stop: Any, step: Any, carried: Sequence[Any], body: Callable[[Any, list[Any]], Sequence[Any]]
    ) -> list[Any]:
        """`for index in range(start, stop, step): carried = body(index, carried)`; returns what is carried out."""
        b = self.b
        before = b.block
        head, inside, after = (b.append_basic_block(name) for name in ("head", "inside", "after"))
        b.branch(head)
        b.position_at_end(head)
        index = b.phi(I64)
        index.add_incoming(start, before)
        phis = []
        for value in carried:
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        b.cbranch(b.icmp_signed("<", index, stop), inside, after)
        b.position_at_end(inside)
        results = body(index, list(phis))
        following = b.add(index, self.word(step) if isinstance(step, int) else step)
        index.add_incoming(following, b.block)
        for phi, value in zip(phis, results, strict=True):
            phi.add_incoming(value, b.block)
        b.branch(head)
        b.position_at_end(after)
        return phis

    def each(self, start: Any, stop: Any, step: Any, body: Callable[[Any], None]) -> None:
        """`for index in range(start, stop, step): body(index)`."""

        def once(index: Any, _: list[Any]) -> list[Any]:
            body(index)
            return []

        self.loop(start, stop, step, [], once)

    def columns(self, width: int, body: Callable[[Any, int], None]) -> None:
        """Run `body(column, count)` over whole vectors, then over the rest."""
        whole = width // self.lanes * self.lanes
        if whole:
            self.each(self.word(0), self.word(whole), self.lanes, lambda column: body(column, self.lanes))
        if width % self.lanes:
            body(self.word(whole), width % self.lanes)

    def each_of_thread(self, thread: Any, count: Any, threads: Any, body: Callable[[Any], None]) -> None:
        """`body(k)` for every k below `count` that is the thread's: k modulo the number of threads is its own."""
        rounds = self.quotient(self.b.sub(count, thread), threads)
        self.each(self.word(0), rounds, 1, lambda k: body(self.b.add(thread, self.b.mul(k, threads))))

    def in_pieces(self, stop: Any, largest: int, body: Callable[[int, Any], None]) -> None:
        """`body(size, at)` for as few pieces from 0 until `stop` as there can be, of sizes that differ by one at most.

        A piece of one or two rows reads all weights, too, and waits for them: three pieces of 6, 6 and 5 rows take less
        than those of 8, 8 and 1 (measured on a Zen 4: up to 9 % of a loop).
        """
        b, one = self.b, self.word(1)
        pieces = self.quotient(stop, self.word(largest))
        pieces = b.select(b.icmp_signed(">", pieces, one), pieces, one)
        size_of_most = b.sdiv(stop, pieces)
        larger = b.sub(stop, b.mul(size_of_most, pieces))  # so many pieces have one more
        edge = b.mul(larger, b.add(size_of_most, one))
        start: Any = self.word(0)
        for size in range(largest, 0, -1):
            is_larger = b.icmp_signed("==", self.word(size - 1), size_of_most)
            is_most = b.icmp_signed("==", self.word(size), size_of_most)
            end = b.select(is_larger, edge, b.select(is_most, stop, start))
            self.each(start, end, self.word(size), functools.partial(body, size))
            start = end

    # --- numbers ---------------------------------------------------------------------------------------------------

    def load(self, pointer: Any, count: Any, lanes: int) -> Any:
        """`count` numbers as a vector of `lanes`; the missing lanes are 0 and their memory is not touched."""
        real = self.numbers.real
        if lanes == 1:
            return self.b.load(pointer, typ=real, align=self.itemsize)
        kind = ir.VectorType(real, lanes)
        if isinstance(count, int) and count == lanes:
            return self.b.load(pointer, typ=kind, align=self.itemsize)
        return self._masked("load", kind, [pointer], count, [ir.Constant(kind, [0.0] * lanes)])

    def store(self, value: Any, pointer: Any, count: Any, lanes: int, *, streamed: bool = False) -> None:
        """The first `count` lanes; other memory is not touched.

        A whole vector that begins where one may in memory can be written past the caches, `streamed`.
        """
        if streamed and count == self.lanes == lanes:
            store = self.b.store(value, pointer, align=self.target.vector_bytes)
            store.set_metadata("nontemporal", self.b.module.add_metadata([ir.Constant(I32, 1)]))
        elif lanes == 1 or (isinstance(count, int) and count == lanes):
            self.b.store(value, pointer, align=self.itemsize)
        else:
            self._masked("store", value.type, [value, pointer], count, [])

    def read(self, pointer: Any) -> Any:
        """A whole vector."""
        return self.load(pointer, self.lanes, self.lanes)

    def write(self, value: Any, pointer: Any) -> None:
        """A whole vector."""
        self.store(value, pointer, self.lanes, self.lanes)

    def _masked(self, what: str, kind: Any, first: list[Any], count: Any, last: list[Any]) -> Any:
        name = f"llvm.masked.{what}.v{kind.count}f{self.bits}.p0"
        args = [*first, ir.Constant(I32, self.itemsize), self._mask(count, kind.count), *last]
        return self.call(name, kind if what == "load" else ir.VoidType(), args)

    def _mask(self, count: Any, lanes: int) -> Any:
        """Whether a lane is among the first `count`, a number or a word of the code."""
        if isinstance(count, int):
            return ir.Constant(ir.VectorType(ir.IntType(1), lanes), [lane < count for lane in range(lanes)])
        own = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
        return self.b.icmp_signed("<", own, self._spread(count, lanes))

    def copy_numbers(self, source: Any, goal: Any, width: int) -> None:
        """So many numbers from one place to another."""

        def some(column: Any, count: int) -> None:
            self.store(self.load(self.at(source, column), count, self.lanes), self.at(goal, column), count, self.lanes)

        self.columns(width, some)

    def clear(self, pointer: Any, count: Any) -> None:
        """Fill memory with zeros, by whole vectors."""

        def one_vector(column: Any) -> None:
            self.write(self.vectors.const(0.0), self.at(pointer, column))

        self.each(self.word(0), count, self.lanes, one_vector)

    def fetch(self, pointer: Any, bytes_ahead: Any) -> None:
        """Have the memory so far behind a pointer brought near; it is no fault where there is none."""
        place = self.b.gep(pointer, [bytes_ahead], inbounds=False, source_etype=ir.IntType(8))
        read, nearest, data = (ir.Constant(I32, number) for number in (0, 3, 1))
        self.call("llvm.prefetch.p0", ir.VoidType(), [place, read, nearest, data])

    def splat(self, number: Any, vectors: Vectors) -> Any:
        """One number in every lane."""
        return number if vectors.lanes == 1 else self._spread(number, vectors.lanes)

    def _spread(self, number: Any, lanes: int) -> Any:
        undefined = ir.Constant(ir.VectorType(number.type, lanes), ir.Undefined)
        single = self.b.insert_element(undefined, number, ir.Constant(I32, 0))
        return self.b.shuffle_vector(single, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))

    def transposed(self, vectors: Sequence[Any]) -> list[Any]:
        """As many vectors as they have lanes, turned: lane j of vector i becomes lane i of vector j."""
        turned, lanes = list(vectors), len(vectors)
        distance = 1
        while distance < lanes:  # swap squares of this size beside the diagonal of squares of twice the size
            for i in (i for i in range(lanes) if not i & distance):
                one, other = turned[i], turned[i + distance]
                low = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
                high = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
                turned[i], turned[i + distance] = (
                    self.b.shuffle_vector(one, other, ir.Constant(ir.VectorType(I32, lanes), pick))
                    for pick in (low, high)
                )
            distance *= 2
        return turned

    # --- factors of products: numbers, or words of two bfloat16 ----------------------------------------------------

    def factors(self, pointer: Any) -> Any:
        """A vector of them."""
        return self.b.load(pointer, typ=self.words, align=4) if self.bf16 else self.read(pointer)

    def spread_factor(self, pointer: Any) -> Any:
        """One of them in every lane."""
        return self._spread(self.b.load(pointer, typ=I32 if self.bf16 else self.numbers.real, align=4), self.lanes)

    def add_product(self, one: Any, other: Any, total: Any) -> Any:
        """Lane by lane `total + one * other`; of words, both of their products are added."""
        if not self.bf16:
            return self.vectors.fma(one, other, total)
        kind = ir.VectorType(_BFloat(), 2 * self.lanes)
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * self.lanes}"
        return self.call(name, total.type, [total, self.b.bitcast(one, kind), self.b.bitcast(other, kind)])

    def words_of_two(self, even: Any, odd: Any) -> Any:
        """Lane by lane two numbers in one word."""
        low, high = (self.b.zext(self._rounded(each), self.words) for each in (even, odd))
        return self.b.or_(low, self.b.shl(high, ir.Constant(self.words, [16] * self.lanes)))

    def words_of_neighbours(self, numbers: Any) -> Any:
        """Two lanes in one word: half a vector of words."""
        return self.b.bitcast(self._rounded(numbers), ir.VectorType(I32, self.lanes // 2))

    def _rounded(self, numbers: Any) -> Any:
        rounded = self.b.fptrunc(numbers, ir.VectorType(_BFloat(), self.lanes))
        return self.b.bitcast(rounded, ir.VectorType(ir.IntType(16), self.lanes))

    # --- threads ---------------------------------------------------------------------------------------------------

    def emit_meeting(self, place: Any, threads: Any, parting: Callable[[], None] | None = None) -> None:
        """Wait at a place until so many threads are there, if more than one; see `team`.

        Args:
            place: four 32-bit words.
            threads: how many.
            parting: emits what each thread does where meetings take too long.
        """
        b = self.b
        with b.if_then(b.icmp_signed(">", threads, self.word(1)), likely=False):
            too_long = self.call("recurra_meet", I64, [place, threads])
            if parting is not None:
                with b.if_then(b.icmp_signed("!=", too_long, self.word(0)), likely=False):
                    parting()

    def text(self) -> str:
        """All that was written, with `<name>_team(table)` for the threads of a team."""
        return str(self.module) + team.entry(self.function.name)
