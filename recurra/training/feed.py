"""The way of the data through training: epochs of items, items of windows of time, and where we are among them.

The position is three numbers, (epoch, item, window), because a source makes its plan from the epoch alone. Under
truncated BPTT the state that is carried from window to window belongs to the position too. A checkpoint holds both, so
a resumed run reads on at the very window where the killed one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from recurra.errors import ConfigError, DataError, RunError
from recurra.training.bptt import Carry, Truncation, cut_time, num_steps_of
from recurra.training.distributed import Group, shares_of
from recurra.training.loss import BatchSource, Loss, Objective, StatefulObjective, check_loss

__all__ = ["Feed", "Piece"]


@dataclass(frozen=True)
class Piece:
    """What goes forward and backward at once: a batch, or a window of time of one.

    Args:
        compute: from the model to the loss; once only, as it carries the state on.
        is_last: whether the update is complete with it.
    """

    compute: Callable[[nn.Module], Loss]
    is_last: bool


@dataclass
class _Batch:
    """The item that is being worked on: this process's share of it, and the windows that all processes go through."""

    data: Any
    is_share: bool  # if not, this process has nothing of it and only keeps the others company
    num_steps: int
    longest: int  # num_steps of the process that has most
    num_windows: int


class Feed:
    """Pieces in order, from any position on.

    Args:
        source: where batches come from.
        objective: their loss.
        group: the processes that share each batch.
        truncation: k1 and k2 of truncated BPTT; None: full BPTT, a batch is one window.
        accumulate: pieces of an update.
    """

    def __init__(
        self,
        source: BatchSource,
        objective: Objective | StatefulObjective,
        group: Group,
        truncation: Truncation | None,
        accumulate: int,
    ) -> None:
        self.source, self.objective, self.group = source, objective, group
        self.truncation, self.accumulate = truncation, accumulate
        self.epoch = self.item = self.window = 0
        self.carry = Carry(0, None)
        self._batch: _Batch | None = None
        self._plan: tuple[int, Sequence[Any]] | None = None

    @property
    def plan(self) -> Sequence[Any]:
        """The items of the present epoch."""
        if self._plan is None or self._plan[0] != self.epoch:
            items = self.source.plan(self.epoch)
            if len(items) == 0:
                raise DataError(f"There is nothing to train on: the plan of epoch {self.epoch} has no batches.")
            self._plan = (self.epoch, items)
        return self._plan[1]

    @property
    def is_between_batches(self) -> bool:
        """Whether nothing is carried from one window to the next just now."""
        return self.window == 0

    def next_update(self) -> Iterator[Piece]:
        """The pieces of one update: `accumulate` of them, fewer where the epoch ends."""
        for number in range(1, self.accumulate + 1):
            batch = self._open()
            ends_epoch = self.item + 1 == len(self.plan) and self.window + 1 == batch.num_windows
            yield Piece(self._compute, is_last=number == self.accumulate or ends_epoch)
            self._advance(batch)
            if ends_epoch:
                return

    def peek(self, model: nn.Module) -> None:
        """Run a model on the piece that comes next, and stay where we are."""
        carry = self.carry
        try:
            self._compute(model)
        finally:
            self.carry = carry

    def _advance(self, batch: _Batch) -> None:
        self.window += 1
        if self.window < batch.num_windows:
            return
        self.item, self.window, self.carry, self._batch = self.item + 1, 0, Carry(0, None), None
        if self.item == len(self.plan):
            self.epoch, self.item = self.epoch + 1, 0

    def _open(self) -> _Batch:
        """The present batch, loaded where it is not."""
        if self._batch is None:
            item = self.plan[self.item]
            share = shares_of(self.source, item, self.group.size)[self.group.rank]
            data = self._load(item if share is None else share)
            self._batch = _Batch(data, share is not None, *self._sizes(data))
        return self._batch

    def _sizes(self, data: Any) -> tuple[int, int, int]:
        if self.truncation is None:
            return 1, 1, 1
        num_steps = num_steps_of(data)
        longest = self.group.maximum(num_steps)
        if longest == 0:
            raise DataError(f"Batch {self.item} of epoch {self.epoch} has no time steps; leave it out.")
        return num_steps, longest, self.truncation.count(longest)

    def _load(self, item: Any) -> Any:
        batch, device = self.source.load(item), self.group.device
        if hasattr(batch, "to"):
            return batch.to(device)
        return tree_map(lambda leaf: leaf.to(device) if isinstance(leaf, Tensor) else leaf, batch)

    def _compute(self, model: nn.Module) -> Loss:
        batch = self._open()
        if self.truncation is None:
            loss = check_loss(cast(Objective, self.objective)(model, batch.data))
            return loss if batch.is_share else loss.muted()
        if self.window >= self.truncation.count(batch.num_steps):  # others have longer sequences
            (loss, *_), _, _ = self.truncation.run(self._step(model), 0, max(1, batch.num_steps), Carry(0, None))
            return loss.muted()
        losses, _, self.carry = self.truncation.run(
            self._step(model), self.window, batch.num_steps, self.carry, longest=batch.longest
        )
        loss = losses[0] if len(losses) == 1 else losses[0] + losses[1]
        return loss if batch.is_share else loss.muted()

    def _step(self, model: nn.Module) -> Callable[[int, int, Any], tuple[Loss, Any]]:
        objective, data = cast(StatefulObjective, self.objective), self._open().data

        def step(begin: int, end: int, state: Any) -> tuple[Loss, Any]:
            result = objective(model, cut_time(data, begin, end), state)
            if not isinstance(result, tuple) or len(result) != 2:
                raise ConfigError(
                    f"With `k1` the objective must return the pair (Loss, state), got a {type(result).__name__}."
                )
            return check_loss(result[0]), result[1]

        return step

    # --- the checkpoint ------------------------------------------------------------------------------------------

    def memory(self) -> dict[str, int]:
        """The position, as a checkpoint holds it; k1 and k2, where there are any, say which steps a window has."""
        position = {"epoch": self.epoch, "item": self.item, "window": self.window, "plan_length": len(self.plan)}
        return position | ({} if self.truncation is None else asdict(self.truncation))

    def carried(self) -> dict[str, Tensor]:
        """What this process carries to the next window: its time, and the tensors of the state by number."""
        leaves = tree_flatten(self.carry.state)[0]
        state = {f"state.{number}": leaf for number, leaf in enumerate(leaves) if isinstance(leaf, Tensor)}
        return {"time": torch.tensor(self.carry.time), **state}

    def restore(self, memory: Mapping[str, int], carried: Mapping[str, Tensor], model: nn.Module) -> None:
        """Go to a position. Random numbers are drawn; the model is run and may change its buffers.

        Raises:
            RunError: the data or the truncation are not those of the saved run.
        """
        self.epoch, self.item, self.window = memory["epoch"], memory["item"], memory["window"]
        if len(self.plan) != memory["plan_length"]:
            raise RunError(
                f"The run cannot be resumed with other data: epoch {self.epoch} has {len(self.plan)} batches now and "
                f"had {memory['plan_length']}; give the same data and the same batch options."
            )
        if self.is_between_batches:
            return
        batch = self._open()
        if self.truncation is None or self._cuts_otherwise(memory) or self.window >= batch.num_windows:
            raise RunError("The run was stopped inside a long batch; resume it with the same `k1` and `k2`.")
        has_state = len(carried) > 1
        self.carry = Carry(int(carried["time"]), self._state_like_this(carried, model) if has_state else None)

    def _cuts_otherwise(self, memory: Mapping[str, int]) -> bool:
        assert self.truncation is not None
        # checkpoints of before do not say their k1 and k2
        return any(memory.get(name, value) != value for name, value in asdict(self.truncation).items())

    def _state_like_this(self, carried: Mapping[str, Tensor], model: nn.Module) -> Any:
        """Tensors as a state: what type of state it is, a first window tells."""
        assert self.truncation is not None
        with torch.no_grad():
            end = min(self.truncation.k1, self._open().num_steps)
            _, example = self._step(model)(0, end, None)
        leaves, structure = tree_flatten(example)
        leaves = [
            carried[f"state.{number}"].to(leaf.device) if isinstance(leaf, Tensor) else leaf
            for number, leaf in enumerate(leaves)
        ]
        return tree_unflatten(leaves, structure)
