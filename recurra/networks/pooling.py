"""Pooling: from all steps of a sequence to one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.checks import check_choice, check_count, check_known
from recurra.networks.attention import masked_softmax
from recurra.ragged import Ragged

__all__ = ["POOLINGS", "AttentionPooling", "Pooling", "make_pooling"]

POOLINGS = ("attention", "last", "max", "mean")


class Pooling(nn.Module):
    """Last step, mean or maximum of every sequence; a sequence of no steps gives zeros.

    Shapes: outputs Ragged with values [N, O] -> [B, O]; of images [N, O, height, width] -> [B, O, height, width].

    Args:
        kind: `"last"`, `"mean"` or `"max"`. The last step of a bidirectional network is, for the backward half, the
            first step of the sequence: where each direction ends.
        num_directions: 2 where the outputs are those of two directions side by side.

    Raises:
        ConfigError: the kind is unknown.
    """

    def __init__(self, kind: str, num_directions: int = 1) -> None:
        super().__init__()
        self.kind = check_choice("kind", kind, ("last", "max", "mean"))
        self.num_directions = num_directions

    def forward(self, outputs: Ragged) -> Tensor:
        """Shapes: outputs.values [N, O, ...] -> [B, O, ...]."""
        some = outputs.lengths > 0
        if self.kind == "last":
            return self._last(outputs, some)
        if self.kind == "mean":
            sums = outputs.to_padded().sum(0)
            return sums / _beside(outputs.lengths.clamp(min=1), sums)
        if outputs.max_length == 0:
            return outputs.values.new_zeros(outputs.batch_size, *outputs.values.shape[1:])
        lowest = torch.finfo(outputs.values.dtype).min
        largest = outputs.to_padded(value=lowest).amax(0)
        return largest * _beside(some, largest)

    def _last(self, outputs: Ragged, some: Tensor) -> Tensor:
        last = outputs.offsets[1:][some] - 1
        pooled = outputs.values[last]
        if self.num_directions == 2:
            size = outputs.values.shape[1] // 2
            first = outputs.offsets[:-1][some]
            pooled = torch.cat([pooled[:, :size], outputs.values[first, size:]], 1)
        places = some.nonzero()[:, 0]
        return pooled.new_zeros(outputs.batch_size, *pooled.shape[1:]).index_copy(0, places, pooled)

    def extra_repr(self) -> str:
        """The kind, for `print`."""
        return f"kind={self.kind!r}"


def _beside(numbers: Tensor, values: Tensor) -> Tensor:
    """One number a sequence, to go with all of its values. Shapes: numbers [B], values [B, ...] -> [B, 1, ...]."""
    return numbers.view(-1, *[1] * (values.dim() - 1))


class AttentionPooling(nn.Module):
    """A mean whose weights are learned: each step is compared with a vector that stands for "what matters".

        u_t = tanh(W h_t + b)
        a_t = softmax over t of u_t · q
        y = Σ a_t h_t

    Shapes: outputs Ragged with values [N, O] -> [B, O]; a sequence of no steps gives zeros.

    Args:
        size: O.

    Raises:
        ConfigError: the size is no whole number of at least 1.

    Source: Yang et al. 2016, "Hierarchical Attention Networks for Document Classification", N16-1174, Eqs. 5-7.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(check_count("size", size), size)
        self.query = nn.Parameter(torch.empty(size))
        nn.init.uniform_(self.query, -(size**-0.5), size**-0.5)

    def forward(self, outputs: Ragged) -> Tensor:
        """Shapes: outputs.values [N, O] -> [B, O]."""
        weights = self.weights(outputs)
        return torch.bmm(weights[:, None], outputs.to_padded(batch_first=True))[:, 0]

    def weights(self, outputs: Ragged) -> Tensor:
        """How much each step counts. Shapes: outputs.values [N, O] -> [B, T]."""
        scores = torch.tanh(self.project(outputs.values)) @ self.query
        return masked_softmax(outputs.replace(scores).to_padded(batch_first=True), outputs.mask())


def make_pooling(kind: str, size: int, num_directions: int) -> nn.Module:
    """The pooling of that name.

    Raises:
        ConfigError: there is none.
    """
    check_known(kind, POOLINGS, f"Unknown pooling `{kind}`")
    return AttentionPooling(size) if kind == "attention" else Pooling(kind, num_directions)
