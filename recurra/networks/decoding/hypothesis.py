"""What decoding returns, and how rows of tensors become it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from recurra.errors import ShapeError
from recurra.shapes import describe

__all__ = ["Alignment", "Hypothesis", "Step", "hypotheses", "take_step"]

# (tokens [R] int64, state) -> (logits [R, V], state)
Step = Callable[[Tensor, Any], tuple[Tensor, Any]]

# the state after a step -> attention weights of that step [R, S]
Alignment = Callable[[Any], Tensor]


class Hypothesis(NamedTuple):
    """One decoded sequence.

    Attributes:
        tokens: ids, without the begin and the end token.
        score: what hypotheses are ordered by: the sum of `log_probs`, divided by the length penalty in a beam search.
        log_probs: natural logarithm of the probability that the step gave each token, and last the end token: one more
            than `tokens`. A sequence that reaches its maximum length ends there, with what its end token then costs.
        alignment: attention weights of each token and of the end token, [len(log_probs), S]; None where none are asked.
    """

    tokens: list[int]
    score: float
    log_probs: list[float]
    alignment: Tensor | None = None


def hypotheses(
    tokens: Tensor, log_probs: Tensor, lengths: Tensor, scores: Tensor, alignments: Tensor | None
) -> list[Hypothesis]:
    """One hypothesis a row.

    Shapes: tokens [R, T] int64 with the end token, log_probs [R, T], lengths [R] counting the end token, scores [R],
        alignments [R, T, S].
    """
    rows = zip(tokens.tolist(), log_probs.tolist(), lengths.tolist(), scores.tolist(), strict=True)
    return [
        Hypothesis(ids[: length - 1], score, logs[:length], None if alignments is None else alignments[row, :length])
        for row, (ids, logs, length, score) in enumerate(rows)
    ]


def take_step(step: Step, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
    """One step of a decoder, (logits, state).

    Raises:
        ShapeError: it returns no pair.
    """
    result = step(tokens, state)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ShapeError(f"The step must return the pair (logits, state), got {describe(result)}.")
    return result
