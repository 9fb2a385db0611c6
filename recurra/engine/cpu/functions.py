"""Vector forms of the pointwise operations.

Exponentials reduce their argument by multiples of log 2 (Cody and Waite) to |r| <= log(2) / 2, where a polynomial is
right to a tenth of a unit in the last place. Everything else follows from exp(x) - 1, which keeps the relative
precision near zero: tanh x = e / (e + 2) with e = exp(2x) - 1. NaN goes through every function: limits are taken by
comparisons that NaN fails. Denormals come in and go out.

Largest error in units in the last place, over floats of every size (tests/engine/cpu/test_functions.py measures it):

    |         | exp  | expm1 | log  | log1p | log1p_unit | tanh | sigmoid | erf  |
    |---------|------|-------|------|-------|------------|------|---------|------|
    | float32 | 0.89 | 1.36  | 0.71 | 1.25  | 1.44       | 1.97 | 1.81    | 1.02 |
    | float64 | 0.93 | 1.70  | 0.72 | 1.30  | 1.19       | 2.14 | 2.00    | 1.31 |

sin, cos, pow and fmod are those of the C library, one lane at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from recurra.engine.cpu.vectors import LOG_2, Vectors

__all__ = ["OPERATIONS", "SLOW"]

# operations of many instructions, beside which the others cost nothing
SLOW = ("exp", "expm1", "log", "log1p", "log1p_unit", "tanh", "sigmoid", "erf", "atan", "sin", "cos", "pow", "fmod")


def _exp(v: Vectors, x: Any) -> Any:
    return _exp_of_less(v, v.at_most(x, 89.0 if v.bits == 32 else 710.0))


def _exp_of_less(v: Vectors, x: Any) -> Any:
    """Where x is small enough for the result to be a number."""
    less_one, n = _parts_down_to_zero(v, x)
    return v.scale(v.builder.fadd(less_one, v.const(1.0)), n)


def _exp_of_negative(v: Vectors, x: Any) -> Any:
    """Where x is at most 0: 2^n is a number, and there before the rest is."""
    if not v.scales:
        return _exp_of_less(v, x)
    less_one, n = _parts_down_to_zero(v, x)
    power = v.power_of_two(n)
    return v.fma(less_one, power, power)


def _parts_down_to_zero(v: Vectors, x: Any) -> tuple[Any, Any]:
    """`exp_parts`, of no less than what has 0 for its exponential."""
    return v.exp_parts(v.at_least(x, -104.0 if v.bits == 32 else -746.0))


def _expm1(v: Vectors, x: Any) -> Any:
    low, high = (-18.0, 89.0) if v.bits == 32 else (-38.0, 710.0)
    less_one, n = v.exp_parts(v.at_least(v.at_most(x, high), low))
    b = v.builder
    # 2^n (e^r - 1) + (2^n - 1), halved to keep 2^128 away
    half = v.power_of_two(b.fsub(n, v.const(1.0)))
    total = v.fma(less_one, half, b.fsub(half, v.const(0.5)))
    return v.choose(b.fcmp_ordered("==", x, v.const(0.0)), x, b.fmul(total, v.const(2.0)))


def _tanh(v: Vectors, x: Any) -> Any:
    b = v.builder
    size = v.call("fabs", x)
    less_one, n = v.exp_parts(v.at_most(b.fmul(size, v.const(2.0)), 19.0 if v.bits == 32 else 40.0))
    power = v.power_of_two(n)
    e = v.fma(less_one, power, b.fsub(power, v.const(1.0)))
    return v.call("copysign", b.fdiv(e, b.fadd(e, v.const(2.0))), x)


def _sigmoid(v: Vectors, x: Any) -> Any:
    b = v.builder
    # exp of what is never positive cannot overflow, and keeps its digits where the result is tiny
    e = _exp_of_negative(v, b.fneg(v.call("fabs", x)))
    return b.fdiv(v.choose(b.fcmp_ordered("<", x, v.const(0.0)), e, v.const(1.0)), b.fadd(v.const(1.0), e))


def _log(v: Vectors, x: Any) -> Any:
    b = v.builder
    tiny = 2.0 ** (-126 if v.bits == 32 else -1022)
    lift = 24 if v.bits == 32 else 54
    small = b.fcmp_ordered("<", x, v.const(tiny))
    n, m = _binary(v, v.choose(small, b.fmul(x, v.const(2.0**lift)), x))
    n = b.fsub(n, v.choose(small, v.const(lift), v.const(0.0)))
    return _log_outside(v, x, _log_of_parts(v, n, b.fsub(m, v.const(1.0))))


def _log1p(v: Vectors, x: Any) -> Any:
    """The log of u = 1 + x rounded, whose mantissa is given back what the rounding took."""
    b = v.builder
    u = b.fadd(v.const(1.0), x)
    more = b.fsub(u, v.const(1.0))
    lost = b.fadd(b.fsub(v.const(1.0), b.fsub(u, more)), b.fsub(x, more))  # 1 + x = u + lost, exactly (Knuth's TwoSum)
    n, m = _binary(v, u)
    f = v.fma(lost, v.power_of_two(b.fneg(n)), b.fsub(m, v.const(1.0)))
    result = _log_outside(v, u, _log_of_parts(v, n, f))
    return v.choose(b.fcmp_ordered("==", u, v.const(1.0)), x, result)  # the sign of zero is kept, and so are denormals


# log(1 + x) = x + x^2 p(x) for x from 0 to 1, p interpolated at the Chebyshev nodes, highest power first
_LOG1P = {
    32: (
        0.00280164199,
        -0.017184267,
        0.0493099734,
        -0.0913941377,
        0.130333642,
        -0.163651529,
        0.19956708,
        -0.249967599,
        0.333332373,
        -0.499999995,
    ),
    64: (
        -2.2938856818471438e-5,
        0.00026529597054253104,
        -0.0014569248473329174,
        0.0050810904785489942,
        -0.012732150528247673,
        0.024682950191684934,
        -0.039125051152339442,
        0.053223522460321214,
        -0.065040103660368558,
        0.074448170199422268,
        -0.082561854162782504,
        0.090718352925342604,
        -0.099963243475501368,
        0.11110571142855806,
        -0.12499941281507687,
        0.14285709745445545,
        -0.1666666643097834,
        0.1999999999247163,
        -0.2499999999987205,
        0.33333333333332466,
        -0.49999999999999999,
    ),
}


def _log1p_unit(v: Vectors, x: Any) -> Any:
    """Of numbers from 0 to 1 alone: there one polynomial will do, and nothing can go wrong."""
    return v.fma(v.builder.fmul(x, x), v.polynomial(x, _LOG1P[v.bits]), x)


def _binary(v: Vectors, x: Any) -> tuple[Any, Any]:
    """(n, m): x = 2^n m with m in [sqrt(1/2), sqrt(2)), for normal numbers above 0."""
    b = v.builder
    bits = b.bitcast(x, v.whole)
    n = b.ashr(b.sub(bits, b.bitcast(v.const(math.sqrt(0.5)), v.whole)), v.bits_const(v.mantissa))
    return b.sitofp(n, v.real), b.bitcast(b.sub(bits, b.shl(n, v.bits_const(v.mantissa))), v.real)


def _log_of_parts(v: Vectors, n: Any, f: Any) -> Any:
    """n log 2 + log(1 + f) with 1 + f in [sqrt(1/2), sqrt(2)); log(1 + f) = 2 artanh(f / (2 + f))."""
    b = v.builder
    s = b.fdiv(f, b.fadd(v.const(2.0), f))
    z = b.fmul(s, s)
    terms = 5 if v.bits == 32 else 11
    series = b.fmul(z, v.polynomial(z, [2 / (2 * k + 1) for k in range(terms, 0, -1)]))
    # log(1 + f) = f - (h - s (h + series)), h = f^2 / 2: the large part f is added last and is exact
    h = b.fmul(v.const(0.5), b.fmul(f, f))
    high, low = LOG_2[v.bits]
    inner = b.fsub(h, v.fma(s, b.fadd(h, series), b.fmul(n, v.const(low))))
    return v.fma(n, v.const(high), b.fsub(f, inner))


def _log_outside(v: Vectors, x: Any, result: Any) -> Any:
    """The log of x where it has parts, and what it is at 0, at infinity and below 0."""
    b = v.builder
    result = v.choose(b.fcmp_ordered("==", x, v.const(math.inf)), x, result)
    result = v.choose(b.fcmp_ordered("==", x, v.const(0.0)), v.const(-math.inf), result)
    return v.choose(b.fcmp_unordered("<", x, v.const(0.0)), v.const(math.nan), result)


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
    beyond = v.at_least(v.at_most(b.fsub(size, v.const(1.0)), limit - 1), 0.0)
    z = b.fmul(beyond, v.const(1 / (limit - 1)))
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
    "single": lambda v, x: v.builder.fpext(v.builder.fptrunc(x, v.single), v.real),
    "fmod": lambda v, x, y: v.builder.frem(x, y),
    "copysign": lambda v, x, y: v.call("copysign", x, y),
    "atan": _atan,
    "sin": lambda v, x: v.call("sin", x),
    "cos": lambda v, x: v.call("cos", x),
    "exp": _exp,
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "log1p_unit": _log1p_unit,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "erf": _erf,
    "pow": lambda v, x, y: v.call("pow", x, y),
}
