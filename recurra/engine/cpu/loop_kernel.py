"""A compiled loop with its calling convention: a table of addresses, and packed weights."""

from __future__ import annotations

import functools
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from recurra.engine.borders import summed_axes
from recurra.engine.cpu import arena, jit, tape, team
from recurra.engine.cpu.emit import HEADER, emit, sizes_of
from recurra.engine.cpu.jit import Code
from recurra.engine.cpu.matmul import matmul
from recurra.engine.cpu.packing import pack
from recurra.engine.cpu.target import Target, host
from recurra.engine.cpu.tiling import Layout, Tiling
from recurra.engine.once import once
from recurra.engine.rows import from_rows, row_axis, row_shape, to_rows
from recurra.engine.schedule import Schedule

__all__ = ["NO_GOALS", "Goals", "LoopKernel"]

Goals = Mapping[fx.Node, Tensor]  # rows [N, width] for some of what a loop writes; the others are new
NO_GOALS: Goals = {}

_SCRATCH_BYTES = 1 << 19  # scratch of one tile: half of a common second-level cache
_LARGEST_TILE = 64
_SECOND_LEVEL = 1 << 20  # bytes of a common second-level cache

# Threads share products where the loop is to take two thirds of its time by that. Measured in November 2026 on two
# cores of a Zen 5, GRU and LSTM, forward and reverse: 1.3 to 2.9 times as fast with 1, 2, 4, 5 and 6 sequences once the
# weights are beyond the second-level cache, 1.2 to 1.8 times with 1 and 2 sequences before; 8 and more gain next to
# nothing. To meet takes up to 0.4 microseconds there, by where the host runs the cores, and what one of them computed
# comes slowly to the other: with less than a quarter of a MiB of weights a thread that may be a loss. A Zen 4 reads its
# second-level cache half as fast: from a sixteenth of a MiB on, GRU and LSTM gain 1.25 to 1.45 times forward there.
_WORTH_MEETING = 1 << 18
_WORTH_MEETING_ON = {"znver4": 1 << 16}
_WORTH_SHARING = 1.5

# Bytes of a loop's rows that are written past the caches, since they would be gone from there when they are read, and
# drive all else out. Measured in November 2026 on a Zen 5 with 1 MiB of second-level cache a core: training steps of
# GRU, LSTM and LayerNorm LSTM take 1 to 9 % less from there on, and up to 10 % more with a third of it.
_MANY = 1 << 21


