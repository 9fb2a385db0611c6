"""Where the steps of sequences stand in memory, and how sequences are dealt out to threads in tiles."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from recurra.engine.block import AnyBatch, Block, Packed, Reversed, is_batch_first
from recurra.ragged import Ragged, put_rows, take_rows

__all__ = ["LINE", "NO_ROWS", "Layout", "Tiling", "room"]

LINE = 64  # bytes of a line of memory and of the longest vector: where rows begin, no vector lies across two lines
NO_ROWS = torch.zeros(1, dtype=torch.int64, device="cpu")  # for `step_rows`, where strides say all
_NONE, _TWO_ZEROS = np.zeros(0, np.int64), np.zeros(2, np.int64)
_ROWS = 16  # of float32 fill whole lines, whatever their width


def room(num_rows: int) -> int:
    """Rows that there is memory for where so many are wanted and others stand behind them; may be a symbol."""
    return -(-num_rows // _ROWS) * _ROWS


@dataclass(frozen=True, eq=False)
class Tiling:
    """Which sequences a tile holds, and how many of them run at each step.

    Attributes:
        order: int64 [B], the sequences in the order of the tiles; falling length within a tile.
        rows: sequences of the largest tile.
        tiles: int64 [tiles, 4]: first sequence, sequences, steps, begin of the counts.
        active: int64, for each tile and step how many of its sequences run.
        row_base: int64 [B], the row of the first step of each sequence in that order.
        row_stride: rows from one step of a sequence to the next.
        step_rows: int64, rows from the first step of a sequence to each other besides, from the one before the first to
            the one after the last; or one zero for all.
        falls: whether steps go by from the last one to the first.
        sharers: threads of each tile.
        asked: the arguments of `Layout.tiling`, or of `of_rows`, that it was made by.
    """

    order: np.ndarray
    rows: int
    tiles: np.ndarray
    active: np.ndarray
    row_base: np.ndarray
    row_stride: int = 1
    step_rows: np.ndarray | None = None
    falls: bool = False
    sharers: int = 1
    asked: tuple[int, ...] = ()

    @classmethod
    @functools.lru_cache(maxsize=16)
    def of_rows(cls, count: int, threads: int) -> Tiling:
        """Rows that know nothing of each other, in one stretch for each thread."""
        edges = np.linspace(0, count, threads + 1).astype(np.int64)
        starts, sizes = edges[:-1], np.diff(edges)
        starts, sizes = starts[sizes > 0], sizes[sizes > 0]
        tiles = [(index, 1, size, 0) for index, size in enumerate(sizes.tolist())]
        order = np.arange(len(starts))
        active = np.ones(sizes.max(initial=0), np.int64)
        return cls(order, 1, np.array(tiles, np.int64), active, starts, asked=(count, threads))

    @cached_property
    def arrays(self) -> tuple[Tensor, ...]:
        """Those that a kernel reads."""
        own = map(torch.from_numpy, (self.tiles, self.active, self.order, self.row_base))
        return *own, NO_ROWS if self.step_rows is None else torch.from_numpy(self.step_rows)

    @cached_property
    def header(self) -> dict[str, int | Tensor]:
        """Its words of a kernel's table."""
        return {
            **dict(zip(("tiles", "active", "order", "row_base", "step_rows"), self.arrays, strict=True)),
            "sharers": self.sharers,
            "num_tiles": len(self.tiles),
            "row_stride": self.row_stride,
            "step_mask": 0 if self.step_rows is None else -1,
            "falls": int(self.falls),
        }


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the steps of each sequence stand among the rows: step t of sequence b is row `first[b] + t * stride`, or
    `first[b] + steps[t + 1]`.

    Attributes:
        lengths: int64 [B], steps of each sequence.
        first: int64 [B].
        stride: see above.
        steps: see above; int64 [T + 2], as there is one before the first and one after the last.
        falls: whether sequences run from their last step, where t is largest, to their first.
        sizes: (T, B) of values that are handed in as [T, B, ...], None of rows [N, ...].
        batch_first: whether these have strides of [B, T, ...].
        apart: whether what a pass gives must share no memory.
    """

    lengths: np.ndarray
    first: np.ndarray
    stride: int = 1
    steps: np.ndarray | None = None
    falls: bool = False
    sizes: tuple[int, int] | None = None
    batch_first: bool = False
    apart: bool = False

    @classmethod
    def of(cls, x: AnyBatch) -> Layout:
        """That of a batch; batches with the same offsets, such as those of all layers of a stack, share one."""
        if isinstance(x, Block):
            return cls.of_block(x.max_length, x.batch_size, is_batch_first(x.values), x.backward)
        backward = x.backward if isinstance(x, Packed) else isinstance(x, Reversed)
        if x.batch_size == 1:
            return cls.of_one(x.num_steps, backward)
        known: Layout | None = x.derived.get((cls, backward))
        if known is not None:
            return known
        if isinstance(x, Packed):
            made = cls.of_batch_sizes(x.batch_sizes.numpy(), x.batch_size, backward)
        else:
            made = cls.of_edges(x.offsets.numpy(), backward)
        layout: Layout = x.derived.setdefault((cls, backward), made)
        return layout

    @classmethod
    def of_edges(cls, edges: np.ndarray, backward: bool) -> Layout:
        """That of sequences in rows [N, ...], each between two of the edges [B + 1]; see `Reversed` for `backward`."""
        lengths = np.diff(edges)
        return cls(lengths, edges[1:] - 1, -1) if backward else cls(lengths, edges[:-1])

    @classmethod
    @functools.lru_cache(maxsize=256)
    def of_block(
        cls, num_steps: int, batch_size: int, batch_first: bool, backward: bool, *, apart: bool = False
    ) -> Layout:
        """That of sequences of one length, handed in as [T, B, ...]; see `Block` for `backward`."""
        stride = 1 if batch_first else batch_size
        first = np.arange(batch_size, dtype=np.int64) * (num_steps if batch_first else 1)
        lengths = np.full(batch_size, num_steps, np.int64)
        if backward and num_steps:
            first, stride = first + (num_steps - 1) * stride, -stride
        return cls(lengths, first, stride, sizes=(num_steps, batch_size), batch_first=batch_first, apart=apart)

    @classmethod
    @functools.lru_cache(maxsize=256)
    def of_one(cls, num_steps: int, backward: bool) -> Layout:
        """That of a ragged batch of one sequence."""
        return cls.of_edges(np.array([0, num_steps]), backward)

    @classmethod
    def of_batch_sizes(cls, batch_sizes: np.ndarray, batch: int, backward: bool) -> Layout:
        """That of packed sequences, of which so many [T], the longest, have a step t; see `Packed` for `backward`."""
        sequences = np.arange(batch)
        lengths = (-batch_sizes).searchsorted(-sequences)
        return cls(lengths, sequences, 0, np.concatenate((_TWO_ZEROS, batch_sizes.cumsum())), backward)

    def rows(self, values: Tensor) -> Tensor:
        """Rows [N, ...] of values as they are handed in."""
        if self.sizes is None:
            return values
        return (values.transpose(0, 1) if self.batch_first else values).reshape(self.num_rows, *values.shape[2:])

    def shaped(self, rows: Tensor) -> Tensor:
        """Rows [N, ...] in the shape in which values are handed in; a view."""
        if self.sizes is None:
            return rows
        num_steps, batch = self.sizes
        if self.batch_first:
            return rows.view(batch, num_steps, *rows.shape[1:]).transpose(0, 1)
        return rows.view(num_steps, batch, *rows.shape[1:])

    @cached_property
    def num_rows(self) -> int:
        """N, all steps of all sequences together."""
        return int(self.lengths.sum())

    @property
    def may_share(self) -> bool:
        """Whether the step before that of a row stands B rows away, the same way for all: then outputs and the states
        before may be the same memory."""
        return not self.apart and self.sizes is not None and abs(self.stride) == len(self.lengths)

    @cached_property
    def offsets(self) -> Tensor:
        """Those of a Ragged of the same sequences, int64 [B + 1]."""
        return torch.from_numpy(np.concatenate([np.zeros(1, np.int64), self.lengths.cumsum()]))

    @cached_property
    def _order(self) -> Tensor:
        """For each row of that Ragged its row here, int64 [N]."""
        return torch.from_numpy(self.rows_from(0, self.lengths))

    def rows_from(self, start: int, counts: np.ndarray) -> np.ndarray:
        """The rows of so many steps [B] of each sequence, in the order in which they run, but for the first `start`:
        int64, one sequence after the other."""
        ends = counts.cumsum()
        step = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts - start, counts)
        first = np.repeat(self.first, counts)
        if self.steps is None:
            return first + step * self.stride
        return first + self.steps[np.repeat(self.lengths, counts) - step if self.falls else step + 1]

    def to_ragged(self, values: Tensor) -> Ragged:
        """The same sequences, in the order in which they run."""
        return Ragged(take_rows(self.rows(values), self._order), self.offsets)

    def from_ragged(self, values: Tensor) -> Tensor:
        """Values in the shape and order in which they are handed in, from the values [N, ...] of that Ragged."""
        return self.shaped(put_rows(values, self._order, self.num_rows))

    @cached_property
    def _tilings(self) -> dict[tuple[int, int, int], Tiling]:
        return {}

    def tiling(self, threads: int, limit: int, sharers: int = 1) -> Tiling:
        """Sequences in tiles of at most `limit`, the same work for every thread, or for each that many sharers."""
        tiling = self._tilings.get((threads, limit, sharers))
        if tiling is None:
            tiling = self._tilings[threads, limit, sharers] = self._deal(threads, limit, sharers)
        return tiling

    def like(self, other: Tiling) -> Tiling:
        """The tiling that takes the place here which that one of another batch has there."""
        if len(other.asked) == 2:
            return Tiling.of_rows(self.num_rows, other.asked[1])
        threads, limit, sharers = other.asked
        return self.tiling(threads, limit, sharers)

    @property
    def size(self) -> int:
        """By what it differs from others of its kind: T of values [T, B, ...], N of rows [N, ...]."""
        return self.num_rows if self.sizes is None else self.sizes[0]

    @cached_property
    def kind(self) -> tuple[int | bool, ...]:
        """Equal for those that differ by their size alone, or by how the rows of a ragged batch are cut into as many
        sequences."""
        backward = self.falls or self.stride < 0
        return len(self.lengths), self.sizes is not None, self.steps is not None, self.batch_first, backward, self.apart

    def resized(self, size: int) -> Layout:
        """One of this kind with another size."""
        if self.sizes is not None:
            return Layout.of_block(size, self.sizes[1], self.batch_first, self.stride < 0, apart=self.apart)
        batch = len(self.lengths)
        edges = np.linspace(0, size, batch + 1).astype(np.int64)
        if self.steps is not None:
            lengths = -np.sort(-np.diff(edges))
            return Layout.of_batch_sizes(_running(lengths), batch, self.falls)
        return Layout.of_edges(edges, self.stride < 0)

    def _deal(self, threads: int, limit: int, sharers: int) -> Tiling:
        batch, asked = len(self.lengths), (threads, limit, sharers)
        threads = max(1, min(threads // sharers, batch))
        rows = max(1, min(limit, -(-batch // threads)))
        sorted_ = (-self.lengths).argsort(kind="stable")
        even = batch == 0 or self.lengths[sorted_[0]] == self.lengths[sorted_[-1]]
        tiles: list[tuple[int, int, int, int]] = []
        order: list[np.ndarray] = []
        counts: list[np.ndarray] = []
        first = at = 0
        for start in range(0, batch, rows * threads):
            round_ = sorted_[start : start + rows * threads]
            # neighbours in one tile are neighbours in memory; where lengths differ, every thread gets some of each
            if even and threads > 1:
                hands = np.array_split(round_, threads)
            else:
                hands = [round_[thread::threads] for thread in range(threads)]
            for mine in hands:
                if not len(mine):
                    continue
                lengths = self.lengths[mine]
                steps = int(lengths[0])
                tiles.append((first, len(mine), steps, at))
                order.append(mine)
                counts.append(_running(lengths))
                first += len(mine)
                at += steps
        dealt = np.concatenate(order or [_NONE])
        return Tiling(
            order=dealt,
            rows=rows,
            tiles=np.array(tiles, np.int64).reshape(len(tiles), 4),
            active=np.concatenate(counts or [_NONE]).astype(np.int64, copy=False),
            row_base=self.first[dealt],
            row_stride=self.stride,
            step_rows=self.steps,
            falls=self.falls,
            sharers=sharers,
            asked=asked,
        )


def _running(lengths: np.ndarray) -> np.ndarray:
    """How many sequences of falling lengths [B] are longer than t, for each step t of the first one."""
    return len(lengths) - lengths[::-1].searchsorted(np.arange(lengths[0]), side="right")
