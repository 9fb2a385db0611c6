"""What is kept for the backward pass: one tensor that holds the rows of several values.

One is sooner made, kept and given back than ten. Products have tensors of their own, and so has the output, which goes
to the user.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, fx

from recurra.engine.cpu import arena
from recurra.engine.cpu.loop_kernel import LoopKernel
from recurra.engine.cpu.tiling import room

__all__ = ["Kept"]


class Kept:
    """The values that stand together.

    Args:
        wanted: what is to be kept.
        kernels: that compute some of it.
        numbers: truth values among it that may stay the numbers that a kernel writes.
        dtype: of the kernels.

    Attributes:
        nodes: the values, in their order in the tensor.
    """

    def __init__(
        self,
        wanted: Collection[fx.Node],
        kernels: Sequence[LoopKernel],
        numbers: Collection[fx.Node],
        dtype: torch.dtype,
    ) -> None:
        odd = {node for kernel in kernels for node in kernel.odd_outputs if node not in numbers}
        written = [each for kernel in kernels for each in kernel.plan.outputs]
        self._widths = {node: width for node, width in written if node in wanted and node not in odd}
        self.nodes, self._dtype = tuple(self._widths), dtype

    def size(self, num_rows: int) -> int:
        """Numbers of a tensor for so many rows of each; `num_rows` may be a symbol."""
        return sum(room(num_rows) * width for width in self._widths.values())

    def new(self, num_rows: int) -> Tensor:
        """A tensor for so many rows of each."""
        return arena.empty((self.size(num_rows),), self._dtype)

    def rows(self, tensor: Tensor, num_rows: int) -> dict[fx.Node, Tensor]:
        """The rows [N, width] of each in the tensor."""
        rows, start = {}, 0
        for node, width in self._widths.items():
            rows[node] = tensor[start : start + num_rows * width].view(num_rows, width)
            start += room(num_rows) * width
        return rows
