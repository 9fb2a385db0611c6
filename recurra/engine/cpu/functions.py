"""Vector forms of the pointwise operations.

Exponentials reduce their argument by multiples of log 2 (Cody and Waite) to |r| <= log(2) / 2 and sum the Taylor series
there; its first dropped term is below half a unit in the last place. Everything else follows from exp(x) - 1, which
keeps the relative precision near zero: tanh x = e / (e + 2) with e = exp(2x) - 1. NaN goes through every function:
limits are taken by comparisons that NaN fails. Denormals come in and go out.

Largest error in units in the last place, over floats of every size (tests/engine/cpu/test_functions.py measures it):

    |         | exp  | expm1 | log  | log1p | tanh | sigmoid | erf  |
    |---------|------|-------|------|-------|------|---------|------|
    | float32 | 0.89 | 1.36  | 0.71 | 2.15  | 1.97 | 1.81    | 0.96 |
    | float64 | 0.93 | 1.70  | 0.72 | 2.24  | 2.14 | 2.00    | 1.12 |

sin, cos, pow and fmod are those of the C library, one lane at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

__all__ = ["OPERATIONS", "SLOW", "Vectors"]

# operations of many instructions, beside which the others cost nothing
SLOW = ("exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "atan", "sin", "cos", "pow", "fmod")


class Vectors:
    """Emits operations on one vector type (or on single numbers, where `lanes` is 1)."""

    def __init__(self, builder: ir.IRBuilder, bits: int, lanes: int, *, fused: bool = True) -> None:
        self.builder, self.bits, self.lanes, self.fused = builder, bits, lanes, fused
        real: Any = ir.FloatType() if bits == 32 else ir.DoubleType()
        whole: Any = ir.IntType(bits)
        self.real = real if lanes == 1 else ir.VectorType(real, lanes)
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

    def clip(self, x: Any, low: float, high: float) -> Any:
        """x limited to [low, high]; NaN stays NaN."""
        b = self.builder
        x = self.choose(b.fcmp_ordered(">", x, self.const(high)), self.const(high), x)
        return self.choose(b.fcmp_ordered("<", x, self.const(low)), self.const(low), x)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Horner's rule, highest power first."""
        total: Any = self.const(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.fma(total, x, self.const(coefficient))
        return total

    def exp_parts(self, x: Any) -> tuple[Any, Any]:
        """(exp(r) - 1, 2**n as bits to add) with x = n log 2 + r, for x within the range of normal numbers."""
        b = self.builder
        magic = 1.5 * 2.0**self.mantissa  # adding it leaves the nearest whole number in the low bits
        shifted = self.fma(x, self.const(1 / math.log(2)), self.const(magic))
        n = b.fsub(shifted, self.const(magic))
        high, low = (
            (0.693359375, -2.12194440054690583e-4) if self.bits == 32 else (0.6931471803691238, 1.9082149292705877e-10)
        )
        r = self.fma(n, self.const(-high), x)
        r = self.fma(n, self.const(-low), r)
        terms = 8 if self.bits == 32 else 14
        tail = self.polynomial(r, [1 / math.factorial(k) for k in range(terms, 1, -1)])
        less_one = self.fma(b.fmul(r, r), tail, r)
        exponent = b.sub(b.bitcast(shifted, self.whole), b.bitcast(self.const(magic), self.whole))
        return less_one, exponent

    def power_of_two(self, exponent: Any) -> Any:
        """2**exponent for exponents of normal numbers."""
        b = self.builder
        return b.bitcast(b.shl(b.add(exponent, self.bits_const(self.bias)), self.bits_const(self.mantissa)), self.real)

    def scale(self, x: Any, exponent: Any) -> Any:
        """x * 2**exponent in two steps, so that neither overflows before the result does."""
        b = self.builder
        half = b.ashr(exponent, self.bits_const(1))
        rest = b.sub(exponent, half)
        return b.fmul(b.fmul(x, self.power_of_two(half)), self.power_of_two(rest))


def _exp(v: Vectors, x: Any) -> Any:
    limit = (-104.0, 89.0) if v.bits == 32 else (-746.0, 710.0)
    less_one, exponent = v.exp_parts(v.clip(x, *limit))
    return v.scale(v.builder.fadd(less_one, v.const(1.0)), exponent)


def _expm1(v: Vectors, x: Any) -> Any:
    limit = (-18.0, 89.0) if v.bits == 32 else (-38.0, 710.0)
    less_one, exponent = v.exp_parts(v.clip(x, *limit))
    b = v.builder
    # 2^n (e^r - 1) + (2^n - 1), halved to keep 2^128 away
    half = v.power_of_two(b.sub(exponent, v.bits_const(1)))
    total = v.fma(less_one, half, b.fsub(half, v.const(0.5)))
    return v.choose(b.fcmp_ordered("==", x, v.const(0.0)), x, b.fmul(total, v.const(2.0)))


def _tanh(v: Vectors, x: Any) -> Any:
    b = v.builder
    size = v.call("fabs", x)
    limit = 9.5 if v.bits == 32 else 20.0
    less_one, exponent = v.exp_parts(v.clip(b.fmul(size, v.const(2.0)), 0.0, 2 * limit))
    power = v.power_of_two(exponent)
    e = v.fma(less_one, power, b.fsub(power, v.const(1.0)))
    return v.call("copysign", b.fdiv(e, b.fadd(e, v.const(2.0))), x)


def _sigmoid(v: Vectors, x: Any) -> Any:
    b = v.builder
    # exp of what is never positive cannot overflow, and keeps its digits where the result is tiny
    e = _exp(v, b.fneg(v.call("fabs", x)))
    return b.fdiv(v.choose(b.fcmp_ordered("<", x, v.const(0.0)), e, v.const(1.0)), b.fadd(v.const(1.0), e))


def _log(v: Vectors, x: Any) -> Any:
    """x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1) / (m + 1))."""
    b = v.builder
    tiny = 2.0 ** (-126 if v.bits == 32 else -1022)
    lift = 2.0 ** (24 if v.bits == 32 else 54)
    small = b.fcmp_ordered("<", x, v.const(tiny))
    y = v.choose(small, b.fmul(x, v.const(lift)), x)
    bits = b.bitcast(y, v.whole)
    root = b.bitcast(v.const(math.sqrt(0.5)), v.whole)
    offset = b.sub(bits, root)
    n = b.ashr(offset, v.bits_const(v.mantissa))
    m = b.bitcast(b.sub(bits, b.shl(n, v.bits_const(v.mantissa))), v.real)
    count = b.sitofp(n, v.real)
    count = b.fsub(count, v.choose(small, v.const(24.0 if v.bits == 32 else 54.0), v.const(0.0)))
    f = b.fsub(m, v.const(1.0))
    s = b.fdiv(f, b.fadd(v.const(2.0), f))
    z = b.fmul(s, s)
    terms = 5 if v.bits == 32 else 11
    series = b.fmul(z, v.polynomial(z, [2 / (2 * k + 1) for k in range(terms, 0, -1)]))
    # log(1 + f) = f - (h - s (h + series)), h = f^2 / 2: the large part f is added last and is exact
    h = b.fmul(v.const(0.5), b.fmul(f, f))
    high, low = (0.693359375, -2.12194440054690583e-4) if v.bits == 32 else (0.6931471803691238, 1.9082149292705877e-10)
    inner = b.fsub(h, v.fma(s, b.fadd(h, series), b.fmul(count, v.const(low))))
    result = v.fma(count, v.const(high), b.fsub(f, inner))
    infinite = b.fcmp_ordered("==", x, v.const(math.inf))
    result = v.choose(infinite, x, result)
    result = v.choose(b.fcmp_ordered("==", x, v.const(0.0)), v.const(-math.inf), result)
    return v.choose(b.fcmp_unordered("<", x, v.const(0.0)), v.const(math.nan), result)


def _log1p(v: Vectors, x: Any) -> Any:
    """log(u) x / (u - 1) with u = 1 + x rounded: the rounding errors of u cancel."""
    b = v.builder
    u = b.fadd(v.const(1.0), x)
    exact = b.fcmp_ordered("==", u, v.const(1.0))
    infinite = b.fcmp_ordered("==", u, v.const(math.inf))
    ratio = b.fmul(_log(v, u), b.fdiv(x, b.fsub(u, v.const(1.0))))
    result = v.choose(exact, x, ratio)
    result = v.choose(infinite, x, result)
    return v.choose(b.fcmp_ordered("==", u, v.const(0.0)), v.const(-math.inf), result)


# erf(x) = x + x p(x^2) below 1, and 1 - exp(q((|x| - 1) / (limit - 1))) from there to the limit, beyond which it is 1:
# p and q = log(erfc) are interpolated at the Chebyshev nodes of their interval, highest power first
_ERF = {
    32: (
        4.0,
        (
            7.87587506e-05,
            -0.000801686429,
            0.00518908742,
            -0.026854212,
            0.112835947,
            -0.376126267,
            0.128379166,
        ),
        (
            -0.00226436035,
            0.0100198428,
            -0.00760996832,
            -0.0541485945,
            0.223412102,
            -0.495993274,
            0.815763959,
            -1.12250612,
            -7.58794331,
            -7.91690308,
            -1.84960551,
        ),
    ),
    64: (
        6.0,
        (
            5.957176147748911e-11,
            -1.1372848856791674e-09,
            1.4659775274047436e-08,
            -1.6350312701054695e-07,
            1.6461000484121368e-06,
            -1.4925595266831182e-05,
            0.0001205533111164271,
            -0.000854832698083379,
            0.0052239776248180145,
            -0.026866170645076792,
            0.11283791670954879,
            -0.3761263890318375,
            0.1283791670955126,
        ),
        (
            -0.060059727320912075,
            0.7662654844703619,
            -4.621250655330794,
            17.527563953040563,
            -46.916275120123274,
            94.23588769920299,
            -147.29895814156217,
            183.003436684065,
            -182.17615996253556,
            143.8648232554389,
            -85.62446974835494,
            30.72518454931568,
            5.38503979957151,
            -19.85507597799542,
            18.740247088893607,
            -10.607943055415708,
            2.053114285830798,
            3.708132236416603,
            -6.18094280476322,
            6.271140725575596,
            -5.195137251516912,
            -21.077681409019174,
            -13.194837571173657,
            -1.8496055099332485,
        ),
    ),
}


def _erf(v: Vectors, x: Any) -> Any:
    b = v.builder
    limit, small, large = _ERF[v.bits]
    size = v.call("fabs", x)
    near = v.fma(x, v.polynomial(b.fmul(x, x), small), x)
    z = b.fmul(v.clip(b.fsub(size, v.const(1.0)), 0.0, limit - 1), v.const(1 / (limit - 1)))
    far = v.call("copysign", b.fsub(v.const(1.0), _exp(v, v.polynomial(z, large))), x)
    return v.choose(b.fcmp_ordered(">", size, v.const(1.0)), far, near)


# atan(x) = x + x^3 p(x^2) for |x| <= tan(pi / 8), p interpolated at the Chebyshev nodes, highest power first
_ATAN = {
    32: (
        0.050481385120797445,
        -0.08624676145249494,
        0.11071365021884794,
        -0.14284151193628614,
        0.19999977258688387,
        -0.333333332792548,
    ),
    64: (
        0.016285756855221028,
        -0.034570561981427744,
        0.04551593220626549,
        -0.05230454270650244,
        0.05878928997834775,
        -0.06666424885738255,
        0.07692296375032143,
        -0.09090908753500877,
        0.11111111105155447,
        -0.14285714285659828,
        0.19999999999999804,
        -0.3333333333333333,
    ),
}


def _atan(v: Vectors, x: Any) -> Any:
    """Of sizes above tan(pi / 8) less pi / 4, and above tan(3 pi / 8) less pi / 2."""
    b = v.builder
    size = v.call("fabs", x)
    is_mid = b.fcmp_ordered(">", size, v.const(math.tan(math.pi / 8)))
    is_far = b.fcmp_ordered(">", size, v.const(math.tan(3 * math.pi / 8)))

    def by_size(far: Any, mid: Any, near: Any) -> Any:
        return v.choose(is_far, far, v.choose(is_mid, mid, near))

    one = v.const(1.0)
    t = b.fdiv(by_size(v.const(-1.0), b.fsub(size, one), size), by_size(size, b.fadd(size, one), one))
    z = b.fmul(t, t)
    rest = b.fmul(b.fmul(t, z), v.polynomial(z, _ATAN[v.bits]))
    # pi / 4 as a float, and what that leaves of it
    quarter, low = (0.7853981852531433, -2.1855695e-08) if v.bits == 32 else (math.pi / 4, 3.061616997868383e-17)
    rest = b.fadd(rest, by_size(v.const(2 * low), v.const(low), v.const(0.0)))
    angle = b.fadd(by_size(v.const(2 * quarter), v.const(quarter), v.const(0.0)), b.fadd(t, rest))
    return v.call("copysign", angle, x)


def _extremum(predicate: str) -> Callable[..., Any]:
    def emit(v: Vectors, x: Any, y: Any) -> Any:
        b = v.builder
        # the operand that is NaN wins, as in torch
        best = v.choose(b.fcmp_ordered(predicate, x, y), x, y)
        return v.choose(b.fcmp_unordered("uno", x, x), x, best)

    return emit


def _compare(predicate: str) -> Callable[..., Any]:
    ordered = predicate != "!="  # NaN is unequal to everything and compares false otherwise

    def emit(v: Vectors, x: Any, y: Any) -> Any:
        return (v.builder.fcmp_ordered if ordered else v.builder.fcmp_unordered)(predicate, x, y)

    return emit


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda v, x, y: v.builder.fadd(x, y),
    "sub": lambda v, x, y: v.builder.fsub(x, y),
    "mul": lambda v, x, y: v.builder.fmul(x, y),
    "div": lambda v, x, y: v.builder.fdiv(x, y),
    "maximum": _extremum(">"),
    "minimum": _extremum("<"),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "eq": _compare("=="),
    "ne": _compare("!="),
    "and": lambda v, x, y: v.builder.and_(x, y),
    "or": lambda v, x, y: v.builder.or_(x, y),
    "not": lambda v, x: v.builder.not_(x),
    "where": lambda v, c, x, y: v.choose(c, x, y),
    "copy": lambda v, x: x,
    "neg": lambda v, x: v.builder.fneg(x),
    "abs": lambda v, x: v.call("fabs", x),
    "sqrt": lambda v, x: v.call("sqrt", x),
    "floor": lambda v, x: v.call("floor", x),
    "trunc": lambda v, x: v.call("trunc", x),
    "round": lambda v, x: v.call("rint", x),  # halves to the even number, as torch does
    "fmod": lambda v, x, y: v.builder.frem(x, y),
    "copysign": lambda v, x, y: v.call("copysign", x, y),
    "atan": _atan,
    "sin": lambda v, x: v.call("sin", x),
    "cos": lambda v, x: v.call("cos", x),
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "erf": _erf,
    "pow": lambda v, x, y: v.call("pow", x, y),
}
