"""Backpropagation through time, truncated.

Full BPTT is what autograd does by itself. Truncated BPTT(k1, k2) cuts it for long sequences: after every `k1` steps the
losses of these steps flow back through the last `k2` steps, no further; the state goes on, its history does not.
`k2 = k1` is the usual form; a larger k2 lets every loss, also that of a window's first step, see at least k2 - k1
steps back.

    k1 = 2, k2 = 4      steps   0 1 2 3 4 5 6 7
    window 1            losses  * *
    window 2            losses  . . * *            . steps run again, gradient only
    window 3            losses      . . * *
    window 4            losses          . . * *

With k2 > k1 the steps before a window run again, from a state kept for that, which costs k2 / k1 forward passes. To
keep their graph instead would save that, but it dies as soon as an optimiser changes the weights between windows, and
that is what one does.

Source: Williams & Peng 1990, "An efficient gradient-based algorithm for on-line training of recurrent network
trajectories", Neural Computation 2(4), where it is BPTT(h; h') with h = k2, h' = k1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from recurra.errors import ConfigError, ShapeError
from recurra.ragged import Ragged, offsets_of, take_rows

__all__ = ["Carry", "Truncation", "Window", "cut_time", "detach", "join_time", "num_steps_of", "truncated_bptt"]

Result = TypeVar("Result")
Steps = TypeVar("Steps", Tensor, Ragged)


class Window(NamedTuple):
    """The steps `start` to `stop` (exclusive): outputs whose graph reaches k2 steps back, the state after."""

    start: int
    stop: int
    outputs: Any
    state: Any


class Carry(NamedTuple):
    """What one window leaves to the next: the detached state before step `time`, where the next will begin to run."""

    time: int
    state: Any


@dataclass(frozen=True)
class Truncation:
    """k1 and k2: steps between two backward passes, and steps that a gradient flows back.

    Raises:
        ConfigError: not 1 <= k1 <= k2.
    """

    k1: int
    k2: int

    def __post_init__(self) -> None:
        if not 1 <= self.k1 <= self.k2:
            raise ConfigError(
                f"Truncated BPTT needs 1 <= `k1` <= `k2`, got k1={self.k1} and k2={self.k2}: "
                "losses of k1 steps must flow back through these steps at least."
            )

    def count(self, num_steps: int) -> int:
        """Windows of a sequence."""
        return -(-num_steps // self.k1)

    def _begin(self, index: int, longest: int) -> int:
        """The step to which the losses of a window flow back, on the grid of k1.

        A last window that is cut short reaches back no further for that: a sequence does not feel the longer ones
        beside it in its batch.
        """
        return 0 if self.k2 >= longest else max(0, (index + 1) * self.k1 - self.k2)

    def run(
        self,
        step: Callable[[int, int, Any], tuple[Result, Any]],
        index: int,
        num_steps: int,
        carry: Carry,
        *,
        longest: int | None = None,
    ) -> tuple[list[Result], Any, Carry]:
        """Run window `index` of a sequence.

        Args:
            step: runs the steps from `begin` to `end` on a state; gives a result and the next state.
            index: which window, from 0; windows run in order.
            num_steps: T, of the whole sequence.
            carry: what the window before left; `Carry(0, initial state)` for the first.
            longest: T of the longest sequence, where this is only a part of a batch.

        Returns: the results of the window's own steps, in one piece or two; the state after; what to carry on.
        """
        start, stop = index * self.k1, min((index + 1) * self.k1, num_steps)
        next_begin = min(self._begin(index + 1, num_steps if longest is None else longest), stop)
        results, state, kept = [], carry.state, carry
        # the run is cut where the losses begin and where the next window will need a state
        for begin, end in pairwise(sorted({carry.time, start, next_begin, stop})):
            result, state = step(begin, end, state)
            if begin >= start:
                results.append(result)
            if end == next_begin:
                kept = Carry(end, detach(state))
        return results, state, kept


def truncated_bptt(
    network: Callable[[Any, Any], tuple[Any, Any]],
    x: Tensor | Ragged,
    *,
    k1: int,
    k2: int | None = None,
    state: Any = None,
) -> Iterator[Window]:
    """Run a network over time window by window, for truncated BPTT in a loop of your own.

        for window in truncated_bptt(network, x, k1=20, k2=40):
            loss = loss_of(window.outputs, cut_time(y, window.start, window.stop))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    The gradients of a window are those of its own losses through the last k2 steps. Without `zero_grad` they add up
    over windows; with k2 >= T the sum is that of full BPTT.

    Shapes: x [T, B, ...] or Ragged; outputs of a window the same with `stop - start` steps.

    Args:
        network: `network(x, state) -> (outputs, state)`; state is any pytree of tensors, None at the start.
        x: the whole sequences, time first. Sequences of different lengths come as a Ragged: one that has ended is
            empty in later windows, and its state rests.
        k1: steps between two backward passes.
        k2: steps that a gradient flows back, at least k1; k1 where not given.
        state: before the first step. It is not detached, so that a leaf that requires a gradient receives it.

    Returns: an iterator of `Window`.

    Raises:
        ConfigError: not 1 <= k1 <= k2.
    """
    truncation = Truncation(k1, k1 if k2 is None else k2)
    return _windows(network, x, truncation, Carry(0, state))


def _windows(
    network: Callable[[Any, Any], tuple[Any, Any]], x: Tensor | Ragged, truncation: Truncation, carry: Carry
) -> Iterator[Window]:
    num_steps = num_steps_of(x)

    def step(begin: int, end: int, state: Any) -> tuple[Any, Any]:
        return network(cut_time(x, begin, end), state)

    for index in range(truncation.count(num_steps)):
        pieces, state, carry = truncation.run(step, index, num_steps, carry)
        start = index * truncation.k1
        outputs = pieces[0] if len(pieces) == 1 else join_time(pieces)
        yield Window(start, min(start + truncation.k1, num_steps), outputs, detach(state))


def detach(state: Any) -> Any:
    """The same numbers without their history; `state` is any pytree of tensors."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, state)


