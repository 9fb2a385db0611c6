"""Clipping of the gradient inside backpropagation through time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.cells.wrapper import Wrapper, step_reading
from recurra.checks import check_number
from recurra.engine.contract import Cell, Source, kernel_of
from recurra.engine.kernel import Kernel

__all__ = ["ClipStateGradient"]


class ClipStateGradient(Wrapper):
    """Keep the gradient that flows back from step to step within ±limit, number by number.

    Forward the step is that of the cell inside. Backward, the gradient of every field of the state is clamped each time
    it passes from a step to the one before it, so that it cannot explode on its way, of a complex number both parts;
    the gradient of the outputs and of the inputs is not touched.

    Args:
        cell: any cell.
        limit: the largest absolute value of a number of the gradient, above 0.

    Raises:
        ConfigError: the limit is not above 0.

    Source: Graves 2013, arXiv:1308.0850, which clips the derivatives of the loss inside the LSTM in this way.
    """

    source = Source(
        key="graves2013generating",
        authors="Graves, Alex",
        title="Generating Sequences With Recurrent Neural Networks",
        year=2013,
        venue="arXiv",
        url="https://arxiv.org/abs/1308.0850",
    )

    def __init__(self, cell: Cell, limit: float) -> None:
        super().__init__(cell)
        self.limit = check_number("limit", limit, above=0)

    def step(self, x: Tensor, state: Any, read: Any = None) -> tuple[Tensor, Any]:
        """One step of the cell inside, behind a clamp of the gradient of its state."""
        return step_reading(self.cell, x, self._guard(state), None if read is None else self._guard(read))

    def _guard(self, state: Any) -> Any:
        return type(state)(*(_ClampGradient.apply(field, self.limit) for field in state))

    def kernel(self) -> Kernel | None:
        """That of the cell inside while no gradient is recorded."""
        return None if torch.is_grad_enabled() else kernel_of(self.cell)


class _ClampGradient(torch.autograd.Function):
    """Identity forward, clamp backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, limit: float) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.limit = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        parts = torch.view_as_real(grad.resolve_conj()) if grad.is_complex() else grad
        clamped = parts.clamp(-ctx.limit, ctx.limit)
        return torch.view_as_complex(clamped) if grad.is_complex() else clamped, None
