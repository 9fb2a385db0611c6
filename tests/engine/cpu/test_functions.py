"""Every vector function over the whole range of floats, against mpmath in units in the last place."""

from __future__ import annotations

import functools
import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch import fx

from recurra.engine.cpu import team
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.target import Target
from recurra.engine.cpu.tiling import Tiling
from recurra.engine.loop import Program, Value
from recurra.engine.schedule import schedule

# the largest error in units in the last place that is allowed (float32, float64)
BOUNDS = {
    "exp": (1.0, 1.0),
    "expm1": (1.5, 2.0),
    "log": (1.0, 1.0),
    "log1p": (1.5, 1.5),
    "log1p_unit": (1.5, 1.5),
    "tanh": (2.2, 2.2),
    "sigmoid": (2.2, 2.2),
    "erf": (2.0, 2.0),
    "sin": (1.0, 1.0),
    "cos": (1.0, 1.0),
    "atan": (2.0, 2.0),
}
EXACT = {"sqrt": np.sqrt, "floor": np.floor, "trunc": np.trunc, "round": np.round, "neg": np.negative, "abs": np.abs}
TRUE = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log1p_unit": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "erf": mpmath.erf,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "atan": mpmath.atan,
}
LIMITS = {
    # at -inf, inf
    "exp": (0.0, math.inf),
    "expm1": (-1.0, math.inf),
    "log": (math.nan, math.inf),
    "log1p": (math.nan, math.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "erf": (-1.0, 1.0),
    "sin": (math.nan, math.nan),
    "cos": (math.nan, math.nan),
    "atan": (-math.pi / 2, math.pi / 2),
}
KIND = {32: (torch.float32, np.float32), 64: (torch.float64, np.float64)}


@functools.cache
def kernel(op: str, bits: int, target: Target | None = None) -> LoopKernel:
    """A pass over rows that applies one operation."""
    node = fx.Graph().placeholder("x")
    x = Value("array", (), 8, node=node, name="v0")
    y = Value(op, (x,), 8, name="v1")
    goal = fx.Graph().placeholder("y")
    return LoopKernel(schedule(Program("one", [x, y], saved={goal: y})), KIND[bits][0], reverse=False, target=target)


def apply(op: str, numbers: np.ndarray, bits: int, target: Target | None = None) -> np.ndarray:
    rows = -(-len(numbers) // 8)
    padded = np.ones(rows * 8, KIND[bits][1])
    padded[: len(numbers)] = numbers
    x = torch.from_numpy(padded).reshape(rows, 8)
    ((written, _),) = team.together([kernel(op, bits, target).run(Tiling.of_rows(rows, 1), [x], [], [], [], rows)])
    return written[0].reshape(-1)[: len(numbers)].numpy()


def inputs(bits: int, count: int) -> np.ndarray:
    """Floats of every exponent and both signs, and many of the size that matters."""
    draw = np.random.default_rng(0)
    top = (0x7F7FFFFF if bits == 32 else 0x7FEFFFFFFFFFFFFF) + 1
    patterns = draw.integers(0, top, count, dtype=np.uint64).astype(np.uint32 if bits == 32 else np.uint64)
    everywhere = patterns.view(KIND[bits][1])
    near = np.concatenate([draw.normal(0, scale, count) for scale in (0.01, 1.0, 5.0, 30.0)])
    numbers = np.concatenate([everywhere, -everywhere, near, 1 + draw.normal(0, 0.01, count)])
    return numbers.astype(KIND[bits][1])


def ulp_error(got: np.ndarray, op: str, x: np.ndarray) -> tuple[float, float]:
    """The largest error in units in the last place of the true result, and where."""
    kind = got.dtype.type
    worst, where = 0.0, 0.0
    mpmath.mp.dps = 40
    largest = mpmath.mpf(float(np.finfo(kind).max))
    for value, mine in zip(x.tolist(), got.tolist(), strict=True):
        true = TRUE[op](mpmath.mpf(value))
        if abs(true) > largest:
            error = 0.0 if math.isinf(mine) or mine == float(largest) else math.inf
        elif not math.isfinite(mine):
            error = 0.0 if abs(true) > largest * (1 - 2.0**-20) else math.inf
        else:
            error = float(abs(mpmath.mpf(mine) - true) / mpmath.mpf(float(np.spacing(kind(abs(float(true)))))))
        if error > worst:
            worst, where = error, value
    return worst, where


def valid(op: str, x: np.ndarray) -> np.ndarray:
    if op == "log":
        return x[x > 0]
    if op == "log1p":
        return x[x > -1]
    if op == "log1p_unit":
        return x[(x >= 0) & (x <= 1)]
    # beyond, the argument itself has no digit left below 2 pi
    return x[np.abs(x) < 1e6] if op in ("sin", "cos") else x


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("op", BOUNDS)
def test_a_function_is_right_to_its_last_digits_over_the_whole_range(op: str, bits: int) -> None:
    x = valid(op, inputs(bits, 250))
    error, where = ulp_error(apply(op, x, bits), op, x)
    assert error <= BOUNDS[op][bits == 64], f"{op}({where!r}) is off by {error:.2f} ulp"


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("op", LIMITS)
def test_nan_infinities_and_zeros_come_out_as_they_should(op: str, bits: int) -> None:
    low, high = LIMITS[op]
    got = apply(op, np.array([math.nan, -math.inf, math.inf]), bits)
    assert math.isnan(got[0])
    np.testing.assert_array_equal(got[1:], np.array([low, high], got.dtype))
    if op in ("expm1", "log1p", "tanh", "erf", "sin", "atan"):  # odd at zero: the sign of zero is kept
        zeros = apply(op, np.array([0.0, -0.0]), bits)
        np.testing.assert_array_equal(zeros, [0.0, 0.0])
        np.testing.assert_array_equal(np.signbit(zeros), [False, True])


@pytest.mark.parametrize("bits", [32, 64])
def test_the_logarithm_of_zero_and_of_less(bits: int) -> None:
    np.testing.assert_array_equal(apply("log", np.array([0.0, -0.0, -1.0]), bits), [-math.inf, -math.inf, math.nan])
    np.testing.assert_array_equal(apply("log1p", np.array([-1.0, -1.5]), bits), [-math.inf, math.nan])


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("op", EXACT)
def test_what_rounds_once_is_exact(op: str, bits: int) -> None:
    x = inputs(bits, 500)
    x = np.abs(x) if op == "sqrt" else x
    np.testing.assert_array_equal(apply(op, x, bits), EXACT[op](x))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("op", BOUNDS)
def test_it_is_as_right_without_a_fused_multiply(op: str, bits: int) -> None:
    x = valid(op, inputs(bits, 60))
    error, where = ulp_error(apply(op, x, bits, Target.x86_64(2)), op, x)
    assert error <= BOUNDS[op][bits == 64] + 2, f"{op}({where!r}) is off by {error:.2f} ulp"


def measure(count: int = 4000) -> Any:
    """The table in functions.py: run by hand with `python -m tests.engine.cpu.test_functions`."""
    for op in BOUNDS:
        found = [ulp_error(apply(op, x, bits), op, x) for bits in (32, 64) for x in [valid(op, inputs(bits, count))]]
        print(op, *(f"{error:.2f} ulp at {where!r}" for error, where in found))


if __name__ == "__main__":
    measure()
