"""Linear algebra of small matrices of a row, [.., n, n], written out as the steps of an elimination.

Pivots are found as LAPACK finds them, so that factors and pivots are torch's own, whichever of the two made them. No
step looks at a number: what has no inverse gives infinities or NaN, and a matrix that is not positive definite NaN.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from recurra.engine.taken_apart import Formless

__all__ = ["SMALL_MATRICES"]

aten = torch.ops.aten

_LARGEST = 8  # rows: an elimination takes some passes over a matrix for each of them, and their code
_LARGEST_EXPONENT = 16  # rows: it takes products alone, and its gradient is that of a matrix with twice as many
_TERMS = 18  # of the exponential series at numbers below 1: the next one is lost in float64
_SQUARINGS = 16


def _expect_small(matrix: Tensor, largest: int = _LARGEST) -> None:
    if matrix.shape[-1] > largest:
        raise Formless(f"its matrices have more than {largest} rows")


def _rows(matrix: Tensor) -> Tensor:
    """0, 1, .. for the rows of a matrix, [n, 1]."""
    return torch.arange(matrix.shape[-2], device=matrix.device).unsqueeze(-1)


def _row(matrix: Tensor, k: int) -> Tensor:
    return matrix.narrow(-2, k, 1)


def _column(matrix: Tensor, k: int) -> Tensor:
    return matrix.narrow(-1, k, 1)


def _exchanged(matrix: Tensor, k: int, place: Tensor) -> Tensor:
    """Row `k` and the row at a place, [.., 1, 1], exchanged."""
    rows = _rows(matrix)
    is_there = rows == place
    other = torch.where(is_there, matrix, 0.0).sum(-2, keepdim=True)
    return torch.where(rows == k, other, torch.where(is_there, _row(matrix, k), matrix))


def _factored(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """L and U in one matrix, and the row that each row was exchanged with, counted from 1."""
    _expect_small(matrix)
    size = matrix.shape[-1]
    rows, columns = _rows(matrix), torch.arange(size, device=matrix.device)
    places = []
    for k in range(size - 1):
        left = torch.where(rows >= k, _column(matrix, k).abs(), -1.0)
        place = left.argmax(-2, keepdim=True)
        places.append(place)
        matrix = _exchanged(matrix, k, place)
        pivot = _column(_row(matrix, k), k)
        factor = _column(matrix, k) / torch.where(pivot == 0, 1.0, pivot)  # below a pivot of 0 all are 0
        inner = torch.where(columns > k, matrix - factor * _row(matrix, k), factor)
        matrix = torch.where((rows > k) & (columns >= k), inner, matrix)
    last = torch.full_like(_column(_row(matrix, 0), 0), size - 1, dtype=torch.int64)
    return matrix, torch.cat([*places, last], -2).squeeze(-1).to(torch.int32) + 1


def _in_turn(exchanges: Tensor, matrix: Tensor, *, back: bool = False) -> Tensor:
    """Exchange rows as a factorization did, or undo it."""
    count = exchanges.shape[-1]
    for k in reversed(range(count)) if back else range(count):
        matrix = _exchanged(matrix, k, exchanges.narrow(-1, k, 1).unsqueeze(-1) - 1)
    return matrix


def _substituted(triangle: Tensor, right: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    """X of `triangle X = right`; what stands on the other side of the diagonal is not read."""
    _expect_small(triangle)
    size, rows = triangle.shape[-1], _rows(triangle)
    for k in reversed(range(size)) if upper else range(size):
        found = _row(right, k) if unit else _row(right, k) / _column(_row(triangle, k), k)
        left = right - _column(triangle, k) * found
        right = torch.where(rows == k, found, torch.where(rows < k if upper else rows > k, left, right))
    return right


def _by_factors(
    factors: Tensor, exchanges: Tensor, right: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    if not left:
        return _by_factors(factors, exchanges, right.mT, adjoint=not adjoint).mT
    if adjoint:
        middle = _substituted(factors.mT, right, upper=False)
        return _in_turn(exchanges, _substituted(factors.mT, middle, upper=True, unit=True), back=True)
    middle = _substituted(factors, _in_turn(exchanges, right), upper=False, unit=True)
    return _substituted(factors, middle, upper=True)


# --- torch's calls, each with the results that it has ----------------------------------------------------------------


def _lu_factor(matrix: Tensor, *, pivot: bool = True, **_: Any) -> Any:
    return (*_factored(matrix), None) if pivot else NotImplemented


def _solve(matrix: Tensor, right: Tensor, *, left: bool = True, **_: Any) -> Any:
    is_vector = right.dim() == 1 or right.shape == matrix.shape[:-1]
    factors, exchanges = _factored(matrix)
    found = _by_factors(factors, exchanges, right.unsqueeze(-1) if is_vector else right, left=left or is_vector)
    return found.squeeze(-1) if is_vector else found, factors, exchanges, None


def _inverse(matrix: Tensor, **_: Any) -> Any:
    every = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return _by_factors(*_factored(matrix), every), None


def _cholesky(matrix: Tensor, *, upper: bool = False, **_: Any) -> Any:
    if upper:
        return _cholesky(matrix.mT)[0].mT, None
    _expect_small(matrix)
    size, rows = matrix.shape[-1], _rows(matrix)
    columns = []
    for k in range(size):
        root = _column(_row(matrix, k), k).sqrt()
        column = torch.where(rows > k, _column(matrix, k) / root, torch.where(rows == k, root, 0.0))
        columns.append(column)
        matrix = matrix - column * column.mT
    return torch.cat(columns, -1), None


def _solve_triangular(
    triangle: Tensor, right: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    if left:
        return _substituted(triangle, right, upper=upper, unit=unitriangular)
    return _substituted(triangle.mT, right.mT, upper=not upper, unit=unitriangular).mT


def _cholesky_solve(right: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    lower = factor.mT if upper else factor
    return _substituted(lower.mT, _substituted(lower, right, upper=False), upper=True)


def _cholesky_inverse(factor: Tensor, upper: bool = False) -> Tensor:
    return _cholesky_solve(torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device), factor, upper)


def _qr(matrix: Tensor, mode: str = "reduced") -> Any:
    """By reflections as LAPACK makes them: each takes what stands below the diagonal of a column to 0."""
    _expect_small(matrix)
    rows, size = _rows(matrix), min(matrix.shape[-2:])
    reflections = []
    for k in range(min(size, matrix.shape[-2] - 1)):
        below = torch.where(rows > k, _column(matrix, k), 0.0)
        top = _column(_row(matrix, k), k)
        rest = below.square().sum(-2, keepdim=True)
        goal = -torch.copysign((top.square() + rest).sqrt(), top)
        is_idle = rest == 0  # all is 0 there already, and LAPACK reflects nothing
        mirror = torch.where(rows == k, 1.0, below / torch.where(is_idle, 1.0, top - goal))
        factor = torch.where(is_idle, 0.0, (goal - top) / torch.where(is_idle, 1.0, goal))
        reflections.append((mirror, factor))
        matrix = _reflected(matrix, mirror, factor)
    if mode == "r":
        return matrix.new_empty(0), matrix.narrow(-2, 0, size).triu()
    count = size if mode == "reduced" else matrix.shape[-2]
    turned = torch.eye(matrix.shape[-2], count, dtype=matrix.dtype, device=matrix.device)
    turned = turned.expand(*matrix.shape[:-2], -1, -1)
    for mirror, factor in reversed(reflections):
        turned = _reflected(turned, mirror, factor)
    return turned, matrix.narrow(-2, 0, count).triu()


def _reflected(matrix: Tensor, mirror: Tensor, factor: Tensor) -> Tensor:
    return matrix - factor * mirror * (mirror * matrix).sum(-2, keepdim=True)


def _exponential(matrix: Tensor) -> Tensor:
    """By its series after some halvings, then squared as often; NaN beyond 2 to the power of so many."""
    _expect_small(matrix, _LARGEST_EXPONENT)
    norm = matrix.abs().sum(-2, keepdim=True).amax(-1, keepdim=True)
    halvings = norm.log2().ceil().clamp(min=0)
    small = matrix * (-halvings).exp2()
    every = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    found = every + small / _TERMS
    for k in reversed(range(1, _TERMS)):
        found = every + small @ found / k
    for k in range(_SQUARINGS):
        found = torch.where(halvings > k, found @ found, found)
    return torch.where(halvings > _SQUARINGS, math.nan, found)


SMALL_MATRICES: dict[Any, Any] = {
    aten.linalg_lu_factor_ex.default: _lu_factor,
    aten.linalg_lu_solve.default: _by_factors,
    aten._linalg_solve_ex.default: _solve,
    aten.linalg_inv_ex.default: _inverse,
    aten.linalg_cholesky_ex.default: _cholesky,
    aten.linalg_solve_triangular.default: _solve_triangular,
    aten.cholesky_solve.default: _cholesky_solve,
    aten._cholesky_solve_helper.default: _cholesky_solve,
    aten.cholesky_inverse.default: _cholesky_inverse,
    aten.linalg_qr.default: _qr,
    aten.linalg_matrix_exp.default: _exponential,
}
