"""The gradients of a compiled scan through the Python loop: slow, but they can be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recurra.engine import reference
from recurra.engine.complex_numbers import planes
from recurra.engine.contract import Cell
from recurra.engine.trace import Stepper, with_plain_weights
from recurra.errors import CompileError

if TYPE_CHECKING:
    from recurra.engine.cell_code import Compiled
    from recurra.engine.cpu.tiling import Layout

__all__ = ["by_reference"]


def by_reference(
    cell: Cell,
    code: Compiled,
    layout: Layout,
    tensors: Sequence[Tensor],
    d_outputs: tuple[Tensor, ...],
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradients of a scan's tensors through the Python loop, so that they can be differentiated again.

    Args:
        cell, code, layout: of the scan.
        tensors: as `Compiled.forward` takes them.
        d_outputs: gradients of the outputs and of the state after the last steps.
        needed: which of the tensors want one.
    """
    if code.draws:
        raise CompileError(
            f"The compiled engine has no gradient of the gradient of `{type(cell).__name__}`, whose step draws "
            "random numbers: use engine='reference'."
        )
    count = len(code.constants)
    wanted = [i for i, is_needed in enumerate(needed) if is_needed]
    with torch.enable_grad():
        view = [tensor.view_as(tensor) if i in wanted else tensor for i, tensor in enumerate(tensors)]
        x = layout.to_ragged(view[count])
        whole = code.complexes.whole([*view[:count], x.values, *view[count + 1 :]])
        weights = dict(zip(code.constants, whole, strict=False))
        # to set a parametrized weight would write into what it is made of
        step = Stepper(with_plain_weights(cell))
        twin = reference.WithStep(cell, lambda x, state: step(weights, x, state))
        output, after = reference.run(twin, x.replace(whole[count]), cell.State(*whole[count + 1 :]))
        # a state that a step hands on, or makes of nothing, may have no gradient
        ends = (layout.from_ragged(planes(output, 1)), *(planes(field, 1) for field in after))
        pairs = zip(ends, d_outputs, strict=True)
        learned = [(result, d_result) for result, d_result in pairs if result.requires_grad]
        results, d_results = [result for result, _ in learned], [d_result for _, d_result in learned]
        inputs = [view[i] for i in wanted]
        found = torch.autograd.grad(results, inputs, d_results, create_graph=True, allow_unused=True)
    gradients: list[Tensor | None] = [None] * len(tensors)
    for i, gradient in zip(wanted, found, strict=True):
        gradients[i] = gradient
    return gradients
