"""Pointwise calls made of several operations of the loop: `COMPOSED[name](make, *operands)`, with `make(op, *args)`.

Each is right to a few units in the last place, over floats of every size, at zeros, at infinities and for NaN: where
the well known form loses digits or overflows, another one stands beside it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

__all__ = ["COMPOSED", "by_squaring"]

_LARGE = 2.0**28  # x * x + 1 is x * x from here on, in both precisions
_LOG_2 = math.log(2)


def by_squaring(base: Any, count: int, times: Callable[[Any, Any], Any], power: Any = None) -> Any:
    """`base` to the power of a whole number, times what is there already."""
    square = base
    while count:
        if count & 1:
            power = square if power is None else times(power, square)
        count >>= 1
        square = times(square, square) if count else square
    return power


def _power(make: Any, base: Any, exponent: Any) -> Any:
    is_plain = isinstance(exponent, int | float) and math.isfinite(exponent)
    # 1.5 could be a root, too, but not of -0 and of an infinity: as for torch, 0.5 and -0.5 alone are
    if not is_plain or (exponent != int(exponent) and abs(exponent) != 0.5) or abs(exponent) > 16:
        return make("pow", base, exponent)
    if exponent == 0:
        return make("copy", 1.0)
    power = None if abs(exponent) % 1 == 0 else make("sqrt", base)
    power = by_squaring(base, int(abs(exponent)), functools.partial(make, "mul"), power)
    return power if exponent > 0 else make("div", 1.0, power)


def _clamp(make: Any, x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else make("maximum", x, low)
    return x if high is None else make("minimum", x, high)


def _sign(make: Any, x: Any) -> Any:
    return make("where", make("gt", x, 0.0), 1.0, make("where", make("lt", x, 0.0), -1.0, 0.0))


def _shrunk_gradient(make: Any, d: Any, x: Any, size: Any) -> Any:
    inside = make("and", make("ge", x, -size), make("le", x, size))
    return make("where", inside, 0.0, d)


def _numeric_extremum(op: str) -> Callable[..., Any]:
    """The operand that is a number wins over NaN."""
    return lambda make, x, y: make("where", make("ne", x, x), y, make("where", make("ne", y, y), x, make(op, x, y)))


# --- rounding --------------------------------------------------------------------------------------------------------


def _round(make: Any, x: Any, *, decimals: int = 0) -> Any:
    if decimals == 0:
        return make("round", x)
    scale = 10.0 ** abs(decimals)
    there, back = ("mul", "div") if decimals > 0 else ("div", "mul")
    return make(back, make("round", make(there, x, scale)), scale)


def _leaves_other_sign(make: Any, rest: Any, y: Any) -> Any:
    """Whether what `fmod` leaves is not 0 and has another sign than the divisor."""
    differ = make("ne", make("where", make("lt", rest, 0.0), 1.0, 0.0), make("where", make("lt", y, 0.0), 1.0, 0.0))
    return make("and", make("ne", rest, 0.0), differ)


def _remainder(make: Any, x: Any, y: Any) -> Any:
    rest = make("fmod", x, y)
    return make("where", _leaves_other_sign(make, rest, y), make("add", rest, y), rest)


def _floor_divided(make: Any, x: Any, y: Any) -> Any:
    """As Python's `//`: of the exact quotient, not of the rounded one."""
    rest, plain = make("fmod", x, y), make("div", x, y)
    whole = make("div", make("sub", x, rest), y)
    whole = make("where", _leaves_other_sign(make, rest, y), make("sub", whole, 1.0), whole)
    low = make("floor", whole)
    low = make("where", make("gt", make("sub", whole, low), 0.5), make("add", low, 1.0), low)
    low = make("where", make("eq", whole, 0.0), make("copysign", 0.0, plain), low)
    return make("where", make("eq", y, 0.0), plain, low)


def _divided(make: Any, x: Any, y: Any, *, rounding_mode: str | None = None) -> Any:
    if rounding_mode == "floor":
        return _floor_divided(make, x, y)
    quotient = make("div", x, y)
    return quotient if rounding_mode is None else make("trunc", quotient)


# --- angles ----------------------------------------------------------------------------------------------------------


def _asin(make: Any, x: Any) -> Any:
    other = make("sqrt", make("mul", make("sub", 1.0, x), make("add", 1.0, x)))
    return make("atan", make("div", x, other))


def _acos(make: Any, x: Any) -> Any:
    half = make("atan", make("sqrt", make("div", make("sub", 1.0, x), make("add", 1.0, x))))
    return make("mul", 2.0, half)


