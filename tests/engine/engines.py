"""One cell through two engines, and the largest difference of anything that comes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import recurra
from recurra import Ragged
from tests.tolerance import RELATIVE


def results(
    cell: Any, x: Ragged, state: Any, engine: str, *, seed: int = 0, block: bool = False, **options: Any
) -> dict[str, Tensor]:
    """Outputs, final state and the gradients of x, state and every parameter, by name; `block` hands sequences of one
    length in as [T, B, ...]."""
    values = x.values.detach().clone().requires_grad_()
    begin = cell.State(*(field.detach().clone().requires_grad_() for field in state))
    torch.manual_seed(seed)  # a step may draw
    given = values.unflatten(0, (len(x), -1)).transpose(0, 1) if block else Ragged(values, x.offsets, x.resets)
    y, after = recurra.scan(cell, given, begin, engine=engine, **options)
    y = y if block else y.values
    draw = torch.Generator().manual_seed(1)
    loss: Any = 0
    for part in map(_reals, (y, *after)):
        loss = loss + (part * torch.rand(part.shape, generator=draw, dtype=part.dtype).to(part.device)).sum()
    wanted = {"x": values, **dict(zip(cell.State._fields, begin, strict=True)), **dict(cell.named_parameters())}
    wanted = {name: tensor for name, tensor in wanted.items() if tensor.requires_grad}
    gradients = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True)
    found = {"y": y, **{f"{name} after": new for name, new in zip(cell.State._fields, after, strict=True)}}
    for (name, tensor), gradient in zip(wanted.items(), gradients, strict=True):
        # no gradient and a gradient of zeros say the same
        found[f"d {name}"] = torch.zeros_like(tensor) if gradient is None else gradient
    return {name: tensor.detach() for name, tensor in found.items()}


def _reals(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def assert_engines_agree(
    cell: Any, lengths: Sequence[int], *, state: Any = None, resets: Tensor | None = None, **options: Any
) -> None:
    """The compiled engine against the reference, relative to the largest number of each result."""
    kinds = [p.dtype for p in cell.parameters()] or [torch.float64]
    dtype = next((kind for kind in kinds if not kind.is_complex), kinds[0])
    draw = torch.Generator().manual_seed(3)
    steps = [torch.randn(length, *cell.input_shape, generator=draw, dtype=dtype) for length in lengths]
    x = (
        Ragged.from_list(steps)
        if steps
        else Ragged(torch.zeros(0, *cell.input_shape, dtype=dtype), torch.zeros(1).long())
    )
    x = Ragged(x.values, x.offsets, resets)
    if state is None:
        zeros = cell.initial_state(len(lengths), dtype=dtype)
        state = cell.State(*(torch.randn(field.shape, generator=draw, dtype=field.dtype) for field in zeros))
    expected = results(cell, x, state, "reference", **options)
    actual = results(cell, x, state, "compiled", **options)
    for name, want in expected.items():
        got = actual[name]
        assert got.shape == want.shape, name
        assert got.dtype == want.dtype, name
        largest = max(1.0, float(want.abs().max())) if want.numel() else 1.0
        error = float((got - want).abs().max()) / largest if want.numel() else 0.0
        assert error <= RELATIVE[dtype.to_real()], f"{name} is off by {error:.1e}"
