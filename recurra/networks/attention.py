"""Attention: every query looks over a memory and takes a weighted mean of it.

All kinds share one way of working. `prepare` turns a memory of sequences into `Memory` once: what queries are compared
with (keys), what is averaged (values), and which steps exist. Calling the attention with queries and that memory gives
the context of each query and its weights. A decoder that goes step by step prepares once and projects no memory again.

    attention = GeneralAttention(query_size=256, memory_size=512)
    memory = attention.prepare(encoded)                    # Ragged, or [B, S, M] with lengths
    context, weights = attention(queries, memory)          # Ragged, or [B, T, H]

A sequence of no steps gives a context of zeros; what stands in padding is never read, not even a NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from recurra.checks import check_count, check_number
from recurra.engine.products import linear
from recurra.errors import ConfigError, ShapeError
from recurra.ragged import WHOLE_NUMBERS, Ragged
from recurra.shapes import describe, length_mask

__all__ = [
    "AdditiveAttention",
    "Attention",
    "DotAttention",
    "GeneralAttention",
    "Memory",
    "MultiHeadAttention",
    "masked_softmax",
]

Queries = TypeVar("Queries", Tensor, Ragged)
Lengths = Tensor | Sequence[int] | None


class Memory(NamedTuple):
    """A memory made ready for queries.

    Shapes: keys [B, S, ...] what a query is compared with, values [B, S, ...] what is averaged, mask bool [B, S] True
        on the steps that exist. Keys and values are zeros elsewhere or depend on zeros alone.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor


