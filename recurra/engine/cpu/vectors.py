"""The arithmetic that all vector forms of functions are made of, on one type of vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llvmlite import ir

__all__ = ["LOG_2", "Vectors"]

# log 2 as a number of so few digits that its multiples by exponents are exact, and what that leaves of it
LOG_2 = {32: (0.693359375, -2.12194440054690583e-4), 64: (0.6931471803691238, 1.9082149292705877e-10)}

# exp(r) = 1 + r + r^2 p(r) for |r| <= log(2) / 2, p interpolated at the Chebyshev nodes, highest power first
_EXP = {
    32: (0.000198910307, 0.00139336859, 0.00833331089, 0.0416664646, 0.166666667, 0.500000001),
    64: (
        2.0914717341716376e-9,
        2.5105259538448493e-8,
        2.755727357010214e-7,
        2.7557255297969644e-6,
        2.4801587325605323e-5,
        0.00019841269874901259,
        0.0013888888888883732,
        0.0083333333333261121,
        0.04166666666666667,
        0.16666666666666671,
        0.5,
    ),
}


class Vectors:
    """Emits operations on one vector type (or on single numbers, where `lanes` is 1).

    Args:
        builder: writes the instructions.
        bits: of a number.
        lanes: numbers in a vector.
        fused, scales: see `Target`.
    """

    def __init__(
        self, builder: ir.IRBuilder, bits: int, lanes: int, *, fused: bool = True, scales: bool = False
    ) -> None:
        self.builder, self.bits, self.lanes, self.fused = builder, bits, lanes, fused
        self.scales = scales and bits * lanes == 512
        real: Any = ir.FloatType() if bits == 32 else ir.DoubleType()
        whole: Any = ir.IntType(bits)
        self.real = real if lanes == 1 else ir.VectorType(real, lanes)
        self.single = ir.FloatType() if lanes == 1 else ir.VectorType(ir.FloatType(), lanes)
        self.whole = whole if lanes == 1 else ir.VectorType(whole, lanes)
        self.flag = ir.IntType(1) if lanes == 1 else ir.VectorType(ir.IntType(1), lanes)
        self.mantissa, self.bias = (23, 127) if bits == 32 else (52, 1023)

    def const(self, number: float) -> ir.Constant:
        """A number in every lane."""
        return ir.Constant(self.real, number if self.lanes == 1 else [number] * self.lanes)

    def bits_const(self, number: int) -> ir.Constant:
        """A whole number in every lane."""
        return ir.Constant(self.whole, number if self.lanes == 1 else [number] * self.lanes)

    def call(self, name: str, *args: Any) -> Any:
        """Call an LLVM intrinsic `llvm.<name>` of this type."""
        kind = f"f{self.bits}" if self.lanes == 1 else f"v{self.lanes}f{self.bits}"
        full = f"llvm.{name}.{kind}"
        module = self.builder.module
        function = module.globals.get(full) or ir.Function(
            module, ir.FunctionType(self.real, [self.real] * len(args)), full
        )
        return self.builder.call(function, args)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, rounded once where the processor can."""
        if self.fused:
            return self.call("fma", a, b, c)
        return self.builder.fadd(self.builder.fmul(a, b), c)

    def choose(self, condition: Any, yes: Any, no: Any) -> Any:
        """`yes` where the condition holds."""
        return self.builder.select(condition, yes, no)

    def at_most(self, x: Any, high: float) -> Any:
        """x, or `high` where it is more; NaN stays NaN."""
        return self.choose(self.builder.fcmp_ordered(">", x, self.const(high)), self.const(high), x)

    def at_least(self, x: Any, low: float) -> Any:
        """x, or `low` where it is less; NaN stays NaN."""
        return self.choose(self.builder.fcmp_ordered("<", x, self.const(low)), self.const(low), x)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Of coefficients, highest power first: Horner's rule on pairs, so that half as many steps wait for others."""
        square = self.builder.fmul(x, x)
        odd = len(coefficients) % 2
        total: Any = self.const(coefficients[0]) if odd else None
        for high, low in zip(coefficients[odd::2], coefficients[odd + 1 :: 2], strict=True):
            pair = self.fma(self.const(high), x, self.const(low))
            total = pair if total is None else self.fma(total, square, pair)
        return total

    def exp_parts(self, x: Any) -> tuple[Any, Any]:
        """(exp(r) - 1, n) with x = n log 2 + r, for x whose exponential is a normal number or nearly one."""
        b = self.builder
        magic = 1.5 * 2.0**self.mantissa  # adding it leaves the nearest whole number in the low bits
        shifted = self.fma(x, self.const(1 / math.log(2)), self.const(magic))
        n = b.fsub(shifted, self.const(magic))
        high, low = LOG_2[self.bits]
        r = self.fma(n, self.const(-high), x)
        r = self.fma(n, self.const(-low), r)
        less_one = self.fma(b.fmul(r, r), self.polynomial(r, _EXP[self.bits]), r)
        return less_one, n

    def power_of_two(self, n: Any) -> Any:
        """2**n for whole n, where that is a normal number."""
        return self._scaled(self.const(1.0), n) if self.scales else self._with_exponent(self._in_bits(n))

    def scale(self, x: Any, n: Any) -> Any:
        """x * 2**n, in two steps where there is no instruction for it, so that neither overflows before the result."""
        if self.scales:
            return self._scaled(x, n)
        b, exponent = self.builder, self._in_bits(n)
        half = b.ashr(exponent, self.bits_const(1))
        rest = b.sub(exponent, half)
        return b.fmul(b.fmul(x, self._with_exponent(half)), self._with_exponent(rest))

    def _scaled(self, x: Any, n: Any) -> Any:
        """x * 2**n in one instruction of AVX-512."""
        every, as_it_is = ir.Constant(ir.IntType(self.lanes), -1), ir.Constant(ir.IntType(32), 4)
        module, kinds = self.builder.module, [self.real, self.real, self.real, every.type, as_it_is.type]
        name = f"llvm.x86.avx512.mask.scalef.p{'s' if self.bits == 32 else 'd'}.512"
        function = module.globals.get(name) or ir.Function(module, ir.FunctionType(self.real, kinds), name)
        return self.builder.call(function, [x, n, x, every, as_it_is])

    def _in_bits(self, n: Any) -> Any:
        """A whole number of a size that exponents have, as an integer."""
        b, magic = self.builder, self.const(1.5 * 2.0**self.mantissa)
        return b.sub(b.bitcast(b.fadd(n, magic), self.whole), b.bitcast(magic, self.whole))

    def _with_exponent(self, exponent: Any) -> Any:
        """2**exponent of an integer."""
        b = self.builder
        return b.bitcast(b.shl(b.add(exponent, self.bits_const(self.bias)), self.bits_const(self.mantissa)), self.real)