def _atan2(make: Any, y: Any, x: Any) -> Any:
    height, width = make("abs", y), make("abs", x)
    ratio = make("div", make("minimum", height, width), make("maximum", height, width))
    # 0 / 0 and inf / inf are angles, too
    ratio = make("where", make("eq", height, width), make("where", make("eq", x, 0.0), 0.0, 1.0), ratio)
    angle = make("atan", ratio)
    angle = make("where", make("gt", height, width), make("sub", math.pi / 2, angle), angle)
    is_left = make("lt", make("copysign", 1.0, x), 0.0)
    angle = make("where", is_left, make("sub", math.pi, angle), angle)
    return make("copysign", angle, y)


def _hypot(make: Any, x: Any, y: Any) -> Any:
    x, y = make("abs", x), make("abs", y)
    large, small = make("maximum", x, y), make("minimum", x, y)
    ratio = make("div", small, large)
    length = make("mul", large, make("sqrt", make("add", 1.0, make("mul", ratio, ratio))))
    is_infinite = make("or", make("eq", x, math.inf), make("eq", y, math.inf))
    return make("where", is_infinite, math.inf, make("where", make("eq", large, 0.0), 0.0, length))


# --- hyperbolic functions ---------------------------------------------------------------------------------------------


def _half_exp(make: Any, x: Any) -> Any:
    """exp(|x|) / 2, which is a number where exp(|x|) no longer is."""
    root = make("exp", make("mul", make("abs", x), 0.5))
    return make("mul", make("mul", root, 0.5), root)


def _cosh(make: Any, x: Any) -> Any:
    half = _half_exp(make, x)
    return make("add", half, make("div", 0.25, half))


def _sinh(make: Any, x: Any) -> Any:
    less_one = make("expm1", x)
    near = make("mul", 0.5, make("add", less_one, make("div", less_one, make("add", less_one, 1.0))))
    half = _half_exp(make, x)
    far = make("copysign", make("sub", half, make("div", 0.25, half)), x)
    return make("where", make("lt", make("abs", x), 1.0), near, far)


def _asinh(make: Any, x: Any) -> Any:
    size = make("abs", x)
    square = make("mul", size, size)
    root = make("sqrt", make("add", square, 1.0))
    near = make("log1p", make("add", size, make("div", square, make("add", root, 1.0))))
    far = make("add", make("log", size), _LOG_2)
    return make("copysign", make("where", make("lt", size, _LARGE), near, far), x)


def _acosh(make: Any, x: Any) -> Any:
    beyond = make("sub", x, 1.0)
    roots = make("mul", make("sqrt", beyond), make("sqrt", make("add", x, 1.0)))
    near = make("log1p", make("add", beyond, roots))
    return make("where", make("lt", x, _LARGE), near, make("add", make("log", x), _LOG_2))


def _atanh(make: Any, x: Any) -> Any:
    size = make("abs", x)
    whole = make("log1p", make("div", make("mul", 2.0, size), make("sub", 1.0, size)))
    return make("copysign", make("mul", 0.5, whole), x)


COMPOSED: dict[str, Callable[..., Any]] = {
    "relu": lambda make, x: make("maximum", x, 0.0),
    "reciprocal": lambda make, x: make("div", 1.0, x),
    "rsqrt": lambda make, x: make("div", 1.0, make("sqrt", x)),
    "ceil": lambda make, x: make("neg", make("floor", make("neg", x))),
    "isnan": lambda make, x: make("ne", x, x),
    "isinf": lambda make, x: make("eq", make("abs", x), math.inf),
    "pow": _power,
    "clamp": _clamp,
    "clamp_min": lambda make, x, low: make("maximum", x, low),
    "clamp_max": lambda make, x, high: make("minimum", x, high),
    "fmax": _numeric_extremum("maximum"),
    "fmin": _numeric_extremum("minimum"),
    "sign": _sign,
    "sgn": _sign,
    "softshrink_backward": _shrunk_gradient,
    "hardshrink_backward": _shrunk_gradient,
    "round": _round,
    "frac": lambda make, x: make("sub", x, make("trunc", x)),
    "remainder": _remainder,
    "floor_divide": _floor_divided,
    "div": _divided,
    "exp2": lambda make, x: make("pow", 2.0, x),
    "log2": lambda make, x: make("div", make("log", x), _LOG_2),
    "log10": lambda make, x: make("div", make("log", x), math.log(10)),
    "tan": lambda make, x: make("div", make("sin", x), make("cos", x)),
    "asin": _asin,
    "acos": _acos,
    "atan2": _atan2,
    "hypot": _hypot,
    "cosh": _cosh,
    "sinh": _sinh,
    "asinh": _asinh,
    "acosh": _acosh,
    "atanh": _atanh,
}
