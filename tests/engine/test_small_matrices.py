"""Linear algebra of matrices of the state of a step, forward and back, against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, linalg

import recurra
from recurra.engine.compiled import compiled
from recurra.engine.small_matrices import SMALL_MATRICES
from recurra.errors import CompileError
from tests.engine.engines import assert_engines_agree
from tests.engine.images import Images
from tests.tolerance import assert_close

aten = torch.ops.aten


def general(h: Tensor) -> Tensor:
    """Matrices that need their rows exchanged."""
    return h + 2 * torch.eye(h.shape[-1], dtype=h.dtype).flip(0)


def positive(h: Tensor) -> Tensor:
    return h @ h.mT + torch.eye(h.shape[-1], dtype=h.dtype)


def tall(x: Tensor, h: Tensor) -> Tensor:
    return torch.cat([x, general(h)], -2)


def spread(numbers: Tensor) -> Tensor:
    return numbers[..., None, None]


def kalman(x: Tensor, p: Tensor) -> Tensor:
    """The covariance of a state after a measurement."""
    p = positive(p)
    return p - p @ linalg.solve(p + torch.eye(p.shape[-1], dtype=p.dtype), p) + 0.1 * x


STEPS: dict[str, Any] = {
    "solve": lambda x, h: linalg.solve(general(h), x),
    "solve for a vector": lambda x, h: x + linalg.solve(general(h), x[..., 0]).unsqueeze(-1),
    "solve from the right": lambda x, h: linalg.solve(general(h), x, left=False),
    "inverse": lambda x, h: linalg.inv(general(h).mT) + torch.inverse(general(x)),
    "factors": lambda x, h: linalg.lu_solve(*linalg.lu_factor(general(h)), x, adjoint=True),
    "cholesky": lambda x, h: linalg.cholesky(positive(h)) + linalg.cholesky(positive(x + h), upper=True),
    "cholesky solve": lambda x, h: torch.cholesky_solve(x, linalg.cholesky(positive(h))),
    "cholesky inverse": lambda x, h: torch.cholesky_inverse(linalg.cholesky(positive(h), upper=True), upper=True),
    "triangles": lambda x, h: (
        linalg.solve_triangular(positive(h).tril(), x, upper=False)
        + linalg.solve_triangular(positive(h), x, upper=True, left=False, unitriangular=True)
    ),
    "determinant": lambda x, h: x + spread(linalg.det(general(h)) + linalg.det(general(h).mT * 0.5)),
    "its logarithm": lambda x, h: x + spread(linalg.slogdet(general(h))[1] + torch.logdet(positive(h).mT)),
    "its sign": lambda x, h: x * spread(linalg.slogdet(x + h).sign),
    "qr": lambda x, h: sum(linalg.qr(x + general(h))),
    "qr of tall matrices": lambda x, h: x + sum(part.sin().sum((-2, -1), True) for part in linalg.qr(tall(x, h))),
    "qr of all rows": lambda x, h: x + linalg.qr(tall(x, h).detach(), "complete").Q[..., :1, -1:],
    "r of triangles": lambda x, h: x + linalg.qr(h.detach().triu() + 1, mode="r").R,
    "exponential": lambda x, h: linalg.matrix_exp(h - h.mT) @ x,
    "exponential of large numbers": lambda x, h: x + linalg.matrix_exp(h.round() * torch.tensor([[0, 60], [-60, 0]])),
    "distances": lambda x, h: torch.cdist(x + h, h) + torch.cdist(h, h, p=1.0) * torch.cdist(x, h, p=torch.inf),
    "norms": lambda x, h: x / spread(linalg.norm(h, dim=(-2, -1)) + linalg.matrix_norm(h, 1) + 1),
    "trace and outer": lambda x, h: x * spread(torch.einsum("...ii", h)) + h[..., :1] * x[..., :1, :],
    "kalman": kalman,
}


@pytest.mark.parametrize("name", STEPS)
def test_small_matrices_of_the_state(name: str) -> None:
    f = STEPS[name]
    size = 2 if "exponential" in name else 3
    cell = Images(2, (size, size), {"scale": ()}, lambda cell, x, h: cell.scale * f(x, h))
    assert_engines_agree(cell, [3, 0, 2])


@pytest.mark.parametrize("size", [1, 2, 8])
def test_every_size(size: int) -> None:
    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        return x + linalg.solve(general(h), cell.weight) + linalg.cholesky(positive(h))

    cell = Images(1, (size, size), {"weight": (size, size)}, step)
    assert_engines_agree(cell, [7, 1, 0])


def test_a_matrix_with_as_many_rows_as_a_small_batch_is_no_batch_of_vectors() -> None:
    cell = Images(3, (3,), {"weight": (3, 3)}, lambda cell, x, h: x + linalg.solve(general(h), cell.weight))
    assert_engines_agree(cell, [7, 1])


@pytest.mark.parametrize("lengths", [[1] * 33, [7], [0]], ids=len)
def test_many_sequences_and_single_precision(lengths: list[int]) -> None:
    cell = Images(1, (4, 4), {"scale": ()}, lambda cell, x, h: x + cell.scale * linalg.inv(general(h)))
    assert_engines_agree(cell, lengths)
    assert_engines_agree(cell.float(), lengths)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_factors_are_those_of_torch(size: int) -> None:
    matrix = torch.randn(20, size, size, dtype=torch.float64)
    matrix[3] = 0  # and one of rank 1
    matrix[4] = matrix[4, :1] * torch.arange(size)[:, None]
    want, found = linalg.lu_factor_ex(matrix), SMALL_MATRICES[aten.linalg_lu_factor_ex.default](matrix)
    regular = [row for row in range(20) if row not in (3, 4)]
    assert torch.equal(found[1][regular], want[1][regular])
    assert found[1].dtype == want[1].dtype
    assert_close(found[0][regular], want[0][regular])
    assert found[0].isfinite().all()


@pytest.mark.parametrize("mode", ["reduced", "complete"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (5, 3), (3, 5), (8, 8)], ids=str)
def test_signs_of_a_qr_are_those_of_torch(shape: tuple[int, int], mode: str) -> None:
    matrix = torch.randn(20, *shape, dtype=torch.float64)
    matrix[3] = 0
    matrix[4] = -torch.eye(*shape, dtype=torch.float64)
    for found, want in zip(SMALL_MATRICES[aten.linalg_qr.default](matrix, mode), linalg.qr(matrix, mode), strict=True):
        assert_close(found, want)


@pytest.mark.parametrize("kind", [linalg.det, linalg.slogdet], ids=["det", "slogdet"])
def test_the_determinant_of_a_transposed_input_has_its_gradient(kind: Any) -> None:
    """What torch factors depends on how a matrix lies in memory, and was asked for when the step was traced."""

    def step(cell: Any, x: Tensor, h: Tensor) -> Tensor:
        found = kind(general((x.mT * 2).sigmoid()))
        return 0.5 * h + cell.scale * spread(found if isinstance(found, Tensor) else found[1])

    assert_engines_agree(Images(1, (3, 3), {"scale": ()}, step), [3, 0, 2])


def test_what_has_no_inverse_gives_no_numbers() -> None:
    cell = Images(1, (2, 2), {"scale": ()}, lambda cell, x, h: x + cell.scale * 0 * linalg.inv(x + 0 * h))
    x = torch.ones(1, 1, 1, 2, 2, dtype=torch.float64)
    assert not recurra.scan(cell, x, engine="compiled")[0].isfinite().any()


def test_an_exponential_that_is_squared_too_often_is_no_number() -> None:
    cell = Images(1, (2, 2), {"scale": ()}, lambda cell, x, h: linalg.matrix_exp(x - x.mT + h).sin())
    x = torch.tensor([[0.0, 1e6], [0.0, 0.0]], dtype=torch.float64).view(1, 1, 1, 2, 2)
    assert recurra.scan(cell, x, engine="compiled")[0].isnan().all()


def test_larger_matrices_say_so() -> None:
    cell = Images(1, (9, 9), {"scale": ()}, lambda cell, x, h: x + cell.scale * linalg.inv(general(h)))
    with pytest.raises(CompileError, match=r"`linalg_inv_ex` has no .*: its matrices have more than 8 rows"):
        recurra.scan(cell, torch.randn(2, 1, 1, 9, 9, dtype=torch.float64), engine="compiled")


def test_a_matrix_is_factored_once_for_both_passes() -> None:
    cell = Images(1, (3, 3), {"scale": ()}, lambda cell, x, h: x + cell.scale * linalg.solve(general(h), x))
    plan = compiled(cell, torch.float64).plan
    assert not plan.before_reverse.nodes
    assert sum("div" in node.name for node in plan.reverse.nodes) < sum(
        "div" in node.name for node in plan.forward.nodes
    )
