"""The state of a decoder as decoding sees it: any nest of tensors whose rows are hypotheses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from recurra.errors import ShapeError

__all__ = ["PerSentence", "device_of", "full_rows", "num_rows", "repeat_rows", "select_rows"]


@dataclass(frozen=True, eq=False)
class PerSentence:
    """Marks a part of the state that all hypotheses of a sentence share, such as what the encoder remembers.

    Its tensors have one row a sentence, [B, ...], however many hypotheses there are, so a beam of five keeps one copy.
    Hypotheses of a sentence stand next to each other: rows [R, ...] of the rest of the state are [B, R/B, ...].
    """

    value: Any


def _is_shared(node: Any) -> bool:
    return isinstance(node, PerSentence)


def _map(function: Callable[[Tensor], Tensor], tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def _map_state(own: Callable[[Tensor], Tensor], shared: Callable[[Tensor], Tensor], state: Any) -> Any:
    def visit(node: Any) -> Any:
        if _is_shared(node):
            return PerSentence(_map(shared, node.value))
        return own(node) if isinstance(node, Tensor) else node

    return pytree.tree_map(visit, state, is_leaf=_is_shared)


def num_rows(state: Any) -> int:
    """B, the sentences of a state that no hypothesis has been repeated in yet.

    Raises:
        ShapeError: the state holds no tensor, or tensors of different numbers of rows.
    """
    sizes = {len(leaf) if leaf.dim() else -1 for leaf in _tensors(state)}
    if len(sizes) != 1 or -1 in sizes:
        raise ShapeError(f"Every tensor of the state must have one row a sentence, got rows {sorted(sizes)}.")
    return sizes.pop()


def _tensors(state: Any) -> list[Tensor]:
    nodes = [node.value if _is_shared(node) else node for node in pytree.tree_leaves(state, is_leaf=_is_shared)]
    return [leaf for leaf in pytree.tree_leaves(nodes) if isinstance(leaf, Tensor)]


def repeat_rows(state: Any, times: int) -> Any:
    """Every row `times` times, one copy after the other. Shapes: [B, ...] -> [B * times, ...]."""
    if times == 1:
        return state
    return _map_state(lambda leaf: leaf.repeat_interleave(times, 0), lambda leaf: leaf, state)


def select_rows(state: Any, rows: Tensor, sentences: Tensor | None = None) -> Any:
    """Rows of a state, in a new order.

    Shapes: rows int64 [R'], sentences int64 [B'] or None where all sentences stay -> [R', ...], shared parts [B', ...].
    """

    def shared(leaf: Tensor) -> Tensor:
        return leaf if sentences is None else leaf.index_select(0, sentences)

    return _map_state(lambda leaf: leaf.index_select(0, rows), shared, state)


def full_rows(count: int, value: int | Tensor, device: torch.device) -> Tensor:
    """One whole number a sentence, int64 [B], from one number for all or one for each."""
    numbers = torch.as_tensor(value, device=device)
    if numbers.is_floating_point() or numbers.dim() > 1 or (numbers.dim() == 1 and len(numbers) != count):
        raise ShapeError(f"Expected one whole number, or one for each of {count} sentences, got {numbers.tolist()}.")
    return numbers.to(torch.int64).expand(count)


def device_of(state: Any) -> torch.device:
    """Where the state lives."""
    return _tensors(state)[0].device
