"""The Jacobian of a step: how a small change of the state grows or dies in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.engine.contract import Cell
from recurra.errors import ShapeError
from recurra.shapes import describe

__all__ = ["StepJacobians", "step_jacobians"]


@dataclass(frozen=True)
class StepJacobians:
    """Along one sequence, J_t = d state after step t / d state before it.

    Attributes:
        matrices: J, [T, S, S], S numbers of the state, its fields one after the other; of a complex number both parts.
        spectral_radius: largest size of an eigenvalue, [T]; below 1 on the whole, the state forgets.
        singular_values: in falling order, [T, S]; above 1 where some change grows.
    """

    matrices: Tensor
    spectral_radius: Tensor
    singular_values: Tensor


def step_jacobians(cell: Cell, x: Tensor, state: Any = None) -> StepJacobians:
    """The Jacobians of a cell along one sequence.

    A step with S copies of the sequence as its batch gives all rows of J in one backward pass, for the rows of a batch
    do not see each other.

    Shapes: x [T, I], fields of state [1, ...].

    Args:
        cell: any cell.
        x: one sequence.
        state: the state before the first step; the cell's initial state where not given.

    Raises:
        ShapeError: x or the state has another shape.
    """
    if x.shape[1:] != cell.input_shape:
        shape = ", ".join(map(str, cell.input_shape))
        raise ShapeError(f"`x` must be one sequence of shape [T, {shape}], got {describe(x)}.")
    state = cell.as_state(state, 1, like=x)
    matrices = []
    for row in x:
        matrix, state = _jacobian(cell, row[None], state)
        matrices.append(matrix)
    size = _flat(state).shape[1]
    stacked = torch.stack(matrices) if matrices else x.new_zeros(0, size, size)
    # the eigenvalues of a matrix with an entry that is not finite are none
    radius = torch.linalg.eigvals(stacked.nan_to_num()).abs().amax(-1) if len(stacked) else x.new_zeros(0)
    return StepJacobians(stacked, radius, torch.linalg.svdvals(stacked.nan_to_num()))


def _jacobian(cell: Cell, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    flat = _flat(state).detach()
    size = flat.shape[1]
    with torch.enable_grad():
        rows = flat.expand(size, -1).clone().requires_grad_()
        parts = rows.split([_reals(field)[0].numel() for field in state], 1)
        fields = (_as(field, part) for part, field in zip(parts, state, strict=True))
        _, after = cell.step(x.detach().expand(size, *x.shape[1:]), cell.State(*fields))
        (matrix,) = torch.autograd.grad(_flat(after).diagonal().sum(), rows)
    return matrix, cell.State(*(field[:1].detach() for field in after))


def _reals(field: Tensor) -> Tensor:
    return torch.view_as_real(field) if field.is_complex() else field


def _flat(state: Any) -> Tensor:
    return torch.cat([_reals(field).flatten(1) for field in state], 1)


def _as(field: Tensor, rows: Tensor) -> Tensor:
    """Rows of numbers in the shape of a field, and complex as it is."""
    shaped = rows.reshape(len(rows), *_reals(field).shape[1:])
    return torch.view_as_complex(shaped) if field.is_complex() else shaped
