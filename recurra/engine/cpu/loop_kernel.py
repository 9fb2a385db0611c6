"""A compiled loop with its calling convention: a table of addresses, and packed weights."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor, fx

from recurra.engine.cpu import arena, cache, jit, team
from recurra.engine.cpu.emit import HEADER, emit, layout_of
from recurra.engine.cpu.jit import Code
from recurra.engine.cpu.packing import pack
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.tiling import Tiling
from recurra.engine.rows import from_rows, row_axis, row_shape, to_rows
from recurra.engine.schedule import Schedule

__all__ = ["LoopKernel"]

_SCRATCH_BYTES = 1 << 19  # scratch of one tile: half of a common second-level cache
_LARGEST_TILE = 64


# loops that are alike share their machine code; it goes with the last of them, or when many others came after it
_codes: weakref.WeakValueDictionary[tuple[str, str, int, bool, Target], Code] = weakref.WeakValueDictionary()
_recent: deque[Code] = deque(maxlen=64)


class LoopKernel:
    """Machine code for one loop body in one precision, for this machine where no other target is named.

    With `bf16` the factors of its products with matrices are rounded to bfloat16, and summed up in float32.
    """

    def __init__(
        self, plan: Schedule, dtype: torch.dtype, *, reverse: bool, bf16: bool = False, target: Target | None = None
    ) -> None:
        self.plan, self.bf16 = plan, bf16 and bool(plan.matrices)
        self.dtype = dtype
        self.itemsize = torch.empty(0, dtype=dtype).element_size()
        self._target = target or host()
        self._name = "reverse" if reverse else "forward"
        self.layout = layout_of(plan, self._target, 8 * self.itemsize, bf16=self.bf16)
        self.code = self._compile()

    def _compile(self) -> Code:
        key = (self.plan.signature, self._name, self.itemsize, self.bf16, self._target)
        code = _codes.get(key)
        if code is None:
            team.prepare()
            signature, name, itemsize, bf16, target = key
            code = jit.compile_ir(
                lambda: self.ir, name, target, cache.compiler(), signature, name, f"{itemsize} {bf16}"
            )
            _codes[key] = code
            _recent.append(code)
        return code

    @property
    def ir(self) -> str:
        """The LLVM IR of the code."""
        reverse = self._name == "reverse"
        return emit(self.plan, self._target, bits=8 * self.itemsize, reverse=reverse, name=self._name, bf16=self.bf16)

    @property
    def assembly(self) -> str:
        """The code as the processor's instructions."""
        return jit.assembly(self.ir, self._target)

    @functools.cached_property
    def _odd_inputs(self) -> list[int]:
        """Which of the few arrays are not rows [N, width] as they come."""
        inputs = self.plan.arrays[: self.plan.num_inputs]
        return [index for index, (node, _) in enumerate(inputs) if row_axis(node) or row_shape(node)[0] != 1]

    @functools.cached_property
    def _odd_outputs(self) -> list[fx.Node]:
        """Those that must not stay rows [N, width] of this precision."""
        nodes = [node for node, _ in self.plan.outputs]
        return [
            node
            for node in nodes
            if node.meta["val"].dim() != 2 or row_shape(node)[0] != 1 or node.meta["val"].dtype != self.dtype
        ]

    @functools.cached_property
    def row_limit(self) -> int:
        """Sequences of a tile whose scratch still fits the cache."""
        per_row = sum(self.layout.strides) * self.itemsize
        return max(self.layout.row_tile, min(_LARGEST_TILE, _SCRATCH_BYTES // max(1, per_row)))

    def run_on(
        self, values: dict[fx.Node, Tensor], tiling: Tiling, state: Sequence[Tensor], num_rows: int
    ) -> tuple[Tensor, ...]:
        """Read what the loop reads from `values`, add what it writes; returns the state after the last steps."""
        (after,) = team.together([self.in_turns(values, tiling, state, num_rows)])
        return after

    def in_turns(
        self, values: dict[fx.Node, Tensor], tiling: Tiling, state: Sequence[Tensor], num_rows: int
    ) -> team.Turns[tuple[Tensor, ...]]:
        """As `run_on`, for `team.together`."""
        plan = self.plan
        arrays = [values[node] for node, _ in plan.arrays[: plan.num_inputs]]
        for index in self._odd_inputs:
            arrays[index] = to_rows(arrays[index], plan.arrays[index][0], num_rows)
        vectors = [values[node] for node in plan.vectors]
        matrices = [values[node] for node in plan.matrices]
        written, after = yield from self.run(tiling, arrays, vectors, matrices, state, num_rows)
        for (node, _), array in zip(plan.outputs, written, strict=True):
            values[node] = array
        for node in self._odd_outputs:
            values[node] = from_rows(values[node], node, num_rows).to(node.meta["val"].dtype)
        return tuple(after)

    def run(
        self,
        tiling: Tiling,
        arrays: Sequence[Tensor],
        vectors: Sequence[Tensor],
        matrices: Sequence[Tensor],
        states: Sequence[Tensor],
        num_rows: int,
    ) -> team.Turns[tuple[list[Tensor], list[Tensor]]]:
        """Run the loop over all tiles, for `team.together`.

        Shapes: arrays [N, ...] and states [B, ...] of the widths that the schedule lists -> written arrays [N, width],
            states after the last step [B, ...].
        """
        plan, layout, dtype = self.plan, self.layout, self.dtype
        read = [_plain(tensor, dtype) for tensor in (*arrays, *vectors)]
        outputs = [arena.empty(num_rows, width, dtype) for _, width in plan.outputs]
        packed = pack(matrices, layout.panels, dtype, bf16=self.bf16)
        before = [_plain(state, dtype) for state in states]
        after = [torch.empty_like(state) for state in before]
        threads = max(1, min(team.num_threads(), len(tiling.tiles)))
        scratch_rows = tiling.rows + layout.row_tile
        scratch = torch.empty(threads * layout.scratch(scratch_rows), dtype=dtype)
        header = {
            **tiling.header,
            "num_threads": threads,
            "scratch": scratch.data_ptr(),
            "scratch_rows": scratch_rows,
        }
        tensors = [*read[: len(arrays)], *outputs, *read[len(arrays) :], *packed, *before, *after]
        words = [*(header[name] for name in HEADER), *(tensor.data_ptr() for tensor in tensors)]
        table = (ctypes.c_int64 * len(words))(*words)
        yield team.Job(self.code, ctypes.addressof(table), threads)
        return outputs, after


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor itself where machine code can read it, as it almost always can."""
    return tensor if tensor.dtype is dtype and tensor.is_contiguous() else tensor.to(dtype).contiguous()