# loops that are alike share their machine code; it goes with the last of them, or when many others came after it
_codes: weakref.WeakValueDictionary[tuple[str, str, int, bool, bool, Target], Code] = weakref.WeakValueDictionary()
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
        self.target = target or host()
        self._name = "reverse" if reverse else "forward"
        self.sizes = sizes_of(plan, self.target, 8 * self.itemsize, bf16=self.bf16)

    @once
    def code(self) -> Code:
        """The machine code, from the first time on that it is wanted."""
        return self._compiled(past_caches=False)

    @once
    def code_past_caches(self) -> Code:
        """The same for much that nobody reads soon."""
        return self._compiled(past_caches=True)

    def _compiled(self, *, past_caches: bool) -> Code:
        key = (self.plan.signature, self._name, self.itemsize, self.bf16, past_caches, self.target)
        code = _codes.get(key)
        if code is None:
            team.prepare()
            signature, name, *sizes, target = key
            code = jit.compile_ir(lambda: self._ir(past_caches=past_caches), name, target, signature, name, str(sizes))
            _codes[key] = code
            _recent.append(code)
        return code

    @property
    def ir(self) -> str:
        """The LLVM IR of the code."""
        return self._ir(past_caches=False)

    def _ir(self, *, past_caches: bool) -> str:
        return emit(
            self.plan,
            self.target,
            bits=8 * self.itemsize,
            reverse=self._name == "reverse",
            name=self._name,
            bf16=self.bf16,
            past_caches=past_caches,
        )

    @property
    def assembly(self) -> str:
        """The code as the processor's instructions."""
        return jit.assembly(self.ir, self.target)

    @once
    def _odd_inputs(self) -> list[int]:
        """Which of the few arrays are not rows [N, width] as they come."""
        inputs = self.plan.arrays[: self.plan.num_inputs]
        return [index for index, (node, _) in enumerate(inputs) if row_axis(node) or row_shape(node)[0] != 1]

    @once
    def odd_outputs(self) -> list[fx.Node]:
        """Those that must not stay rows [N, width] of this precision."""
        nodes = [node for node, _ in self.plan.outputs]
        return [
            node
            for node in nodes
            if node.meta["val"].dim() != 2
            or row_axis(node)
            or row_shape(node)[0] != 1
            or node.meta["val"].dtype != self.dtype
        ]

    @once
    def row_limit(self) -> int:
        """Sequences of a tile whose scratch still fits the cache."""
        per_row = sum(self.sizes.strides) * self.itemsize
        return max(self.sizes.row_tile, min(_LARGEST_TILE, _SCRATCH_BYTES // max(1, per_row)))

    def tiling(self, layout: Layout, *, jobs: int = 1) -> Tiling:
        """The tiles of a batch: some for each thread, or all for all threads, which share the products then.

        Args:
            layout: of the batch.
            jobs: how many loops like this one could run at the same time, if their threads do not share.
        """
        sharers = self._sharers(len(layout.lengths), jobs)
        return layout.tiling(sharers if sharers > 1 else team.num_threads(), self.row_limit, sharers)

    def _sharers(self, batch: int, jobs: int) -> int:
        """How many threads share the tiles of so many sequences; 1 where each thread has tiles of its own."""
        threads = team.num_threads()
        worth_it = min(_WORTH_MEETING, _WORTH_MEETING_ON.get(self.target.cpu, _WORTH_MEETING))
        sharers = min(threads, self._weights // worth_it)
        if sharers < 2 or not team.can_meet():
            return 1
        alone = max(self._time(batch // threads), self._time(-(-batch // threads)))
        shared = self._time(batch) * self._share(sharers) * jobs
        return sharers if shared * _WORTH_SHARING <= alone else 1

    @once
    def _weights(self) -> int:
        """Bytes of all matrices."""
        itemsize = 2 if self.bf16 else self.itemsize
        return itemsize * sum(inner * outer for inner, outer, _ in self.sizes.panels)

    def _time(self, rows: int) -> int:
        """About how long the products of so many sequences take, as multiply-adds of so many rows.

        The weights are read anew for each register tile of rows, and that takes as long as the multiply-adds of a few.
        """
        reading = 4 if self._weights > _SECOND_LEVEL else 2
        tiles = max(1, -(-rows // self.sizes.row_tile))
        size, larger = divmod(rows, tiles)  # as `Writer.in_pieces` cuts them
        return larger * max(size + 1, reading) + (tiles - larger) * max(size, reading)

    def _share(self, sharers: int) -> float:
        """The part of all panels that the first of the sharers has."""
        panels = [(inner * columns, -(-outer // columns)) for inner, outer, columns in self.sizes.panels]
        return sum(size * -(-count // sharers) for size, count in panels) / sum(size * count for size, count in panels)

    def run_on(
        self,
        values: dict[fx.Node, Tensor],
        tiling: Tiling,
        num_rows: int,
        goals: Goals = NO_GOALS,
    ) -> None:
        """As `in_turns`, of a pass over rows that know nothing of each other, now."""
        team.together([self.in_turns(values, tiling, (), num_rows, goals)])

    def in_turns(
        self,
        values: dict[fx.Node, Tensor],
        tiling: Tiling,
        state: Sequence[Tensor],
        num_rows: int,
        goals: Goals = NO_GOALS,
    ) -> team.Turns[tuple[Tensor, ...]]:
        """Read what the loop reads from `values`, add what it writes; gives the state after the last steps.

        For `team.together`.
        """
        plan = self.plan
        arrays = [values[node] for node, _ in plan.arrays[: plan.num_inputs]]
        for index in self._odd_inputs:
            arrays[index] = to_rows(arrays[index], plan.arrays[index][0], num_rows)
        vectors = [values[node] for node in plan.vectors]
        matrices = [values[node] for node in plan.matrices]
        written, after = yield from self.run(tiling, arrays, vectors, matrices, state, num_rows, goals)
        for (node, _), array in zip((*plan.outputs, *plan.totals), written, strict=True):
            values[node] = array
        for node, _ in plan.totals:
            values[node] = _as_sum(node, values[node])
        for node in (each for each in self.odd_outputs if each not in goals):
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
        goals: Goals = NO_GOALS,
    ) -> team.Turns[tuple[list[Tensor], list[Tensor]]]:
        """Run the loop over all tiles, for `team.together`.

        Shapes: arrays [N, ...] and states [B, ...] of the widths that the schedule lists -> written arrays [N, width],
            new where there is no goal, and sums over all rows [width], states after the last step [B, ...].
        """
        plan, sizes, dtype = self.plan, self.sizes, self.dtype
        read = [_plain(tensor, dtype) for tensor in (*arrays, *vectors)]
        outputs = [
            goals[node] if node in goals else arena.empty((num_rows, width), dtype) for node, width in plan.outputs
        ]
        packed = pack(matrices, sizes.panels, dtype, self.target, bf16=self.bf16)
        before = [_plain(state, dtype) for state in states]
        after = [arena.empty(state.shape, dtype) for state in before]
        sharers = tiling.sharers
        threads = sharers if sharers > 1 else max(1, min(team.num_threads(), len(tiling.tiles)))
        scratch_rows = tiling.rows + sizes.row_tile
        scratch = arena.empty((threads * sizes.scratch(scratch_rows),), dtype)
        parts = arena.empty((2 * len(tiling.tiles) * sharers, sizes.total), dtype)
        header: dict[str, int | Tensor] = {
            **tiling.header,
            "totals": parts,
            "num_threads": threads,
            "scratch": scratch,
            "scratch_rows": scratch_rows,
            "meeting": 0,
            "sleepers": 0,
        }
        tensors = [*read[: len(arrays)], *outputs, *read[len(arrays) :], *packed, *before, *after]
        words = [*[header[name] for name in HEADER], *tensors]
        bytes_ = sum(outputs[index - plan.num_inputs].nbytes for index in plan.streamed)
        yield team.Job(self.code_past_caches if bytes_ >= _MANY else self.code, words, threads, owners=tiling)
        for start, (_, width) in zip(sizes.totals, plan.totals, strict=True):
            ones = tape.constant(_ones(len(parts), dtype))
            outputs.append(matmul(ones, parts[:, start : start + width]).view(width))
        return outputs, after


@functools.cache
def _ones(count: int, dtype: torch.dtype) -> Tensor:
    """One row."""
    return torch.ones(1, count, dtype=dtype, device="cpu")


def _as_sum(node: fx.Node, columns: Tensor) -> Tensor:
    """What a sum over the batch gives, from the sum of the rows [width]."""
    shape = node.meta["val"].shape
    if columns.shape == shape:
        return columns
    source: Any = node.args[0]
    rows = columns.view(row_shape(source))
    # where nothing is left to add up, torch is not asked to: what it computes has no place in a recorded pass
    axes = [axis for axis in summed_axes(node) if rows.shape[axis] > 1]
    return (rows.sum(axes) if axes else rows).reshape(shape)


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor itself where machine code can read it, as it almost always can."""
    return tensor if tensor.dtype is dtype and tensor.is_contiguous() else tensor.to(dtype).contiguous()
