"""Encoded examples -> batches of like length under a token budget, in an order that depends on seed and epoch alone.

`plan(epoch)` names the batches of an epoch and `load(item)` builds one of them, so that a position in training is
(epoch, index in the plan) and a resumed run needs no other memory of its data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recurra.checks import check_count
from recurra.data.readers import Pair
from recurra.data.tokenizer import Vocabulary
from recurra.errors import ShapeError
from recurra.ragged import Ragged, take_sequences

__all__ = ["BatchItem", "BucketedBatches", "EncodedPairs", "PairBatch", "encode_pairs", "length_batches"]

Ints = npt.NDArray[np.int64]


def length_batches(
    lengths: npt.ArrayLike, budget: int, *, seed: int = 0, epoch: int = 0, length_noise: float = 2.0
) -> list[Ints]:
    """Rows of examples that make one batch each; every row is in exactly one.

    Examples are sorted by their last length and, where that is the same, by the others (there and back, so that
    neighbours stay alike); cut where the next example would break the budget; and the batches shuffled.

    Args:
        lengths: steps of each example, [n]; or [n, k], of each of its k sequences, e.g. source and target.
        budget: a batch of m examples whose longest sequence has t steps costs m * t; no column costs more than this.
            A single longer example is a batch of its own, never dropped.
        seed: another seed gives other orders.
        epoch: every epoch has its own order.
        length_noise: each length counts as up to so many steps more when sorting, drawn anew each epoch: with 0 the
            same examples would meet again and again, and much more pads more.

    Returns: one array of rows for each batch.

    Raises:
        ConfigError: the budget is below 1.
        ShapeError: the lengths are not [n] or [n, k] whole numbers of at least 0.
    """
    check_count("budget", budget)
    table = np.asarray(lengths)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or (len(table) and (table.dtype.kind not in "iu" or table.min() < 0)):
        raise ShapeError(
            f"`lengths` must be whole numbers of at least 0, [n] or [n, k], got {table.dtype} {list(table.shape)}."
        )
    if len(table) == 0:
        return []
    random = np.random.default_rng([abs(seed), int(seed < 0), epoch])
    noisy = table + length_noise * random.random(table.shape)
    leading = np.floor(noisy[:, -1])
    turn = np.where(leading % 2, -1, 1)
    order = np.lexsort((random.random(len(table)), *(turn * noisy[:, :-1].T), leading))
    batches = _cut(order, np.maximum(table[order], 1), budget)
    return [batches[place] for place in random.permutation(len(batches))]


def _cut(order: Ints, lengths: Ints, budget: int) -> list[Ints]:
    """Cut sorted rows into the longest runs that keep the budget."""
    batches = []
    start = 0
    while start < len(order):
        window = lengths[start : start + max(1, budget // int(lengths[start].max()))]  # no more than these can fit
        costs = np.maximum.accumulate(window) * np.arange(1, len(window) + 1)[:, None]
        over = (costs > budget).any(1)
        end = start + max(1, int(over.argmax()) if over.any() else len(window))
        batches.append(order[start:end])
        start = end
    return batches


@dataclass(frozen=True)
class EncodedPairs:
    """All examples in numbers, without begin and end.

    Shapes: source and target: Ragged of n sequences each, values [N] int64.
    """

    source: Ragged
    target: Ragged

    def __post_init__(self) -> None:
        if len(self.source) != len(self.target):
            raise ShapeError(
                f"`source` and `target` must have as many sequences, got {len(self.source)} and {len(self.target)}."
            )

    def __len__(self) -> int:
        return len(self.source)


def encode_pairs(
    pairs: Sequence[Pair], source_vocabulary: Vocabulary, target_vocabulary: Vocabulary | None = None
) -> EncodedPairs:
    """Sentence pairs in numbers; one vocabulary serves both sides unless two are given."""
    target_vocabulary = target_vocabulary or source_vocabulary
    return EncodedPairs(
        source_vocabulary.encode_batch([pair.source for pair in pairs]),
        target_vocabulary.encode_batch([pair.target for pair in pairs]),
    )


@dataclass(frozen=True)
class PairBatch:
    """Some examples, ready for an encoder-decoder that is taught the right previous piece.

    Shapes:
        source: Ragged of B sequences, int64: the ids of the source and its end.
        target_in: Ragged of B sequences, values [N] int64: begin, then the ids of the target.
        target_out [N]: int64, what to predict at each step of `target_in`: the ids of the target, then its end.
        rows [B]: int64, which examples these are.
    """

    source: Ragged
    target_in: Ragged
    target_out: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.source)

    @property
    def num_tokens(self) -> int:
        """N, pieces to predict, ends included."""
        return self.target_in.num_steps

    def to(self, *args: Any, **kwargs: Any) -> PairBatch:
        """All parts moved as `Tensor.to` does."""
        return PairBatch(
            self.source.to(*args, **kwargs),
            self.target_in.to(*args, **kwargs),
            self.target_out.to(*args, **kwargs),
            self.rows.to(*args, **kwargs),
        )


class BatchItem(NamedTuple):
    """One batch of a plan: the epoch it belongs to and its examples."""

    epoch: int
    rows: Ints


class BucketedBatches:
    """The batches of sentence pairs for training.

        batches = BucketedBatches(encode_pairs(pairs, vocabulary), budget=2000, seed=1)
        for item in batches.plan(epoch=0):
            batch = batches.load(item).to(device)

    Args:
        pairs: all examples in numbers.
        budget: tokens of a batch at most on either side, as in `length_batches`; ends included.
        seed: of the orders.
        length_noise: as in `length_batches`, tokens.
        bos: the number put before a sentence.
        eos: the number put after it.
        resample: gives other numbers for the same examples in each epoch, e.g. from `SubwordSampler`; then `pairs`
            only say how many examples there are.
    """

    def __init__(
        self,
        pairs: EncodedPairs,
        *,
        budget: int,
        seed: int = 0,
        length_noise: float = 2.0,
        bos: int = Vocabulary.bos,
        eos: int = Vocabulary.eos,
        resample: Callable[[int], EncodedPairs] | None = None,
    ) -> None:
        self.budget = check_count("budget", budget)
        self.seed = seed
        self.length_noise = length_noise
        self.bos = bos
        self.eos = eos
        self._resample = resample
        self._num_pairs = len(pairs)
        self._epoch: int | None = None  # of what is in `_source` and `_target`, where they change
        self._source, self._target = self._with_ends(pairs)

    def __len__(self) -> int:
        """Examples in an epoch."""
        return self._num_pairs

    def plan(self, epoch: int) -> list[BatchItem]:
        """The batches of an epoch, in their order; the same for the same seed and epoch."""
        self._turn_to(epoch)
        lengths = torch.stack([self._source.lengths, self._target.lengths - 1], 1).numpy()
        batches = length_batches(lengths, self.budget, seed=self.seed, epoch=epoch, length_noise=self.length_noise)
        return [BatchItem(epoch, rows) for rows in batches]

    def load(self, item: BatchItem) -> PairBatch:
        """Build one batch of a plan."""
        self._turn_to(item.epoch)
        rows = torch.from_numpy(np.asarray(item.rows, dtype=np.int64))
        target = take_sequences(self._target, rows)  # begin, ids, end
        is_last = torch.zeros(target.num_steps, dtype=torch.bool)
        is_last[target.offsets[1:] - 1] = True
        target_in = Ragged(target.values[~is_last], target.offsets - torch.arange(len(rows) + 1))
        target_out = target.values[1:][~is_last[:-1]]
        return PairBatch(take_sequences(self._source, rows), target_in, target_out, rows)

    def split(self, item: BatchItem, parts: int) -> list[BatchItem | None]:
        """The share of each of several processes, alike in length; None where there are too few examples for all."""
        shares = [item.rows[rank::parts] for rank in range(parts)]
        return [BatchItem(item.epoch, rows) if len(rows) else None for rows in shares]

    def _turn_to(self, epoch: int) -> None:
        if self._resample is None or self._epoch == epoch:
            return
        pairs = self._resample(epoch)
        if len(pairs) != self._num_pairs:
            raise ShapeError(f"`resample` must give all {self._num_pairs} examples, got {len(pairs)}.")
        self._source, self._target = self._with_ends(pairs)
        self._epoch = epoch

    def _with_ends(self, pairs: EncodedPairs) -> tuple[Ragged, Ragged]:
        return _surround(pairs.source, None, self.eos), _surround(pairs.target, self.bos, self.eos)


def _surround(ids: Ragged, before: int | None, after: int) -> Ragged:
    """One more number at the head and at the end of every sequence."""
    head = int(before is not None)
    extra = head + 1
    offsets = ids.offsets + extra * torch.arange(len(ids) + 1)
    values = ids.values.new_full((ids.num_steps + extra * len(ids),), after)
    values[torch.arange(ids.num_steps) + extra * ids.sequence_index + head] = ids.values
    if before is not None:
        values[offsets[:-1]] = before
    return Ragged(values, offsets)
