"""Functions of complex numbers, from functions of their parts: `FUNCTIONS[name](*operands)`.

An operand is a pair, of tensors or of numbers. What comes out is a pair too, or a real tensor. The functions named in
`TAKES_REALS` take real operands as they are, with None for the imaginary part. Where the well known form loses digits
or overflows, another one stands in its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recurra.engine.composed import by_squaring

__all__ = ["FUNCTIONS", "TAKES_REALS"]

Operand = tuple[Any, Any]
Pair = tuple[Tensor, Tensor]

TAKES_REALS = frozenset(("mul", "div", "pow", "polar"))

_MOST = 16  # a larger power is made by a logarithm


def _mul(z: Operand, w: Operand) -> Pair:
    (a, b), (c, d) = z, w
    if d is None:
        return a * c, torch.zeros_like(a * c) if b is None else b * c
    if b is None:
        return a * c, a * d
    return a * c - b * d, a * d + b * c


def _div(z: Operand, w: Operand) -> Pair:
    (a, b), (c, d) = z, w
    if d is None:
        return a / c, torch.zeros_like(a / c) if b is None else b / c
    if not isinstance(c, Tensor):  # by a number
        inverse = 1 / complex(c, d)
        return _mul(z, (inverse.real, inverse.imag))
    size = torch.maximum(c.abs(), d.abs())  # squares of large numbers are infinite
    c, d = c / size, d / size
    length = (c * c + d * d) * size
    if b is None:
        return a * c / length, -(a * d) / length
    return (a * c + b * d) / length, (b * c - a * d) / length


def _abs(z: Operand) -> Tensor:
    return torch.hypot(*z)


def _sgn(z: Operand) -> Pair:
    size = _abs(z)
    is_zero = size == 0
    size = torch.where(is_zero, 1.0, size)
    return torch.where(is_zero, 0.0, z[0] / size), torch.where(is_zero, 0.0, z[1] / size)


def _polar(size: Operand, angle: Operand) -> Pair:
    return size[0] * torch.cos(angle[0]), size[0] * torch.sin(angle[0])


def _exp(z: Operand) -> Pair:
    return _polar((torch.exp(z[0]), None), (z[1], None))


def _log(z: Operand) -> Pair:
    return torch.log(_abs(z)), torch.atan2(z[1], z[0])


def _expm1(z: Operand) -> Pair:
    half = torch.sin(0.5 * z[1])
    return torch.expm1(z[0]) * torch.cos(z[1]) - 2 * half * half, torch.exp(z[0]) * torch.sin(z[1])


def _sqrt(z: Operand) -> Pair:
    a, b = z
    large = torch.sqrt((_abs(z) + a.abs()) * 0.5)
    small = torch.where(large == 0, 0.0, b.abs() / torch.where(large == 0, 1.0, 2 * large))
    is_right = a >= 0
    return torch.where(is_right, large, small), torch.copysign(torch.where(is_right, small, large), b)


def _power(z: Operand, exponent: Operand) -> Any:
    (real, imag), (count, turns) = z, exponent
    like: Tensor = next(part for part in (real, count) if isinstance(part, Tensor))
    base = _of(like, real), _of(like, 0.0 if imag is None else imag)
    if turns is None and isinstance(count, int | float) and count == int(count) and 0 < abs(count) <= _MOST:
        power = by_squaring(base, int(abs(count)), _mul)
        return power if count > 0 else _div((1.0, None), power)
    if turns is None and not isinstance(count, Tensor) and count == 0.5:
        return _sqrt(base)
    return _exp(_mul(_log(base), exponent))


def _of(like: Tensor, number: Any) -> Tensor:
    """A number as a tensor."""
    return number if isinstance(number, Tensor) else torch.full((), number, dtype=like.dtype, device=like.device)


def _sin(z: Operand) -> Pair:
    a, b = z
    return torch.sin(a) * torch.cosh(b), torch.cos(a) * torch.sinh(b)


def _cos(z: Operand) -> Pair:
    a, b = z
    return torch.cos(a) * torch.cosh(b), -torch.sin(a) * torch.sinh(b)


def _turned(function: Callable[[Operand], Pair]) -> Callable[[Operand], Pair]:
    """f(z) = -i g(iz): `sinh` of `sin`."""

    def turned(z: Operand) -> Pair:
        real, imag = function((-z[1], z[0]))
        return imag, -real

    return turned


def _cosh(z: Operand) -> Pair:
    return _cos((-z[1], z[0]))


def _tanh(z: Operand) -> Pair:
    t, sin, cos = torch.tanh(z[0]), torch.sin(z[1]), torch.cos(z[1])
    length = cos * cos + sin * sin * t * t
    return t / length, sin * cos * (1 - t * t) / length


def _sigmoid(z: Operand) -> Pair:
    real, imag = _tanh((z[0] * 0.5, z[1] * 0.5))
    return 0.5 * real + 0.5, 0.5 * imag


def _is_same(z: Operand, w: Operand) -> Tensor:
    same: Tensor = (z[0] == w[0]) & (z[1] == w[1])
    return same


def _conj(z: Operand) -> Pair:
    return z[0], -z[1]


def _less(number: float, z: Operand) -> Pair:
    """A number less z."""
    return number - z[0], -z[1]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "mul": _mul,
    "div": _div,
    "reciprocal": lambda z: _div((1.0, None), z),
    **dict.fromkeys(("_conj", "_conj_physical", "conj_physical"), _conj),
    "resolve_conj": lambda z: z,
    "abs": _abs,
    "angle": lambda z: torch.atan2(z[1], z[0]),
    "sgn": _sgn,
    "polar": _polar,
    "exp": _exp,
    "log": _log,
    "expm1": _expm1,
    "log1p": lambda z: (0.5 * torch.log1p(z[0] * (2 + z[0]) + z[1] * z[1]), torch.atan2(z[1], 1 + z[0])),
    "log2": lambda z: _div(_log(z), (math.log(2), None)),
    "log10": lambda z: _div(_log(z), (math.log(10), None)),
    "sqrt": _sqrt,
    "rsqrt": lambda z: _div((1.0, None), _sqrt(z)),
    "square": lambda z: _mul(z, z),
    "pow": _power,
    "sin": _sin,
    "cos": _cos,
    "sinh": _turned(_sin),
    "cosh": _cosh,
    "tanh": _tanh,
    "tan": _turned(_tanh),
    "sigmoid": _sigmoid,
    "tanh_backward": lambda d, y: _mul(d, _conj(_less(1.0, _mul(y, y)))),
    "sigmoid_backward": lambda d, y: _mul(d, _conj(_mul(y, _less(1.0, y)))),
    "eq": _is_same,
    "ne": lambda z, w: ~_is_same(z, w),
    "isnan": lambda z: torch.isnan(z[0]) | torch.isnan(z[1]),
}
