"""Sums and extrema over a row: vectors are put together lane by lane, and then the lanes of one vector."""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from recurra.engine.cpu.functions import OPERATIONS
from recurra.engine.cpu.vectors import Vectors
from recurra.engine.cpu.writer import I32

__all__ = ["START", "accumulate", "across", "of_first", "together"]

START = {"sum": 0.0, "max": -math.inf, "min": math.inf}
_BETTER = {"sum": "add", "max": "maximum", "min": "minimum"}


def together(vectors: Vectors, op: str, one: Any, other: Any) -> Any:
    """Two results of a reduction as one."""
    return OPERATIONS[_BETTER[op]](vectors, one, other)


def accumulate(vectors: Vectors, op: str, total: Any, x: Any, count: int) -> Any:
    """The result so far, and the first `count` lanes of `x`."""
    return of_first(vectors, together(vectors, op, total, x), total, count)


def of_first(vectors: Vectors, new: Any, old: Any, count: int) -> Any:
    """The new numbers in the first `count` lanes, the old ones in the others."""
    if count == vectors.lanes:
        return new
    return vectors.choose(ir.Constant(vectors.flag, [lane < count for lane in range(vectors.lanes)]), new, old)


def across(vectors: Vectors, op: str, total: Any) -> Any:
    """The sum or extremum of the lanes, by halves."""
    b, lanes = vectors.builder, total.type.count
    while lanes > 1:
        half = lanes // 2
        undefined = ir.Constant(total.type, ir.Undefined)
        parts = []
        for start in (0, half):
            pick = ir.Constant(ir.VectorType(I32, half), [start + lane for lane in range(half)])
            parts.append(b.shuffle_vector(total, undefined, pick))
        some = Vectors(b, vectors.bits, half) if half > 1 else _Single(b, vectors.bits)
        total = together(some, op, *parts)
        lanes = half
    return b.extract_element(total, ir.Constant(I32, 0))


class _Single(Vectors):
    """Vectors of one lane, as `shufflevector` leaves them."""

    def __init__(self, builder: ir.IRBuilder, bits: int) -> None:
        super().__init__(builder, bits, 1)
        self.real = ir.VectorType(self.real, 1)
        self.whole = ir.VectorType(self.whole, 1)
        self.flag = ir.VectorType(self.flag, 1)
