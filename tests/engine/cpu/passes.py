"""What the tests of recorded passes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import recurra
from recurra import Ragged
from recurra.engine.compiled import compiled
from recurra.engine.cpu.programs import _Seen
from recurra.engine.cpu.tiling import Layout


def numbers(cell: recurra.Cell, x: Any, state: Any, engine: str) -> list[Tensor]:
    """Outputs, the last state, and the gradients of inputs, state and parameters."""
    values = x.values if isinstance(x, Ragged) else x
    leaf = values.clone().requires_grad_()
    fields = [field.clone().requires_grad_() for field in state]
    y, after = recurra.scan(
        cell, x.replace(leaf) if isinstance(x, Ragged) else leaf, type(state)(*fields), engine=engine
    )
    y = y.values if isinstance(y, Ragged) else y
    loss = y.square().sum() + sum((field * field.cos()).sum() for field in after)
    return [y, *after, *torch.autograd.grad(loss, [leaf, *fields, *cell.parameters()])]


def as_turns(run: Callable[[Any], Any]) -> Any:
    """A pass that hands out no job."""

    def turns(layout: Layout, given: Any) -> Any:
        yield from ()
        return run(given)

    return turns


def programs(cell: recurra.Cell) -> list[Any]:
    """All that is known of the passes of a cell in double precision: programs, and None for what has none."""
    passes = compiled(cell, torch.float64)._programs.values()
    known = [found for each in passes for of_layout in each._known.values() for found in of_layout.values()]
    known += [found for each in passes for found in each._elastic.values()]
    return [found for found in known if not isinstance(found, _Seen)]