class Attention(nn.Module):
    """The base of all kinds: a kind says how keys are made and how queries are scored against them.

    Attributes:
        query_size: H, the size of one query.
        memory_size: M, the size of one step of the memory.
        context_size: the size of one context; M except for multi-head attention.
        averages_memory: whether a context is the mean of the values under the weights returned, also of values that
            were put beside them; not so for multi-head attention.
    """

    averages_memory: ClassVar[bool] = True

    def __init__(self, query_size: int, memory_size: int) -> None:
        super().__init__()
        self.query_size = check_count("query_size", query_size)
        self.memory_size = self.context_size = check_count("memory_size", memory_size)

    def prepare(self, memory: Ragged | Tensor, lengths: Lengths = None) -> Memory:
        """Make a memory ready: project it once, note which steps exist.

        Shapes: memory Ragged with values [N, M], or [B, S, M] with lengths [B] (None: all S) -> keys and
            values [B, S, ...].
        """
        clean, mask = _clean(memory, lengths, self.memory_size)
        return Memory(self.keys(clean), self.values(clean), mask)

    def forward(
        self, queries: Queries, memory: Memory | Ragged | Tensor, lengths: Lengths = None
    ) -> tuple[Queries, Tensor]:
        """Look over the memory, once for every query.

        Shapes: queries Ragged with values [N, H], or [B, T, H] -> context Ragged with values [N, M], or [B, T, M];
            weights [B, T, S], rows of which sum to 1, or are 0 where the memory is empty or the query is padding of a
            Ragged.

        Args:
            queries: what looks.
            memory: what is looked at: prepared, Ragged, or padded [B, S, M] with `lengths`.
            lengths: steps of each padded memory, [B].

        Raises:
            ShapeError: sizes or numbers of sequences do not fit.
        """
        if isinstance(memory, Memory) and lengths is not None:
            raise ShapeError("`lengths` belong to a padded memory: a prepared one carries its own.")
        ready = memory if isinstance(memory, Memory) else self.prepare(memory, lengths)
        if not isinstance(queries, Ragged):
            self._check_queries(queries, ready, ("B", "T"))
            return self._attend(queries, ready)
        self._check_queries(queries.values, ready, ("N",), queries.batch_size)
        context, weights = self._attend(queries.to_padded(batch_first=True), ready)
        weights = weights * queries.mask()[:, :, None]
        return queries.replace(Ragged.from_padded(context, queries.lengths, batch_first=True).values), weights

    def keys(self, memory: Tensor) -> Tensor:
        """What a query is compared with. Shapes: memory [B, S, M] -> [B, S, ...]."""
        return memory

    def values(self, memory: Tensor) -> Tensor:
        """What is averaged. Shapes: memory [B, S, M] -> [B, S, ...]."""
        return memory

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """How well each query fits each key. Shapes: queries [B, T, H], keys [B, S, ...] -> [B, T, S]."""
        raise NotImplementedError

    def _attend(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        weights = masked_softmax(self.score(queries, memory.keys), memory.mask[:, None, :])
        return torch.bmm(weights, memory.values), weights

    def _check_queries(
        self, queries: Tensor, memory: Memory, letters: tuple[str, ...], count: int | None = None
    ) -> None:
        if queries.dim() != len(letters) + 1 or queries.shape[-1] != self.query_size:
            raise ShapeError(
                f"`queries` must have shape [{', '.join(letters)}, H={self.query_size}], got {describe(queries)}."
            )
        count = len(queries) if count is None else count
        if count != len(memory.mask):
            raise ShapeError(f"`queries` hold {count} sequences and `memory` {len(memory.mask)}: they must be as many.")

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        return f"query_size={self.query_size}, memory_size={self.memory_size}"


class DotAttention(Attention):
    """A query is compared with each step of the memory by their inner product.

        score(h, m) = h · m · scale

    Args:
        query_size: H = M, numbers of a query and of a step of the memory.
        scale: factor of the scores; 1 in the paper, 1/sqrt(H) keeps their spread at any size.

    Source: Luong et al. 2015, arXiv:1508.04025, Eq. 8 ("dot").
    """

    def __init__(self, query_size: int, *, scale: float = 1.0) -> None:
        super().__init__(query_size, query_size)
        self.scale = check_number("scale", scale)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Shapes: queries [B, T, H], keys [B, S, H] -> [B, T, S]."""
        return torch.bmm(queries * self.scale, keys.transpose(1, 2))


class GeneralAttention(Attention):
    """A query is compared with each step of the memory through a matrix.

        score(h, m) = h · W m · scale

    Args:
        query_size: H, numbers of a query.
        memory_size: M, numbers of a step of the memory.
        scale: factor of the scores; 1 in the paper.

    Attributes:
        weight: W [H, M].

    Source: Luong et al. 2015, arXiv:1508.04025, Eq. 8 ("general").
    """

    def __init__(self, query_size: int, memory_size: int, *, scale: float = 1.0) -> None:
        super().__init__(query_size, memory_size)
        self.scale = check_number("scale", scale)
        self.weight = nn.Parameter(torch.empty(query_size, memory_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the matrix anew, uniform within ±1/sqrt(M)."""
        nn.init.uniform_(self.weight, -1 / math.sqrt(self.memory_size), 1 / math.sqrt(self.memory_size))

    def keys(self, memory: Tensor) -> Tensor:
        """Shapes: memory [B, S, M] -> W m, [B, S, H]."""
        return linear(memory, self.weight)

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Shapes: queries [B, T, H], keys [B, S, H] -> [B, T, S]."""
        return torch.bmm(queries * self.scale, keys.transpose(1, 2))


class AdditiveAttention(Attention):
    """A query is compared with each step of the memory by a small network of one hidden layer.

        score(h, m) = v · tanh(W h + U m + b)

    Holds a number for each query, step and unit at once, [B, T, S, A]: dear for long sequences.

    Args:
        query_size: H, numbers of a query.
        memory_size: M, numbers of a step of the memory.
        size: A, units of the hidden layer; H where not given.

    Attributes:
        query: W [A, H].
        memory: U [A, M] and b [A].
        weight: v [A].

    Source: Bahdanau et al. 2014, arXiv:1409.0473, appendix A.1.2, where b is not written.
    """

    def __init__(self, query_size: int, memory_size: int, *, size: int | None = None) -> None:
        super().__init__(query_size, memory_size)
        self.size = query_size if size is None else check_count("size", size)
        self.query = nn.Linear(query_size, self.size, bias=False)
        self.memory = nn.Linear(memory_size, self.size)
        self.weight = nn.Parameter(torch.empty(self.size))
        self._draw_weight()

    def reset_parameters(self) -> None:
        """Draw all weights anew, the two layers as torch does and v uniform within ±1/sqrt(A)."""
        self.query.reset_parameters()
        self.memory.reset_parameters()
        self._draw_weight()

    def _draw_weight(self) -> None:
        nn.init.uniform_(self.weight, -1 / math.sqrt(self.size), 1 / math.sqrt(self.size))

    def keys(self, memory: Tensor) -> Tensor:
        """Shapes: memory [B, S, M] -> U m + b, [B, S, A]."""
        keys: Tensor = self.memory(memory)
        return keys

    def score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Shapes: queries [B, T, H], keys [B, S, A] -> [B, T, S]."""
        pairs = self.query(queries)[:, :, None] + keys[:, None]  # [B, T, S, A]
        return torch.tanh(pairs) @ self.weight


class MultiHeadAttention(Attention):
    """Several small attentions side by side, each with its own projection of queries and memory.

        head_k = softmax((Q_k h + q_k) · (K_k m + k_k) / sqrt(E/K)) (V_k m + v_k)
        context = O [head_1 .. head_K] + o

    The weights returned are the mean over heads. Parameters are named and laid out as in torch.nn.MultiheadAttention
    with a `kdim` of its own, whose state_dict loads.

    Args:
        query_size: E = H, numbers of a query and of a context; a multiple of `num_heads`.
        memory_size: M, numbers of a step of the memory.
        num_heads: K.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2, with torch's biases.
    """

    averages_memory = False

    def __init__(self, query_size: int, memory_size: int, *, num_heads: int = 8) -> None:
        super().__init__(query_size, memory_size)
        if query_size % check_count("num_heads", num_heads):
            raise ConfigError(f"`num_heads` must divide the size of a query, {query_size}, got {num_heads}.")
        self.num_heads = num_heads
        self.context_size = query_size
        self.q_proj_weight = nn.Parameter(torch.empty(query_size, query_size))
        self.k_proj_weight = nn.Parameter(torch.empty(query_size, memory_size))
        self.v_proj_weight = nn.Parameter(torch.empty(query_size, memory_size))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * query_size))  # of queries, keys, values
        self.out_proj = nn.Linear(query_size, query_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew, as torch does."""
        for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.in_proj_bias)
        self.out_proj.reset_parameters()
        nn.init.zeros_(self.out_proj.bias)

    def keys(self, memory: Tensor) -> Tensor:
        """Shapes: memory [B, S, M] -> [B, S, E]."""
        return linear(memory, self.k_proj_weight, self.in_proj_bias.chunk(3)[1])

    def values(self, memory: Tensor) -> Tensor:
        """Shapes: memory [B, S, M] -> [B, S, E]."""
        return linear(memory, self.v_proj_weight, self.in_proj_bias.chunk(3)[2])

    def _attend(self, queries: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        q = self._heads(linear(queries, self.q_proj_weight, self.in_proj_bias.chunk(3)[0]))
        k, v = self._heads(memory.keys), self._heads(memory.values)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])  # [B, K, T, S]
        weights = masked_softmax(scores, memory.mask[:, None, None, :])
        context = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        # without a memory there is nothing to say, not even a bias
        context = context * memory.mask.any(1)[:, None, None]
        return context, weights.mean(1)

    def _heads(self, rows: Tensor) -> Tensor:
        heads: Tensor = rows.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # [B, K, T, E/K]
        return heads

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        return f"{super().extra_repr()}, num_heads={self.num_heads}"


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension among the places where `mask` is True; zeros elsewhere, and where none is.

    Shapes: scores [..., S], mask bool that broadcasts to it -> [..., S].
    """
    lowest = torch.finfo(scores.dtype).min  # not -inf: a row without a place must not become NaN
    return scores.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0)


