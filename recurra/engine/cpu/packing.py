"""Weights as products read them: panels of columns, each in one stretch of memory.

A matrix [inner, outer] becomes [outer / panel, inner, panel], the last panel filled up with zeros. Weights are packed
anew at every call, since anybody may have changed them; so this is machine code too.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.engine.cpu import arena, team
from recurra.engine.cpu.jit import Code, compile_text
from recurra.engine.cpu.target import Target
from recurra.engine.cpu.writer import Writer
from recurra.engine.memory import in_memory

__all__ = ["PanelWriter", "laid_out", "pack"]

_WORTH_A_THREAD = 1 << 16  # numbers; copying fewer takes less than waking a thread
_MATRIX = ("source", "goal", "inner", "outer", "of_inner", "of_outer")  # words of one in the table


def pack(
    matrices: Sequence[Tensor],
    panels: Sequence[tuple[int, int, int]],
    dtype: torch.dtype,
    target: Target,
    *,
    bf16: bool = False,
) -> list[Tensor]:
    """Matrices of any strides as panels.

    Args:
        matrices: [inner, outer] each.
        panels: (inner, outer, columns of a panel) of each.
        dtype: float32 or float64, of the result.
        target: the processor, whose vectors a panel is made of.
        bf16: as words of two bfloat16 instead, [outer / panel, inner / 2, panel]: numbers that follow each other in the
            inner size stand side by side, the last one beside a 0 where their number is odd.
    """
    packed: list[Tensor] = []
    words: dict[int, list[int | Tensor]] = {}
    sources = [laid_out(matrix.to(dtype)) for matrix in matrices]
    for source, (inner, outer, panel) in zip(sources, panels, strict=True):
        goal = arena.empty((-(-outer // panel), -(-inner // 2) if bf16 else inner, panel), dtype)
        packed.append(goal)
        words.setdefault(panel, []).extend((source, goal, inner, outer, *source.stride()))
    lanes = target.lanes(dtype.itemsize)
    threads = team.num_threads() if sum(goal.numel() for goal in packed) >= _WORTH_A_THREAD else 1
    for panel, own in words.items():
        code = _code(8 * dtype.itemsize, bf16, panel // lanes, target)
        team.do(team.Job(code, (threads, len(own) // len(_MATRIX), *own), threads))
    return packed


def laid_out(matrix: Tensor) -> Tensor:
    """The matrix itself where its rows or its columns stand in one stretch of memory each."""
    matrix = in_memory(matrix)
    return matrix if 1 in matrix.stride() else matrix.contiguous()


@functools.cache
def _code(bits: int, bf16: bool, vectors: int, target: Target) -> Code:
    team.prepare()
    return compile_text(_Packer(target, bits, "pack", bf16=bf16).emit(vectors), "pack", target)


class PanelWriter(Writer):
    """Writes copies of panels."""

    def pack_panel(self, source: Any, strides: tuple[Any, Any], entries: Any, goal: Any, counts: Sequence[Any]) -> None:
        """Copy some columns, so that what a product reads one after the other stands so: [entries, vectors, lanes].

        Args:
            source: the first number.
            strides: from one entry of a column to the next, and from one column to the next; one of them is 1.
            entries: how many each column has.
            goal: where the copy begins.
            counts: columns in each vector; the lanes that are left get zeros.
        """
        b = self.b
        with b.if_else(b.icmp_signed("==", strides[1], self.word(1))) as (by_lines, by_columns):
            with by_lines:
                self._copy_lines(source, strides[0], entries, goal, counts)
            with by_columns:
                whole = b.and_(entries, self.word(-self.lanes))

                def turn(k: Any, some: Any) -> None:
                    for n in range(len(counts)):
                        self._turn(source, strides[1], k, some, goal, counts, n)

                self.each(self.word(0), whole, self.lanes, lambda k: turn(k, self.lanes))
                left = b.sub(entries, whole)
                with b.if_then(b.icmp_signed(">", left, self.word(0))):
                    turn(whole, left)

    def vector_at(self, pointer: Any, n: int) -> Any:
        return self.at(pointer, self.word(n * self.lanes))

    def _copy_lines(self, source: Any, stride: Any, entries: Any, goal: Any, counts: Sequence[Any]) -> None:
        b = self.b

        def line(k: Any, lines: int) -> None:
            start = self._line(goal, k, counts)
            for n, count in enumerate(counts):
                read = [self.at(source, b.mul(b.add(k, self.word(i)), stride)) for i in range(lines)]
                numbers = [self.load(self.vector_at(each, n), count, self.lanes) for each in read]
                self._write_line(numbers, self.vector_at(start, n))

        if not self.bf16:
            self.each(self.word(0), entries, 1, lambda k: line(k, 1))
            return
        whole = b.and_(entries, self.word(-2))
        self.each(self.word(0), whole, 2, lambda k: line(k, 2))
        with b.if_then(b.icmp_signed("<", whole, entries)):
            line(whole, 1)

    def _turn(self, source: Any, stride: Any, k: Any, entries: Any, goal: Any, counts: Sequence[Any], n: int) -> None:
        """As many entries as a vector has lanes, at most, of the columns of vector n, each in one stretch of memory."""
        b, lanes, count = self.b, self.lanes, counts[n]
        read = []
        for j in range(lanes):
            start = self.at(source, b.add(b.mul(self.word(n * lanes + j), stride), k))
            there = entries
            if not isinstance(count, int):
                inside = b.icmp_signed("<", self.word(j), count)
                there = b.select(inside, self.word(lanes) if isinstance(entries, int) else entries, self.word(0))
            read.append(self.load(start, there, lanes))
        lines = self.transposed(read)
        step = 2 if self.bf16 else 1

        def write(j: int) -> None:
            self._write_line(lines[j : j + step], self.vector_at(self._line(goal, b.add(k, self.word(j)), counts), n))

        for j in range(0, lanes, step):
            if isinstance(entries, int):
                write(j)
            else:  # behind the last line may stand something else
                with b.if_then(b.icmp_signed("<", self.word(j), entries)):
                    write(j)

    def _write_line(self, numbers: list[Any], goal: Any) -> None:
        """One line of a panel: numbers as they are, or rounded and two in a word, the last one beside a 0."""
        if self.bf16:
            words = self.words_of_two(*numbers, *[self.vectors.const(0.0)] * (2 - len(numbers)))
            self.b.store(words, goal, align=4)
        else:
            self.write(numbers[0], goal)

    def _line(self, goal: Any, k: Any, counts: Sequence[Any]) -> Any:
        """Where the line of a panel stands that begins with entry k."""
        line = self.b.ashr(k, self.word(1)) if self.bf16 else k
        return self.at(goal, self.b.mul(line, self.word(len(counts) * self.lanes)))

    def up_to(self, left: Any) -> Any:
        """As many lanes as are left, at most all."""
        return self.least(left, self.word(self.lanes))


class _Packer(PanelWriter):
    """Writes the copies of whole matrices; the panels are dealt out among the threads."""

    def emit(self, vectors: int) -> str:
        b = self.b
        table, thread = self.function.args
        threads, count = (self.read_word(table, k) for k in range(2))
        panel = self.word(vectors * self.lanes)

        def one_matrix(m: Any) -> None:
            words = self.at(table, b.add(self.word(2), b.mul(m, self.word(len(_MATRIX)))), 8)
            matrix = self.read_words(words, _MATRIX)
            lines = b.ashr(b.add(matrix["inner"], self.word(1)), self.word(1)) if self.bf16 else matrix["inner"]
            strides = matrix["of_inner"], matrix["of_outer"]

            def one_panel(p: Any) -> None:
                first = b.mul(p, panel)
                source = self.at(self.pointer(matrix["source"]), b.mul(first, strides[1]))
                goal = self.at(self.pointer(matrix["goal"]), b.mul(p, b.mul(lines, panel)))
                left = b.sub(matrix["outer"], first)
                with b.if_else(b.icmp_signed(">=", left, panel)) as (full, rest):
                    with full:
                        self.pack_panel(source, strides, matrix["inner"], goal, [self.lanes] * vectors)
                    with rest:
                        counts = [
                            self.most(b.sub(left, self.word(n * self.lanes)), self.word(0)) for n in range(vectors)
                        ]
                        self.pack_panel(source, strides, matrix["inner"], goal, [self.up_to(each) for each in counts])

            panels = self.quotient(matrix["outer"], panel)
            self.each_of_thread(thread, panels, threads, one_panel)

        self.each(self.word(0), count, 1, one_matrix)
        b.ret_void()
        return self.text()
