"""Hidden states as points in the plane."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.errors import ShapeError
from recurra.shapes import describe

__all__ = ["project"]


def project(states: Tensor) -> Tensor:
    """The two directions in which states differ most (principal components).

    Complex numbers count as two.

    Shapes: states [T, B, ...], NaN where a sequence has ended -> [T, B, 2], NaN there too, and where a state has
        grown beyond all numbers.

    Raises:
        ShapeError: there are fewer than two numbers in a state.
    """
    if states.dim() < 3 or states.shape[2:].numel() < 2:
        raise ShapeError(
            f"`states` must have shape [T, B, ...] with two numbers a state at least, got {describe(states)}."
        )
    rows = (torch.view_as_real(states) if states.is_complex() else states).detach().flatten(2)
    there = rows.isfinite().all(-1)
    points = rows[there].double()
    points = points - points.mean(0)
    _, _, directions = torch.linalg.svd(points, full_matrices=False)
    directions = directions[:2]
    # a direction has no sign of its own: let its largest number be positive, so that pictures can be compared
    signs = directions.gather(1, directions.abs().argmax(1, keepdim=True)).sign()
    found = rows.new_full((*rows.shape[:2], 2), float("nan"), dtype=torch.float64)
    flat = points @ (directions * signs).t()
    found[there] = torch.nn.functional.pad(flat, (0, 2 - flat.shape[1]))
    return found
