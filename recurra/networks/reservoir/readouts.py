"""Linear read-outs of reservoirs: ridge regression over data of any length, and two that learn row by row."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from recurra.checks import check_known, check_number
from recurra.errors import ConfigError

__all__ = ["LMS", "READOUTS", "RLS", "QRRidge", "Readout", "Ridge", "make_readout"]

_BLOCK = 2048  # columns of a piece of the Gram matrix: what lies above its diagonal is not computed
_RLS_ROWS = 64  # rows that recursive least squares takes in at a time, with the same result as one by one


class Readout(Protocol):
    """Learns y = features @ weights for each of S ensemble members, from rows that come in pieces."""

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take in more rows.

        Shapes: features [S, R, F], targets [R, O].
        """
        ...

    def weights(self) -> Tensor:
        """The weights from all rows so far, [S, F, O]."""
        ...


class Ridge:
    """Ridge regression by its normal equations, in float64.

        W = (XᵀX + λ I)⁻¹ XᵀY        X: all rows of features, Y: all rows of targets

    Memory does not grow with the number of rows.

    Args:
        ridge: λ, at least 0; the constant feature is held back like all others.
    """

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge
        self.gram: Tensor | None = None  # [S, F, F], its lower triangle
        self.moments: Tensor  # [S, F, O]

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take in more rows, see `Readout`."""
        x, y = features.double(), targets.double()
        members, _, size = x.shape
        if self.gram is None:
            self.gram = x.new_zeros(members, size, size)
            self.moments = x.new_zeros(members, size, y.shape[1])
        for gram, rows in zip(self.gram, x, strict=True):
            _add_gram(gram, rows)
        self.moments += x.transpose(1, 2) @ y

    def weights(self) -> Tensor:
        """The weights from all rows so far, see `Readout`."""
        return self.solve(self.ridge)

    def solve(self, ridge: float) -> Tensor:
        """The weights with another λ: the rows need not come again.

        Raises:
            ConfigError: the system has no unique solution to the precision of float64.
        """
        assert self.gram is not None, "no rows came in"
        system = self.gram.tril() + self.gram.tril(-1).mT
        scale = system.diagonal(dim1=1, dim2=2)
        before = scale.clone()
        scale += ridge
        factor, failed = torch.linalg.cholesky_ex(system)
        # what is left of a feature after those before it, next to what it was: noise where it is a sum of them
        left = factor.diagonal(dim1=1, dim2=2).square() / (before + ridge).clamp_min(1e-300)
        if bool((failed != 0).any()) or bool((left < 10 * torch.finfo(torch.float64).eps).any()):
            _refuse_singular(ridge)
        return torch.cholesky_solve(self.moments, factor)


def _add_gram(gram: Tensor, x: Tensor) -> None:
    """Add xᵀx to the lower triangle of a matrix, in place, piece by piece; x [R, F], gram [F, F]."""
    for start in range(0, len(gram), _BLOCK):
        piece = x[:, start : start + _BLOCK]
        rows = gram[start : start + _BLOCK]
        rows[:, :start].addmm_(piece.T, x[:, :start])
        rows[:, start : start + _BLOCK] += _square(piece)


def _square(x: Tensor) -> Tensor:
    """xᵀx. NumPy sees that both factors are one matrix and computes half of the product; torch does not."""
    if x.device.type != "cpu":
        return x.T @ x
    rows = x.numpy()
    return torch.from_numpy(rows.T @ rows)


class QRRidge:
    """Ridge regression by a QR decomposition that grows row by row, in float64.

    It never squares the features, so it bears columns that are nearly sums of others, where the normal equations lose
    half the digits; it is several times slower.

    Args:
        ridge: λ, at least 0, as in `Ridge`.
    """

    def __init__(self, ridge: float) -> None:
        self.ridge = ridge
        self.triangle: Tensor | None = None  # [S, F+O, F+O], R of the features and targets side by side
        self.size = 0

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take in more rows, see `Readout`."""
        x, y = features.double(), targets.double()
        self.size = x.shape[2]
        rows = torch.cat([x, y.expand(len(x), *y.shape)], dim=2)
        if self.triangle is not None:
            rows = torch.cat([self.triangle, rows], dim=1)
        self.triangle = torch.linalg.qr(rows, mode="r").R

    def weights(self) -> Tensor:
        """The weights from all rows so far, see `Readout`.

        Raises:
            ConfigError: the system has no unique solution to the precision of float64.
        """
        assert self.triangle is not None, "no rows came in"
        members, _, width = self.triangle.shape
        size, triangle = self.size, self.triangle
        if self.ridge:
            more = torch.zeros(members, size, width, dtype=triangle.dtype, device=triangle.device)
            more[:, :, :size] = math.sqrt(self.ridge) * torch.eye(size, dtype=triangle.dtype, device=triangle.device)
            triangle = torch.linalg.qr(torch.cat([triangle, more], dim=1), mode="r").R
        if triangle.shape[1] < size:
            _refuse_singular(self.ridge)
        left, right = triangle[:, :size, :size], triangle[:, :size, size:]
        diagonal = left.diagonal(dim1=1, dim2=2).abs()
        if bool((diagonal <= 10 * torch.finfo(torch.float64).eps * left.norm(dim=1)).any()):
            _refuse_singular(self.ridge)
        return torch.linalg.solve_triangular(left, right, upper=True)


