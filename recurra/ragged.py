"""`Ragged`: the one batch type of Recurra, sequences of different lengths without padding.

All steps of all sequences stand one after another in `values [N, ...]`; `offsets [B+1]` says where each sequence
begins. This is the layout of torch's jagged nested tensors. A reset in the middle of a sequence (an episode ends, a
stream is cut) is one more offset, kept in `resets`. Laws, each a property test in `tests/test_ragged.py`: every
conversion there and back is the identity, reversing twice is the identity, and padding is never read.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, SupportsIndex, overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from recurra.errors import ShapeError
from recurra.shapes import describe, length_mask

__all__ = ["WHOLE_NUMBERS", "Ragged", "offsets_of", "put_rows", "take_rows", "take_sequences"]

WHOLE_NUMBERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class _TakeRows(torch.autograd.Function):
    """Rows of `source` by unique indices; the backward is a copy, where index_select would add atomically."""

    generate_vmap_rule = True

    @staticmethod
    def forward(source: Tensor, rows: Tensor) -> Tensor:
        return source.index_select(0, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        source, rows = inputs
        ctx.save_for_backward(rows)
        ctx.save_for_forward(rows)
        ctx.num_rows = source.shape[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        return _PutRows.apply(grad, rows, ctx.num_rows, 0.0), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        (rows,) = ctx.saved_tensors
        return take_rows(tangent, rows)


class _PutRows(torch.autograd.Function):
    """Rows of `source` put at unique places among `num_rows` rows of `fill`; the transpose of _TakeRows."""

    generate_vmap_rule = True

    @staticmethod
    def forward(source: Tensor, rows: Tensor, num_rows: int, fill: float) -> Tensor:
        return source.new_full((num_rows, *source.shape[1:]), fill).index_copy_(0, rows, source)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, float], output: Tensor) -> None:
        _, rows, ctx.num_rows, _ = inputs
        ctx.save_for_backward(rows)
        ctx.save_for_forward(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (rows,) = ctx.saved_tensors
        return _TakeRows.apply(grad, rows), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        (rows,) = ctx.saved_tensors
        return put_rows(tangent, rows, ctx.num_rows)


def take_rows(source: Tensor, rows: Tensor) -> Tensor:
    """Rows of a tensor by indices that are all different, with a backward that copies instead of adding.

    Shapes: source [M, ...], rows [N] int64, all different -> [N, ...].
    """
    if not (source.requires_grad and torch.is_grad_enabled()):
        return _TakeRows.forward(source, rows)  # in an eighth of the time of `apply`
    taken: Tensor = _TakeRows.apply(source, rows)
    return taken


def put_rows(source: Tensor, rows: Tensor, num_rows: int, fill: float = 0.0) -> Tensor:
    """The rows of a tensor at places that are all different, among `num_rows` rows of `fill`; undoes `take_rows`.

    Shapes: source [N, ...], rows [N] int64, all different -> [num_rows, ...].
    """
    if not (source.requires_grad and torch.is_grad_enabled()):
        return _PutRows.forward(source, rows, num_rows, fill)
    put: Tensor = _PutRows.apply(source, rows, num_rows, fill)
    return put


def _lasting(make: Callable[[Any], Tensor]) -> cached_property[Tensor]:
    """A cached property, first asked for in inference mode maybe, whose tensors would serve no training step then."""

    @functools.wraps(make)
    def outside(batch: Any) -> Tensor:
        with torch.inference_mode(False):
            return make(batch)

    return cached_property(outside)


@dataclass(frozen=True, eq=False)
class Ragged:
    """A batch of sequences of different lengths, without padding.

    Shapes:
        values [N, ...]: all steps of sequence 0, then all of sequence 1, and so on.
        offsets [B+1]: int64, on the device of `values`; sequence b is `values[offsets[b]:offsets[b + 1]]`. A length of
            zero is legal.
        resets [R] or None: int64, strictly increasing positions in `values`; the recurrent state begins anew just
            before each of them. A reset on the first step of a sequence drops the state that came in. The conversions
            to other layouts, which have no place for them, leave them behind.

    Raises:
        ShapeError: offsets do not begin at 0, decrease, or do not end at N; resets are unsorted or out of range.
    """

    values: Tensor
    offsets: Tensor
    resets: Tensor | None = None

    def __post_init__(self) -> None:
        ends = self.offsets
        if not isinstance(self.values, Tensor) or self.values.dim() == 0:
            raise ShapeError(f"`values` must be a tensor of shape [N, ...], got {describe(self.values)}.")
        _expect_places("offsets", "B+1", ends, self.values)
        if len(ends) == 0:
            raise ShapeError("`offsets` must have shape [B+1], got [0].")
        if ends[0] != 0 or ends[-1] != len(self.values) or (ends.diff() < 0).any():
            raise ShapeError(
                f"`offsets` must begin at 0, never decrease and end at N={len(self.values)}, got {ends.tolist()}."
            )
        if self.resets is None:
            return
        at = self.resets
        _expect_places("resets", "R", at, self.values)
        if (at.diff() <= 0).any() or (len(at) > 0 and (at[0] < 0 or at[-1] >= len(self.values))):
            raise ShapeError(
                f"`resets` must increase strictly within 0..N-1={len(self.values) - 1}, got {at.tolist()}."
            )

    # --- sizes ---------------------------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int:
        """B, the number of sequences."""
        return len(self.offsets) - 1

    @property
    def num_steps(self) -> int:
        """N, all steps of all sequences together."""
        return len(self.values)

    @property
    def device(self) -> torch.device:
        """Where values and offsets are."""
        return self.values.device

    @_lasting
    def lengths(self) -> Tensor:
        """Steps of each sequence, int64 [B]."""
        return self.offsets.diff()

    @cached_property
    def max_length(self) -> int:
        """T, the steps of the longest sequence; 0 for an empty batch."""
        return int(self.lengths.max()) if self.batch_size else 0

    @_lasting
    def sequence_index(self) -> Tensor:
        """For each step the sequence it belongs to, int64 [N]."""
        return torch.repeat_interleave(self.lengths, output_size=self.num_steps)

    @_lasting
    def position(self) -> Tensor:
        """For each step its place in its sequence, from 0, int64 [N]."""
        starts = self.offsets.index_select(0, self.sequence_index)
        return torch.arange(self.num_steps, device=starts.device) - starts

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What others made of the offsets, by a key of theirs; one for all batches with these offsets."""
        return {}

    @_lasting
    def _reversed_rows(self) -> Tensor:
        return self.offsets[self.sequence_index + 1] - 1 - self.position

    def __len__(self) -> int:
        return self.batch_size

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.to_list())

    @overload
    def __getitem__(self, index: SupportsIndex) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> Ragged: ...

    def __getitem__(self, index: SupportsIndex | slice) -> Tensor | Ragged:
        """Sequence `index` as a tensor [length, ...], a view; of a slice, a Ragged of those sequences, a copy.

        Negative indices count from the end, as in a list.
        """
        if isinstance(index, slice):
            chosen = list(range(self.batch_size)[index])
            return take_sequences(self, torch.tensor(chosen, dtype=torch.int64, device=self.offsets.device))
        index = operator.index(index)
        if not -self.batch_size <= index < self.batch_size:
            raise IndexError(f"sequence {index} of a batch of {self.batch_size}")
        index %= self.batch_size
        return self.values[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def __repr__(self) -> str:
        resets = "" if self.resets is None else f", {len(self.resets)} resets"
        return f"Ragged({self.batch_size} sequences, values {list(self.values.shape)}, {self.values.dtype}{resets})"

    # --- the same sequences, other values --------------------------------------------------------------------------

    def replace(self, values: Tensor) -> Ragged:
        """The same offsets and resets around other values [N, ...] (an embedding of tokens, outputs of a layer)."""
        if not isinstance(values, Tensor) or values.dim() == 0 or len(values) != self.num_steps:
            raise ShapeError(f"`values` must have shape [N={self.num_steps}, ...], got {describe(values)}.")
        if values.device != self.offsets.device:
            raise ShapeError(f"`values` must be on {self.offsets.device} as the offsets are, got {values.device}.")
        other = _unchecked(values, self.offsets, self.resets)  # no second look: on a GPU each one waits for the device
        other.__dict__["derived"] = self.derived
        for name in ("lengths", "max_length", "sequence_index", "position", "_reversed_rows"):
            if name in self.__dict__:  # the offsets are the same, so what was derived from them is too
                other.__dict__[name] = self.__dict__[name]
        return other

    def map(self, function: Callable[[Tensor], Tensor]) -> Ragged:
        """Apply a function [N, ...] -> [N, ...] to all steps at once."""
        return self.replace(function(self.values))

    def to(self, *args: Any, **kwargs: Any) -> Ragged:
        """Move or cast the values as `Tensor.to` does; offsets and resets follow to the device."""
        values = self.values.to(*args, **kwargs)
        resets = None if self.resets is None else self.resets.to(values.device)
        return _unchecked(values, self.offsets.to(values.device), resets)

    def detach(self) -> Ragged:
        """The same sequences without their history of gradients, as `Tensor.detach`; the values are shared."""
        return self.replace(self.values.detach())

    def expand(self, rows: Tensor) -> Tensor:
        """Repeat one row a sequence over all its steps.

        Shapes: rows [B, ...] -> [N, ...].
        """
        if not isinstance(rows, Tensor) or rows.dim() == 0 or len(rows) != self.batch_size:
            raise ShapeError(f"`rows` must have shape [B={self.batch_size}, ...], got {describe(rows)}.")
        return rows.repeat_interleave(self.lengths, dim=0, output_size=self.num_steps)

    # --- rearranging -----------------------------------------------------------------------------------------------

    def reverse(self) -> Ragged:
        """Every sequence from its last step to its first; twice is the identity but for resets before a first step.

        A reset stands between two steps; it stands between the same two steps after reversing. A reset before the
        first step becomes none: in reverse no step comes before the last one's end.
        """
        values = take_rows(self.values, self._reversed_rows)
        if self.resets is None:
            return self.replace(values)
        between = self.resets[self.position[self.resets] > 0]
        sequence = self.sequence_index[between]
        mirrored = self.offsets[sequence] + self.offsets[sequence + 1] - between
        return Ragged(values, self.offsets, mirrored.sort().values)

    def split_at_resets(self) -> tuple[Ragged, Tensor]:
        """Every stretch between resets as a sequence of its own.

        Returns: the segments, without resets (their values are the same tensor), and for each segment the sequence it
            comes from, int64 [number of segments]. Segments of a sequence stand in their order; a sequence of no
            steps is one segment. A reset before the first step of a sequence is an empty first segment.
        """
        sequences = torch.arange(self.batch_size, device=self.offsets.device)
        if self.resets is None or len(self.resets) == 0:
            return replace(self, resets=None), sequences
        starts = torch.cat([self.offsets[:-1], self.resets])
        origin = torch.cat([sequences, self.sequence_index[self.resets]])
        # a sequence's own start comes before a reset at the same place: sort by origin, then start, stably
        order = starts.argsort(stable=True)
        order = order[origin[order].argsort(stable=True)]
        offsets = torch.cat([starts[order], self.offsets[-1:]])
        return Ragged(self.values, offsets), origin[order]

    # --- conversions -----------------------------------------------------------------------------------------------

    @classmethod
    def from_list(cls, sequences: Iterable[Tensor]) -> Ragged:
        """From tensors [length, ...] that differ in their first size only; at least one, each may be empty.

        Args:
            sequences: a list of them, or anything else that gives one after another.
        """
        if not isinstance(sequences, Iterable):
            raise ShapeError(f"`sequences` must give one tensor after another, got {describe(sequences)}.")
        sequences = list(sequences)
        if len(sequences) == 0:
            raise ShapeError("`sequences` must hold at least one tensor, got an empty list.")
        first = sequences[0]
        for index, sequence in enumerate(sequences):
            if not isinstance(sequence, Tensor) or sequence.dim() == 0:
                raise ShapeError(f"`sequences[{index}]` must be a tensor [length, ...], got {describe(sequence)}.")
            if sequence.shape[1:] != first.shape[1:]:
                raise ShapeError(
                    f"`sequences[{index}]` must have shape [length, ...] with the sizes of sequences[0] "
                    f"{describe(first)}, got {describe(sequence)}."
                )
            if (sequence.dtype, sequence.device) != (first.dtype, first.device):
                raise ShapeError(
                    f"`sequences[{index}]` must be {first.dtype} on {first.device} as sequences[0] is, "
                    f"got {sequence.dtype} on {sequence.device}."
                )
        lengths = torch.tensor([len(sequence) for sequence in sequences], device=first.device)
        return cls(torch.cat(sequences), offsets_of(lengths))

    def to_list(self) -> list[Tensor]:
        """One tensor [length, ...] a sequence; views of `values`."""
        return list(self.values.split(self.lengths.tolist()))

    @classmethod
    def from_padded(
        cls,
        padded: Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        *,
        batch_first: bool = False,
        resets: Tensor | None = None,
    ) -> Ragged:
        """From a padded tensor; what stands in the padding is never read.

        Shapes: padded [T, B, ...], or [B, T, ...] with `batch_first`; lengths [B] or None (all T); resets bool, of the
            first two sizes of `padded`: True where the state begins anew just before that step.

        Raises:
            ShapeError: a length is negative or above T, or the shapes do not fit.
        """
        if isinstance(padded, Tensor) and padded.is_nested:
            raise ShapeError("`padded` is a nested tensor: take `Ragged.from_nested`.")
        if not isinstance(padded, Tensor) or padded.dim() < 2:
            raise ShapeError(f"`padded` must have at least two dimensions, got {describe(padded)}.")
        num_steps, batch_size = padded.shape[:2] if not batch_first else (padded.shape[1], padded.shape[0])
        if lengths is None:
            lengths = torch.full((batch_size,), num_steps, device=padded.device)
        if not isinstance(lengths, Tensor):
            try:
                lengths = torch.tensor(lengths, device=padded.device)
            except (TypeError, ValueError, RuntimeError):
                raise ShapeError(f"`lengths` must be {batch_size} whole numbers, got {lengths!r}.") from None
            lengths = lengths if lengths.numel() else lengths.to(torch.int64)
        if lengths.shape != (batch_size,) or lengths.dtype not in WHOLE_NUMBERS:
            raise ShapeError(
                f"`lengths` must be {batch_size} whole numbers, got {lengths.dtype} of shape {describe(lengths)}."
            )
        lengths = lengths.to(padded.device, torch.int64)
        if batch_size and (lengths.min() < 0 or lengths.max() > num_steps):
            raise ShapeError(f"`lengths` must lie within 0..{num_steps}, got {lengths.tolist()}.")
        layout = _layout(lengths)
        rows = layout._padded_rows(num_steps, batch_first)
        ragged = layout.replace(take_rows(padded.flatten(0, 1), rows))
        if resets is None:
            return ragged
        if not isinstance(resets, Tensor) or resets.shape != padded.shape[:2] or resets.dtype != torch.bool:
            got = f"{resets.dtype} of {describe(resets)}" if isinstance(resets, Tensor) else describe(resets)
            raise ShapeError(f"`resets` must be bool of shape {list(padded.shape[:2])}, got {got}.")
        return replace(ragged, resets=resets.flatten()[rows].nonzero().flatten())

    def to_padded(self, *, batch_first: bool = False, value: float = 0.0, num_steps: int | None = None) -> Tensor:
        """To a padded tensor [T, B, ...], or [B, T, ...] with `batch_first`.

        Args:
            batch_first: batch before time.
            value: what stands in the padding.
            num_steps: T, at least the longest length; that length where not given.
        """
        num_steps = self.max_length if num_steps is None else num_steps
        if num_steps < self.max_length:
            raise ShapeError(f"`num_steps` must be at least the longest length {self.max_length}, got {num_steps}.")
        sizes = (self.batch_size, num_steps) if batch_first else (num_steps, self.batch_size)
        flat = put_rows(self.values, self._padded_rows(num_steps, batch_first), sizes[0] * sizes[1], value)
        return flat.unflatten(0, sizes)

    def mask(self, num_steps: int | None = None) -> Tensor:
        """True on the steps that exist, bool [B, T]."""
        return length_mask(self.lengths, self.max_length if num_steps is None else num_steps)

    def _padded_rows(self, num_steps: int, batch_first: bool) -> Tensor:
        if batch_first:
            return self.sequence_index * num_steps + self.position
        return self.position * self.batch_size + self.sequence_index

    @classmethod
    def from_packed(cls, packed: PackedSequence) -> Ragged:
        """From torch's PackedSequence, sequences in the order they had before packing."""
        if not isinstance(packed, PackedSequence):
            raise ShapeError(f"`packed` must be a PackedSequence, got {describe(packed)}.")
        data, batch_sizes, _, unsorted = packed
        sizes = batch_sizes.to(data.device)
        batch_size = int(sizes[0])
        lengths = (sizes[:, None] > torch.arange(batch_size, device=data.device)).sum(0)  # of the sorted sequences
        order = torch.arange(batch_size, device=data.device) if unsorted is None else unsorted
        layout = _layout(lengths[order])
        step_starts = offsets_of(sizes)[:-1]
        return layout.replace(take_rows(data, step_starts[layout.position] + order[layout.sequence_index]))

    def to_packed(self) -> PackedSequence:
        """To torch's PackedSequence, with the indices that restore this order.

        Raises:
            ShapeError: the batch is empty or a sequence has no steps; torch cannot pack those.
        """
        if self.batch_size == 0 or int(self.lengths.min()) == 0:
            raise ShapeError(
                "A PackedSequence cannot hold a sequence of no steps; drop it first or use `to_padded`, "
                f"got lengths {self.lengths.tolist()}."
            )
        order = self.lengths.argsort(descending=True, stable=True)
        rank = torch.empty_like(order).index_copy_(0, order, torch.arange(self.batch_size, device=order.device))
        # steps in the order of packing: by position, then by rank of the sequence
        rows = (self.position * self.batch_size + rank[self.sequence_index]).argsort()
        batch_sizes = torch.bincount(self.position).cpu()
        return PackedSequence(take_rows(self.values, rows), batch_sizes, order, rank)

    @classmethod
    def from_nested(cls, nested: Tensor) -> Ragged:
        """From a torch nested tensor of layout `torch.jagged` whose ragged size is the second."""
        if not isinstance(nested, Tensor) or not nested.is_nested or nested.layout != torch.jagged:
            got = describe(nested)
            if isinstance(nested, Tensor):
                got = f"{got} of {nested.layout}"
            raise ShapeError(f"`nested` must be a nested tensor of layout torch.jagged, got {got}.")
        jagged: Any = nested  # torch's stubs know no methods of nested tensors
        if isinstance(nested.shape[1], int):
            raise ShapeError(
                f"`nested` must be ragged in its second size, got {list(nested.shape)}: transpose it back."
            )
        lengths: Tensor | None = jagged.lengths()
        values: Tensor = jagged.values()
        if lengths is None:
            return cls(values, jagged.offsets().to(torch.int64))
        starts = jagged.offsets()[: len(lengths)].to(torch.int64)  # a view with holes: gather what it shows
        layout = _layout(lengths.to(torch.int64))
        return layout.replace(take_rows(values, starts[layout.sequence_index] + layout.position))

    def to_nested(self) -> Tensor:
        """To a torch nested tensor of layout `torch.jagged` that shares these values."""
        return torch.nested.nested_tensor_from_jagged(self.values, self.offsets)


def take_sequences(batch: Ragged, sequences: Tensor) -> Ragged:
    """Some of the sequences of a batch, each at most once, in this order, with their resets: a copy.

    Shapes: sequences int64 [n].
    """
    layout = _layout(batch.lengths[sequences])
    rows = batch.offsets[sequences][layout.sequence_index] + layout.position
    taken = layout.replace(take_rows(batch.values, rows))
    if batch.resets is None:
        return taken
    begins = torch.zeros(batch.num_steps, dtype=torch.bool, device=rows.device).index_fill(0, batch.resets, True)
    return replace(taken, resets=begins[rows].nonzero().flatten())


def offsets_of(lengths: Tensor) -> Tensor:
    """Where sequences of these lengths begin and end, one after another. Shapes: lengths [B] -> int64 [B+1]."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(torch.int64)


def _layout(lengths: Tensor) -> Ragged:
    """Sequences of these lengths, none of them negative, whose values have no width."""
    offsets = offsets_of(lengths)
    layout = _unchecked(lengths.new_empty(int(offsets[-1]), 0), offsets, None)
    layout.__dict__["lengths"] = lengths
    return layout


def _expect_places(name: str, letter: str, places: Any, values: Tensor) -> None:
    """Check the type, shape and device of positions in `values`."""
    if not isinstance(places, Tensor):
        raise ShapeError(f"`{name}` must be int64 of shape [{letter}], got {describe(places)}.")
    if places.dim() != 1 or places.dtype != torch.int64:
        raise ShapeError(f"`{name}` must be int64 of shape [{letter}], got {places.dtype} of shape {describe(places)}.")
    if places.device != values.device:
        raise ShapeError(f"`{name}` must be on {values.device} as `values` is, got {places.device}.")


def _unchecked(values: Any, offsets: Any, resets: Any) -> Ragged:
    """A Ragged of parts that are known to fit, or of the placeholders of a tracer."""
    ragged = object.__new__(Ragged)
    for name, part in (("values", values), ("offsets", offsets), ("resets", resets)):
        object.__setattr__(ragged, name, part)
    return ragged


def _flatten(ragged: Ragged) -> tuple[list[Any], None]:
    return [ragged.values, ragged.offsets, ragged.resets], None


def _unflatten(leaves: Any, _: None) -> Ragged:
    return _unchecked(*leaves)


torch.utils._pytree.register_pytree_node(Ragged, _flatten, _unflatten, serialized_type_name="recurra.Ragged")
