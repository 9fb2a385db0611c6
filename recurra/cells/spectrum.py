"""The spectral radius of a matrix, small or large and sparse."""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from recurra.errors import import_extra

__all__ = ["spectral_radius"]

_SMALL = 400  # up to here all eigenvalues are found faster than the largest alone
_LARGE = 2000  # beyond, finding all of them takes minutes


def spectral_radius(rows: Tensor, columns: Tensor, values: Tensor, units: int) -> float:
    """The largest modulus of an eigenvalue of a square matrix, given by its numbers other than 0.

    Small matrices by all their eigenvalues; large ones by Arnoldi's method in scipy, where it is installed.

    Shapes: rows, columns int64 [n], values [n].

    Args:
        rows: the row of each number.
        columns: its column.
        values: the number.
        units: rows and columns of the matrix.

    Raises:
        MissingExtra: the matrix has more than 2000 rows, and scipy is not installed.
    """
    if len(values) == 0:
        return 0.0
    if units <= _SMALL or (units <= _LARGE and importlib.util.find_spec("scipy") is None):
        dense = torch.zeros(units, units, dtype=torch.float64)
        dense[rows, columns] = values.double()
        return float(torch.linalg.eigvals(dense).abs().max())
    return _arnoldi(rows, columns, values, units)


def _arnoldi(rows: Tensor, columns: Tensor, values: Tensor, units: int) -> float:
    sparse = import_extra("scipy.sparse", "reservoir")
    linalg = import_extra("scipy.sparse.linalg", "reservoir")
    matrix = sparse.csr_array((values.double().numpy(), (rows.numpy(), columns.numpy())), shape=(units, units))
    start = torch.rand(units, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    # eigenvalues of random matrices fill a disc: many lie near its edge, and only a wide basis tells them apart
    found = linalg.eigs(matrix, k=6, ncv=80, which="LM", v0=start, tol=1e-10, return_eigenvectors=False)
    return float(abs(found).max())