class RLS:
    """Recursive least squares: after every row, the ridge solution of the rows so far, old ones forgotten by and by.

        minimise  Σ_n μ^(N-n) |y_n - Wᵀx_n|² + μ^N λ |W|²

    Args:
        ridge: λ, above 0; with μ = 1 the result is that of `Ridge`.
        forgetting: μ, in (0, 1]: the weight of a row falls by it with every row after.
    """

    def __init__(self, ridge: float, forgetting: float = 1.0) -> None:
        if not ridge > 0:
            raise ConfigError(f"`ridge` must be above 0 for the read-out 'rls', which begins from it, got {ridge!r}.")
        if check_number("forgetting", forgetting, above=0) > 1:
            raise ConfigError(f"`forgetting` must be above 0 and at most 1, got {forgetting!r}.")
        self.ridge, self.forgetting = ridge, forgetting
        self.inverse: Tensor | None = None  # [S, F, F], of the weighted Gram matrix
        self.current: Tensor  # [S, F, O]

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take in more rows, see `Readout`."""
        x, y = features.double(), targets.double()
        members, _, size = x.shape
        if self.inverse is None:
            self.inverse = torch.eye(size, dtype=x.dtype, device=x.device).expand(members, -1, -1) / self.ridge
            self.current = x.new_zeros(members, size, y.shape[1])
        for start in range(0, x.shape[1], _RLS_ROWS):
            self._take(x[:, start : start + _RLS_ROWS], y[start : start + _RLS_ROWS])

    def _take(self, x: Tensor, y: Tensor) -> None:
        """The matrix inversion lemma for some rows at once; row n of R has the weight μ^(R-1-n)."""
        count = x.shape[1]
        age = torch.arange(count - 1, -1, -1, dtype=x.dtype, device=x.device)
        before = self.inverse / self.forgetting**count if self.inverse is not None else x
        seen = before @ x.mT  # [S, F, R]
        spread = x @ seen + torch.diag(self.forgetting**-age)
        gain = torch.linalg.solve(spread, seen.mT).mT
        self.current = self.current + gain @ (y - x @ self.current)
        after = before - gain @ seen.mT
        self.inverse = (after + after.mT) / 2  # rounding must not make it lopsided, it would grow

    def weights(self) -> Tensor:
        """The weights after the last row, see `Readout`."""
        return self.current


class LMS:
    """Least mean squares: after every row a small step along its own gradient, normalised by the size of the row.

        W ← W + η x (y - Wᵀx)ᵀ / (1 + |x|²)

    Args:
        rate: η, in (0, 2): beyond, the steps overshoot.
    """

    def __init__(self, rate: float) -> None:
        if check_number("rate", rate, above=0) >= 2:
            raise ConfigError(f"`rate` of the read-out 'lms' must be above 0 and below 2, got {rate!r}.")
        self.rate = rate
        self.current: Tensor | None = None  # [S, F, O]

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Take in more rows, see `Readout`."""
        x, y = features.double(), targets.double()
        if self.current is None:
            self.current = x.new_zeros(len(x), x.shape[2], y.shape[1])
        scaled = self.rate * x / (1 + x.square().sum(dim=2, keepdim=True))
        for row, step, target in zip(x.unbind(1), scaled.unbind(1), y, strict=True):
            error = target - torch.einsum("sf,sfo->so", row, self.current)
            self.current += step[:, :, None] * error[:, None, :]

    def weights(self) -> Tensor:
        """The weights after the last row, see `Readout`."""
        assert self.current is not None, "no rows came in"
        return self.current


READOUTS = ("ridge", "qr", "rls", "lms")


def make_readout(name: str, *, ridge: float, forgetting: float, rate: float) -> Readout:
    """A read-out by name.

    Raises:
        ConfigError: the name is unknown, or an option has a value that cannot be.
    """
    check_known(name, READOUTS, f"Unknown read-out `{name}`")
    check_number("ridge", ridge, least=0)
    if name == "ridge":
        return Ridge(ridge)
    if name == "qr":
        return QRRidge(ridge)
    return RLS(ridge, forgetting) if name == "rls" else LMS(rate)


def _refuse_singular(ridge: float) -> None:
    raise ConfigError(
        f"With ridge={ridge:g} the read-out has no unique solution in float64, for some features are sums of others or "
        "there are more features than rows: give a larger `ridge`, e.g. 1e-6, fewer units or more data."
    )
