"""A step in two halves, run as two: what depends on the input alone for many steps at once, the rest step by step.

The compiled engine finds what is best done where in the graph of a step by itself. For where it cannot run, on other
devices and under `torch.compile`, a cell names its halves and has large calls of torch in place of many small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from recurra.engine import reference
from recurra.engine.contract import Cell
from recurra.ragged import Ragged

__all__ = ["HoistedKernel"]


@dataclass(frozen=True)
class HoistedKernel:
    """Runs a cell for which `step(x, state)` is `rest(before(x), state)`.

    Args:
        cell: the cell.
        before: what is computed from the input alone, [N, *input_shape] -> [N, ...], for any number of rows.
        rest: one time step from there.
        max_rows: rows of one call of `before`, but for a step that has more.
    """

    cell: Cell
    before: Callable[[Tensor], Tensor]
    rest: Callable[[Tensor, Any], tuple[Tensor, Any]]
    max_rows: int

    def supports(self, values: Tensor) -> bool:
        """Always: it calls what `step` would call."""
        return True

    def is_fast(self, x: Ragged) -> bool:
        """Never, where the step can be compiled."""
        return False

    def run(self, x: Ragged, state: Any) -> tuple[Tensor, Any]:
        """Run every sequence from its first step to its last.

        Shapes: x.values [N, *input_shape] without resets, fields of state [B, ...] -> outputs [N, *output_shape], state
            after the last steps.
        """
        return reference.run(reference.WithStep(self.cell, self.rest), x, state, self._read)

    def _read(self, values: Tensor, running: list[int]) -> Iterator[Tensor]:
        blocks = list(_blocks(running, self.max_rows))
        for rows, counts in zip(values.split([sum(counts) for counts in blocks]), blocks, strict=True):
            yield from self.before(rows).split(counts)


def _blocks(running: list[int], max_rows: int) -> Iterator[list[int]]:
    """Steps that are done together: the rows of each, at most `max_rows` in sum where they are more than one step."""
    block: list[int] = []
    for count in running:
        if block and sum(block) + count > max_rows:
            yield block
            block = []
        block.append(count)
    if block:
        yield block
