"""Copies of rows made by compiled code, so that they have a place in a recorded pass."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.tiling import Tiling
from recurra.engine.loop import Program, Value
from recurra.engine.schedule import schedule
from recurra.engine.trace import BATCH

__all__ = ["Copier"]


class Copier:
    """Copies rows [N, width] of float32 or float64, on one thread."""

    def __init__(self, width: int, dtype: torch.dtype) -> None:
        graph = fx.Graph()
        self._read, self._written = graph.placeholder("x"), graph.placeholder("y")
        for node in (self._read, self._written):
            node.meta["val"] = torch.empty(BATCH, width, dtype=dtype, device="meta")
        x = Value("array", (), width, node=self._read, name="v0")
        y = Value("copy", (x,), width, name="v1")
        program = Program("copy", [x, y], saved={self._written: y})
        self._kernel = LoopKernel(schedule(program), dtype, reverse=False)

    def copy(self, source: Tensor, goal: Tensor) -> None:
        """Write what stands in the rows of `source` into those of `goal`."""
        self._kernel.run_on({self._read: source}, Tiling.of_rows(len(goal), 1), len(goal), {self._written: goal})
