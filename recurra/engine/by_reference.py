"""The gradients of a compiled scan through the Python loop: slow, but they can be differentiated again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from recurra.engine import reference
from recurra.engine.contract import Cell
from recurra.errors import CompileError

if TYPE_CHECKING:
    from recurra.engine.compiled import Compiled

__all__ = ["by_reference"]


def by_reference(ctx: Any, code: Compiled, tensors: Any, d_outputs: tuple[Tensor, ...]) -> list[Tensor | None]:
    """The same gradients through the Python loop, so that they can be differentiated again."""
    if code.draws:
        raise CompileError(
            f"The compiled engine has no gradient of the gradient of `{type(ctx.cell).__name__}`, whose step draws "
            "random numbers: use engine='reference'."
        )
    count = len(code.constants)
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[4:]) if needed]
    with torch.enable_grad():
        view = [tensor.view_as(tensor) if i in wanted else tensor for i, tensor in enumerate(tensors)]
        cell = _Substituted(ctx.cell, dict(zip(code.constants, view, strict=False)))
        x = ctx.layout.to_ragged(view[count])
        output, after = reference.run(cell, x, cell.State(*view[count + 1 :]))
        results, inputs = (ctx.layout.from_ragged(output), *after), [view[i] for i in wanted]
        found = torch.autograd.grad(results, inputs, d_outputs, create_graph=True, allow_unused=True)
    gradients: list[Tensor | None] = [None] * len(tensors)
    for i, gradient in zip(wanted, found, strict=True):
        gradients[i] = gradient
    return gradients


@dataclass
class _Substituted:
    """A cell with other tensors in place of its parameters, as far as the reference engine must know it."""

    cell: Cell
    weights: dict[str, Tensor]

    @property
    def State(self) -> Any:
        return self.cell.State

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.cell.output_shape

    def step(self, x: Tensor, state: Any) -> Any:
        return torch.func.functional_call(self.cell, self.weights, (x, state))
