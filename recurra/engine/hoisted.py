"""A step in two halves, run as two: what depends on the input alone for many steps at once, the rest step by step.

The compiled engine finds what is best done where in the graph of a step by itself. For where it cannot run, on other
devices and under `torch.export`, a cell names its halves and has large calls of torch in place of many small ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recurra.engine import reference
from recurra.engine.block import AnyBatch
from recurra.engine.contract import Cell
from recurra.ragged import Ragged

__all__ = ["HoistedKernel"]

# flops of a step from which torch's threads, all at one image, beat a compiled step, one thread an image: measured in
# November 2026 on two cores of a Zen 5, one video: 1.5e8 as fast, 2.4e9 a third faster
_LARGE_STEP = 200_000_000


@dataclass(frozen=True)
class HoistedKernel:
    """Runs a cell for which `step(x, state)` is `rest(before(x), state)`.

    Args:
        cell: the cell.
        before: what is computed from the input alone, [N, *input_shape] -> [N, ...], for any number of rows.
        rest: one time step from there.
        max_rows: rows of one call of `before`, but for a step that has more.
        flops: of one step of one sequence.
    """

    cell: Cell
    before: Callable[[Tensor], Tensor]
    rest: Callable[[Tensor, Any], tuple[Tensor, Any]]
    max_rows: int
    flops: int

    def supports(self, values: Tensor) -> bool:
        """Always: it calls what `step` would call."""
        return True

    def is_fast(self, x: AnyBatch) -> bool:
        """Where sequences are too few for the threads, and one step is so large that torch has work for all of them."""
        return x.batch_size < torch.get_num_threads() and self.flops >= _LARGE_STEP

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
