"""Batches as engines take them, beside a `Ragged`: `Block`, sequences of one length as they come padded; `Packed`, as
torch packs them; `Reversed`, those of a Ragged the other way. To a layer and to an engine each is what a Ragged is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from recurra.ragged import Ragged, put_rows, take_rows

__all__ = ["AnyBatch", "Block", "Packed", "Reversed", "family", "is_batch_first", "template"]


@dataclass(frozen=True, eq=False)
class Block:
    """Sequences of one length: nothing is copied to put them into order.

    Shapes: values [T, B, ...], with any strides.

    Attributes:
        values: all steps of all sequences.
        backward: whether the sequences run from their last step to their first; the steps stay where they are.
        resets: none, as of a Ragged without resets.
    """

    values: Tensor
    backward: bool = False
    resets: None = None

    @property
    def max_length(self) -> int:
        """T."""
        return self.values.shape[0]

    @property
    def batch_size(self) -> int:
        """B."""
        return self.values.shape[1]

    @property
    def num_steps(self) -> int:
        """N, all steps of all sequences together."""
        return self.max_length * self.batch_size

    def replace(self, values: Tensor) -> Block:
        """The same sequences with other values [T, B, ...]."""
        return Block(values, self.backward)

    def map(self, function: Callable[[Tensor], Tensor]) -> Block:
        """Apply a function [T, B, ...] -> [T, B, ...] to all steps at once."""
        return self.replace(function(self.values))

    def reverse(self) -> Block:
        """The same steps, run the other way."""
        return replace(self, backward=not self.backward)

    def expand(self, rows: Tensor) -> Tensor:
        """One row a sequence, for all its steps.

        Shapes: rows [B, ...] -> [1, B, ...].
        """
        return rows[None]

    def to_padded(self, *, num_steps: int | None = None) -> Tensor:
        """The values; `num_steps` is T, as no sequence is shorter."""
        assert num_steps in (None, self.max_length), "a block has no padding"
        return self.values

    def turned(self, values: Tensor) -> Tensor:
        """Values [T, B, ...] from the order in which the steps stand to the order in which they run, or back."""
        return values.flip(0) if self.backward else values

    def to_ragged(self) -> Ragged:
        """The same sequences in the order in which they run, for engines that want every one in one stretch."""
        return Ragged.from_padded(self.turned(self.values))

    def from_ragged(self, values: Tensor) -> Tensor:
        """Values [T, B, ...] of this block from values [N, ...] in the order of `to_ragged`."""
        return self.turned(values.unflatten(0, (self.batch_size, self.max_length)).transpose(0, 1))


@dataclass(frozen=True, eq=False)
class Reversed:
    """Sequences that run from their last step to their first; the steps stay where they are.

    Attributes:
        ragged: the sequences, without resets.
        resets: none, as of a Ragged without resets.
    """

    ragged: Ragged
    resets: None = None

    @property
    def values(self) -> Tensor:
        """[N, ...], in the order in which the steps stand."""
        return self.ragged.values

    @property
    def offsets(self) -> Tensor:
        """[B + 1], those of the ragged sequences."""
        return self.ragged.offsets

    @property
    def derived(self) -> dict[Any, Any]:
        """What others made of the offsets."""
        return self.ragged.derived

    @property
    def max_length(self) -> int:
        """T, steps of the longest sequence."""
        return self.ragged.max_length

    @property
    def batch_size(self) -> int:
        """B."""
        return self.ragged.batch_size

    @property
    def num_steps(self) -> int:
        """N, all steps of all sequences together."""
        return self.ragged.num_steps

    def replace(self, values: Tensor) -> Reversed:
        """The same sequences with other values [N, ...]."""
        return Reversed(self.ragged.replace(values))

    def map(self, function: Callable[[Tensor], Tensor]) -> Reversed:
        """Apply a function [N, ...] -> [N, ...] to all steps at once."""
        return self.replace(function(self.values))

    def reverse(self) -> Ragged:
        """The same steps, run the other way."""
        return self.ragged

    def to_ragged(self) -> Ragged:
        """The same sequences in the order in which they run, for engines that go from the first row to the last."""
        return self.ragged.reverse()

    def from_ragged(self, values: Tensor) -> Tensor:
        """Values [N, ...] in the order in which the steps stand, from those in the order of `to_ragged`."""
        return self.ragged.replace(values).reverse().values


@dataclass(frozen=True, eq=False)
class Packed:
    """Sequences as a `PackedSequence` has them: the first steps of all, the longest first, then the second steps.

    Shapes: values [N, ...].

    Attributes:
        values: all steps of all sequences.
        batch_sizes: int64 [T], how many sequences have each step.
        backward: whether the sequences run from their last step to their first; the steps stay where they are.
        resets: none, as of a Ragged without resets.
        derived: what others made of the batch sizes, as that of a Ragged.
    """

    values: Tensor
    batch_sizes: Tensor
    backward: bool = False
    resets: None = None
    derived: dict[Any, Any] = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """T."""
        return len(self.batch_sizes)

    @cached_property
    def batch_size(self) -> int:
        """B."""
        return int(self.batch_sizes[0])

    @property
    def num_steps(self) -> int:
        """N, all steps of all sequences together."""
        return len(self.values)

    def replace(self, values: Tensor) -> Packed:
        """The same sequences with other values [N, ...]."""
        return replace(self, values=values)

    def map(self, function: Callable[[Tensor], Tensor]) -> Packed:
        """Apply a function [N, ...] -> [N, ...] to all steps at once."""
        return self.replace(function(self.values))

    def reverse(self) -> Packed:
        """The same steps, run the other way."""
        return replace(self, backward=not self.backward)

    @property
    def _rows(self) -> Ragged:
        """For each step, in the order in which sequences run, its row."""
        key = Packed, self.backward
        if key not in self.derived:
            places = torch.arange(self.num_steps, device=self.values.device)
            rows = Ragged.from_packed(PackedSequence(places, self.batch_sizes))
            self.derived[key] = rows.reverse() if self.backward else rows
        found: Ragged = self.derived[key]
        return found

    def to_ragged(self) -> Ragged:
        """The same sequences in the order in which they run, for engines that want every one in one stretch."""
        return self._rows.replace(take_rows(self.values, self._rows.values))

    def from_ragged(self, values: Tensor) -> Tensor:
        """Values [N, ...] in the order in which the steps stand, from those in the order of `to_ragged`."""
        return put_rows(values, self._rows.values, self.num_steps)


AnyBatch: TypeAlias = Ragged | Block | Packed | Reversed


def template(x: AnyBatch) -> tuple[Any, ...] | None:
    """Equal for batches that differ by their numbers alone; None of a ragged one of several sequences: the like hardly
    comes again."""
    values = x.values
    if isinstance(x, Block):
        return values.shape, values.stride(), values.dtype, x.backward
    is_one = x.batch_size == 1 and not isinstance(x, Packed)
    return (type(x), values.shape, values.dtype) if is_one else None


def family(x: AnyBatch) -> tuple[Any, ...] | None:
    """Equal for batches that differ by the lengths of their sequences alone; None of a block whose values have other
    strides than those of [T, B, ...] or of [B, T, ...]."""
    values = x.values
    if not isinstance(x, Block):
        return type(x), values.shape[1:], values.dtype, x.batch_size, isinstance(x, Packed) and x.backward
    batch_first = is_batch_first(values)
    if not batch_first and not values.is_contiguous():
        return None
    return Block, values.shape[1:], values.dtype, batch_first, x.backward


def is_batch_first(values: Tensor) -> bool:
    """Whether values [T, B, ...] have strides of [B, T, ...]."""
    return not values.is_contiguous() and values.transpose(0, 1).is_contiguous()