def _clean(memory: Ragged | Tensor, lengths: Lengths, size: int) -> tuple[Tensor, Tensor]:
    """The padded memory with zeros in its padding, and its mask."""
    if isinstance(memory, Ragged):
        if lengths is not None:
            raise ShapeError("`lengths` belong to a padded memory: a Ragged carries its own.")
        if memory.values.dim() != 2 or memory.values.shape[1] != size:
            raise ShapeError(f"`memory.values` must have shape [N, M={size}], got {describe(memory.values)}.")
        return memory.to_padded(batch_first=True), memory.mask()
    if memory.dim() != 3 or memory.shape[2] != size:
        raise ShapeError(f"`memory` must be a Ragged or have shape [B, S, M={size}], got {describe(memory)}.")
    batch_size, num_steps = memory.shape[:2]
    if lengths is None:
        return memory, torch.ones(batch_size, num_steps, dtype=torch.bool, device=memory.device)
    steps = torch.as_tensor(lengths, device=memory.device)
    fits = steps.shape == (batch_size,) and (steps.dtype in WHOLE_NUMBERS or not batch_size)  # [] is of floats
    if not fits or (batch_size and (steps.min() < 0 or steps.max() > num_steps)):
        raise ShapeError(f"`lengths` must be {batch_size} whole numbers within 0..{num_steps}, got {steps.tolist()}.")
    mask = length_mask(steps, num_steps)
    return memory.masked_fill(~mask[:, :, None], 0), mask
