"""A compiled loop with its calling convention: tables of addresses, tiles of sequences, packed weights."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx
from torch.nn import functional as F

from recurra.engine.cpu import arena, team
from recurra.engine.cpu.emit import HEADER, TILE_WORDS, emit
from recurra.engine.cpu.jit import Code, compile_ir
from recurra.engine.cpu.target import Target, host
from recurra.engine.rows import from_rows, to_rows
from recurra.engine.schedule import Schedule
from recurra.ragged import Ragged

__all__ = ["LoopKernel", "Tiling", "pack"]

_SCRATCH_BYTES = 1 << 19  # scratch of one tile: half of a common second-level cache
_LARGEST_TILE = 64


# loops that are alike share their machine code; it goes with the last of them, or when many others came after it
_codes: weakref.WeakValueDictionary[tuple[str, Target], Code] = weakref.WeakValueDictionary()
_recent: deque[Code] = deque(maxlen=64)


def _compile(text: str, name: str, target: Target) -> Code:
    code = _codes.get((text, target))
    if code is None:
        team.prepare()
        code = _codes[text, target] = compile_ir(text, name, target)
        _recent.append(code)
    return code


@dataclass(frozen=True)
class Tiling:
    """Which sequences a tile holds, and how many of them run at each step.

    Attributes:
        order: int64 [B], the sequences in the order of the tiles; falling length within a tile.
        rows: sequences of the largest tile.
        tiles: int64 [tiles * 4]: first sequence, sequences, steps, begin of the counts.
        active: int64, for each tile and step how many of its sequences run.
        row_base: int64 [B], the first row of each sequence in that order.
    """

    order: Tensor
    rows: int
    tiles: np.ndarray
    active: np.ndarray
    row_base: np.ndarray

    @classmethod
    def of(cls, x: Ragged, threads: int, limit: int) -> Tiling:
        """Deal sequences of like length to the threads."""
        lengths = x.lengths.numpy()
        batch = len(lengths)
        rows = max(1, min(limit, -(-batch // threads)))
        sorted_ = np.argsort(-lengths, kind="stable")
        order: list[np.ndarray] = []
        tiles: list[int] = []
        counts: list[np.ndarray] = []
        first = at = 0
        for start in range(0, batch, rows * threads):
            round_ = sorted_[start : start + rows * threads]
            for thread in range(threads):
                mine = round_[thread::threads]
                if not len(mine):
                    continue
                steps = int(lengths[mine[0]])
                # sequences are in falling order: the count at step t is how many are longer than t
                count = len(mine) - np.searchsorted(lengths[mine][::-1], np.arange(steps), side="right")
                tiles += [first, len(mine), steps, at]
                order.append(mine)
                counts.append(count)
                first += len(mine)
                at += steps
        flat = np.concatenate(order) if order else np.zeros(0, np.int64)
        active = np.concatenate(counts).astype(np.int64) if counts else np.zeros(0, np.int64)
        return cls(
            torch.from_numpy(flat.astype(np.int64)),
            rows,
            np.array(tiles, np.int64),
            active,
            x.offsets.numpy()[:-1][flat] if batch else np.zeros(0, np.int64),
        )

    @classmethod
    def of_rows(cls, count: int, threads: int) -> Tiling:
        """Rows that know nothing of each other, in one stretch for each thread."""
        edges = np.linspace(0, count, threads + 1).astype(np.int64)
        starts, sizes = edges[:-1], np.diff(edges)
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
        tiles = [word for index, size in enumerate(sizes) for word in (index, 1, int(size), 0)]
        active = np.ones(int(sizes.max(initial=0)), np.int64)
        return cls(torch.arange(len(starts)), 1, np.array(tiles, np.int64), active, np.ascontiguousarray(starts))


class LoopKernel:
    """Machine code for one loop body in one precision, for this machine where no other target is named."""

    def __init__(self, plan: Schedule, dtype: torch.dtype, *, reverse: bool, target: Target | None = None) -> None:
        target = target or host()
        self.plan = plan
        self.dtype = dtype
        self.itemsize = torch.empty(0, dtype=dtype).element_size()
        name = "reverse" if reverse else "forward"
        self.ir, self.layout = emit(plan, target, bits=8 * self.itemsize, reverse=reverse, name=name)
        self.code = _compile(self.ir, name, target)

    @property
    def row_limit(self) -> int:
        """Sequences of a tile whose scratch still fits the cache."""
        per_row = sum(self.layout.strides) * self.itemsize
        return max(self.layout.row_tile, min(_LARGEST_TILE, _SCRATCH_BYTES // max(1, per_row)))

    def run_on(
        self, values: dict[fx.Node, Tensor], tiling: Tiling, state: Sequence[Tensor], num_rows: int
    ) -> tuple[Tensor, ...]:
        """Read what the loop reads from `values`, add what it writes; returns the state after the last steps."""
        plan = self.plan
        arrays = [to_rows(values[node], node, num_rows) for node, _ in plan.arrays[: plan.num_inputs]]
        vectors = [values[node].reshape(-1) for node in plan.vectors]
        matrices = [values[node] for node in plan.matrices]
        flat = [field.reshape(len(field), math.prod(field.shape[1:])).to(self.dtype) for field in state]
        written, after = self.run(tiling, arrays, vectors, matrices, flat, num_rows)
        for (node, _), array in zip(plan.outputs, written, strict=True):
            example = node.meta["val"]
            array = from_rows(array, node, num_rows)
            values[node] = array if example.dtype == array.dtype else array.to(example.dtype)
        return tuple(new.reshape(old.shape) for new, old in zip(after, state, strict=True))

    def run(
        self,
        tiling: Tiling,
        arrays: Sequence[Tensor],
        vectors: Sequence[Tensor],
        matrices: Sequence[Tensor],
        states: Sequence[Tensor],
        num_rows: int,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run the loop over all tiles.

        Shapes: arrays [N, width] and states [B, width] as the schedule lists them -> written arrays [N, width],
            states after the last step [B, width].
        """
        plan, layout = self.plan, self.layout
        inputs = [array.to(self.dtype).contiguous() for array in arrays]
        outputs = [arena.empty(num_rows, width, self.dtype) for _, width in plan.outputs]
        flat = [vector.to(self.dtype).contiguous() for vector in vectors]
        packed = [pack(matrix, *layout.panels[index]) for index, matrix in enumerate(matrices)]
        before = [state.index_select(0, tiling.order) for state in states]
        after = [torch.empty_like(state) for state in before]
        threads = max(1, min(team.num_threads(), len(tiling.tiles) // TILE_WORDS))
        scratch_rows = tiling.rows + layout.row_tile
        scratch = torch.empty(threads * layout.scratch(scratch_rows), dtype=self.dtype)
        header = {
            "num_threads": threads,
            "num_tiles": len(tiling.tiles) // TILE_WORDS,
            "tiles": tiling.tiles.ctypes.data,
            "active": tiling.active.ctypes.data,
            "row_base": tiling.row_base.ctypes.data,
            "row_stride": 1,
            "scratch": scratch.data_ptr(),
            "scratch_rows": scratch_rows,
        }
        tensors = [*inputs, *outputs, *flat, *packed, *before, *after]
        table = np.array([header[name] for name in HEADER] + [tensor.data_ptr() for tensor in tensors], np.int64)
        team.run(self.code, table.ctypes.data, threads)
        back = torch.empty_like(tiling.order)
        back[tiling.order] = torch.arange(len(back))
        return outputs, [state.index_select(0, back) for state in after]


def pack(matrix: Tensor, inner: int, outer: int, panel: int) -> Tensor:
    """[inner, outer] as panels [outer / panel, inner, panel], the last one filled up with zeros."""
    panels = -(-outer // panel)
    if panels * panel != outer:
        matrix = F.pad(matrix, (0, panels * panel - outer))
    return matrix.unflatten(1, (panels, panel)).transpose(0, 1).contiguous()
