"""Batches as engines take them: `Block`, sequences of one length as they come padded, and `Reversed`, those of a
`Ragged` that run the other way. To a layer and to an engine each is what a `Ragged` is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor

from recurra.ragged import Ragged

__all__ = ["AnyBatch", "Block", "Reversed", "family", "is_batch_first", "template"]


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

    def to_ragged(self) -> Ragged:
        """The same sequences in the order in which they run, for engines that go from the first row to the last."""
        return self.ragged.reverse()

    def from_ragged(self, values: Tensor) -> Tensor:
        """Values [N, ...] in the order in which the steps stand, from those in the order of `to_ragged`."""
        return self.ragged.replace(values).reverse().values


AnyBatch: TypeAlias = Ragged | Block | Reversed


def template(x: AnyBatch) -> tuple[Any, ...] | None:
    """Equal for batches that differ by their numbers alone; None of a ragged one of several sequences: the like hardly
    comes again."""
    values = x.values
    if isinstance(x, Block):
        return values.shape, values.stride(), values.dtype, x.backward
    return (type(x), values.shape, values.dtype) if x.batch_size == 1 else None


def family(x: AnyBatch) -> tuple[Any, ...] | None:
    """Equal for batches that differ by the lengths of their sequences alone; None of a block whose values have other
    strides than those of [T, B, ...] or of [B, T, ...]."""
    values = x.values
    if not isinstance(x, Block):
        return type(x), values.shape[1:], values.dtype, x.batch_size
    batch_first = is_batch_first(values)
    if not batch_first and not values.is_contiguous():
        return None
    return Block, values.shape[1:], values.dtype, batch_first, x.backward


def is_batch_first(values: Tensor) -> bool:
    """Whether values [T, B, ...] have strides of [B, T, ...]."""
    return not values.is_contiguous() and values.transpose(0, 1).is_contiguous()
