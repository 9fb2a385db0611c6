"""The door for ready kernels: what an engine other than the reference must offer.

A cell whose step is computed exactly by a kernel that exists already (torch's fused LSTM) returns one of these from
`Cell.kernel()`. The engine learns weights and sizes from it and never the cell's name.
"""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from recurra.engine.block import AnyBatch
from recurra.ragged import Ragged

__all__ = ["Kernel"]


class Kernel(Protocol):
    """Runs a whole batch of sequences forward in time, exactly as the reference engine would.

    One with an attribute `takes_blocks` that is true is handed a `Block` in place of a Ragged where all sequences of
    padded inputs are of one length; its outputs stand in the rows of what it was handed.
    """

    def supports(self, values: Tensor) -> bool:
        """Whether inputs of this type and on this device can be run."""
        ...

    def is_fast(self, x: AnyBatch) -> bool:
        """Whether it is the fastest way to run so many steps of sequences; if not, the compiled engine is asked first.

        Asked at every call, and before `supports`.
        """
        ...

    def run(self, x: Ragged, state: Any) -> tuple[Tensor, Any]:
        """Run every sequence from its first step to its last.

        Shapes: x.values [N, *input_shape] without resets, fields of state [B, ...] -> outputs [N, *output_shape], state
            after the last steps.
        """
        ...