# --- time of a batch ---------------------------------------------------------------------------------------------


def num_steps_of(batch: Any) -> int:
    """T of a batch: of a Ragged its longest sequence, of a tensor its first size, of a tuple or dict what all share.

    A batch of another type says it itself: it has `num_steps` and `window(start, stop)`.

    Raises:
        ShapeError: the parts differ, or one has no time.
    """
    if isinstance(batch, Ragged):
        return batch.max_length
    if isinstance(batch, Tensor):
        if batch.dim() < 2:
            raise ShapeError(
                f"A sequence must have shape [T, B, ...], got {list(batch.shape)}; lengths go into a Ragged."
            )
        return batch.shape[0]
    if isinstance(batch, (tuple, list, dict)):
        sizes = {num_steps_of(part) for part in _parts(batch)}
        if len(sizes) != 1:
            raise ShapeError(f"All parts of a batch must have the same steps to be cut in time, got {sorted(sizes)}.")
        return sizes.pop()
    if hasattr(batch, "window") and hasattr(batch, "num_steps"):
        return int(batch.num_steps)
    raise ShapeError(
        f"A {type(batch).__name__} cannot be cut in time: use a tensor [T, B, ...], a Ragged, a tuple or dict of them, "
        "or give it `num_steps` and `window(start, stop)`."
    )


def cut_time(batch: Any, start: int, stop: int) -> Any:
    """The steps `start` to `stop` (exclusive) of a tensor [T, B, ...], a Ragged, or a tuple, list or dict of them.

    What has a method `window(start, stop)` is asked for them.
    """
    if isinstance(batch, Ragged):
        return _cut_ragged(batch, start, stop)
    if isinstance(batch, Tensor):
        return batch[start:stop]
    if isinstance(batch, dict):
        return {name: cut_time(part, start, stop) for name, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        parts = [cut_time(part, start, stop) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch.window(start, stop)


def _parts(batch: Any) -> list[Any]:
    return list(batch.values()) if isinstance(batch, dict) else list(batch)


def _cut_ragged(x: Ragged, start: int, stop: int) -> Ragged:
    inside = (x.position >= start) & (x.position < stop)
    lengths = x.lengths.clamp(start, stop) - start
    resets = None
    if x.resets is not None:
        new_rows = inside.cumsum(0) - 1
        resets = new_rows[x.resets[inside[x.resets]]]
    return Ragged(take_rows(x.values, inside.nonzero().flatten()), offsets_of(lengths), resets)


def join_time(pieces: list[Steps]) -> Steps:
    """Pieces of time one after another; the inverse of cutting. Resets are not kept: outputs need none."""
    first = pieces[0]
    if isinstance(first, Tensor):
        return torch.cat(pieces)
    order = torch.cat([piece.sequence_index for piece in pieces]).argsort(stable=True)
    values = torch.cat([piece.values for piece in pieces])
    lengths = torch.stack([piece.lengths for piece in pieces]).sum(0)
    return Ragged(take_rows(values, order), offsets_of(lengths))
