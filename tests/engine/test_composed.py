"""Functions made of several operations, over the whole range of floats, against torch in double precision."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from recurra.engine.composed import COMPOSED

# the largest error in units in the last place
BOUNDS = {
    "exp2": 1,
    "log2": 3,
    "log10": 3,
    "tan": 4,
    "asin": 4,
    "acos": 4,
    "cosh": 4,
    "sinh": 4,
    "asinh": 4,
    "acosh": 4,
    "atanh": 4,
    "atan2": 4,
    "hypot": 4,
}
EXACT = ("ceil", "round", "frac", "sign", "isnan", "isinf", "remainder", "floor_divide", "fmax", "fmin")
TWO = ("atan2", "hypot", "remainder", "floor_divide", "fmax", "fmin")
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, math.inf, -math.inf, math.nan, 3.4e38, -3.4e38, 1e-45, 88.9, -89.3]


def make(op: str, *args: Any) -> Tensor:
    """An operation of the loop by torch."""
    name = {"and": "logical_and", "or": "logical_or"}.get(op, op)
    made: Tensor = getattr(torch, name)(*(torch.as_tensor(arg) for arg in args))
    return made


def numbers() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (4000,), generator=draw).int()
    near = torch.randn(4000, generator=draw) * torch.tensor([0.01, 1, 5, 30]).repeat(1000)
    return torch.cat([torch.tensor(EDGES), bits.view(torch.float32) * 1.0, near])


def operands(name: str) -> tuple[Tensor, ...]:
    x = numbers()
    if name not in TWO:
        return (x,)
    edges = torch.tensor(EDGES)
    x, y = torch.cat([x, edges.repeat(len(edges))]), torch.cat([x.flip(0), edges.repeat_interleave(len(edges))])
    fits = (
        ((x / y).abs() < math.inf) | (y == 0) | x.isinf()
    )  # torch's own `fmod` has NaN for quotients that are too large
    return (x[fits], y[fits]) if name in ("remainder", "floor_divide") else (x, y)


@pytest.mark.parametrize("name", [*BOUNDS, *EXACT])
def test_a_composed_function_is_right_over_the_whole_range(name: str) -> None:
    args = operands(name)
    function = getattr(torch, name)
    got = COMPOSED[name](make, *args)
    if name in EXACT:
        torch.testing.assert_close(got, function(*args).to(got.dtype), rtol=0, atol=0, equal_nan=True)
        return
    want = function(*(arg.double() for arg in args))
    rounded = want.float()
    assert torch.equal(got.isnan(), want.isnan())
    finite = rounded.isfinite()
    unit = torch.nextafter(rounded.abs(), torch.tensor(math.inf)) - rounded.abs()
    errors = (got.double() - want).abs() / unit.double()
    worst = int(torch.where(finite, errors, 0.0).argmax())
    assert errors[worst] <= BOUNDS[name], f"{[float(a[worst]) for a in args]}: {errors[worst]:.2f} ulp"
    beyond = ~finite & ~want.isnan()  # too large for a float: infinite, or the largest one
    assert bool((got[beyond].abs() >= torch.finfo(torch.float32).max).all())
