"""Sampling: drawing tokens from the distribution, sharpened or cut as asked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.checks import check_count, check_number
from recurra.errors import ConfigError
from recurra.networks.decoding.constraints import NEVER, Limits
from recurra.networks.decoding.hypothesis import Alignment, Hypothesis, Step
from recurra.networks.decoding.one_path import follow

__all__ = ["keep_nucleus", "keep_top", "penalise_repetition", "sample"]


def sample(
    step: Step,
    state: Any,
    *,
    bos: int | Tensor,
    eos: int,
    max_length: int | Tensor,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    min_length: int = 0,
    no_repeat_ngram: int = 0,
    forbidden: tuple[int, ...] = (),
    alignment: Alignment | None = None,
) -> list[list[Hypothesis]]:
    """Draw sequences token by token.

    The order of work on the log-probabilities: ruled-out tokens, repetition penalty, temperature, top-k, nucleus.

    Args:
        step: (tokens [R], state) -> (logits [R, V], state).
        state: before the first step: any nest of tensors [B, ...], one row a sentence.
        bos: begin token, one for all or one a sentence [B].
        eos: end token.
        max_length: tokens of a sequence at most, without the end token; one number or one a sentence [B].
        temperature: logits are divided by it: below 1 sharper, above 1 flatter. For 0 there is `greedy`.
        top_k: only so many most probable tokens can be drawn; 0 keeps all.
        top_p: only the fewest tokens that together have at least this probability can be drawn; 1 keeps all.
        repetition_penalty: above 1 makes tokens that came already less probable, 1 leaves them.
        num_samples: sequences a sentence.
        generator: random numbers; torch's own where not given.
        min_length: tokens at least before the end token.
        no_repeat_ngram: sequences of so many tokens never come twice; 0 rules out nothing.
        forbidden: tokens that never come.
        alignment: picks the attention weights [R, S] of the latest step from the state.

    Returns: `num_samples` hypotheses for each sentence, in the order they were drawn. Log-probabilities are those of
        the step, before temperature and cuts, so that samples drawn in different ways compare.

    Raises:
        DecodingError: logits are no distribution.
        ConfigError: an option has a value that cannot be.

    Source: top-k: Fan et al. 2018, arXiv:1805.04833, section 5.4. Nucleus: Holtzman et al. 2019, arXiv:1904.09751,
        section 3.1. Repetition penalty: Keskar et al. 2019, arXiv:1909.05858, section 4.1.
    """
    limits = Limits(eos, max_length, min_length, no_repeat_ngram, forbidden)
    _check(temperature, top_k, top_p, repetition_penalty, num_samples)

    def choose(log_probs: Tensor, history: Tensor) -> Tensor:
        scores = penalise_repetition(log_probs, history, repetition_penalty)
        # the largest becomes 0, which no temperature moves; tiny, lest one that is too small for the dtype be 0
        scores = (scores - scores.amax(1, keepdim=True)) / max(temperature, torch.finfo(scores.dtype).tiny)
        scores = keep_nucleus(keep_top(scores, top_k), top_p)
        return torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]

    found = follow(step, state, choose, limits, bos=bos, alignment=alignment, copies=num_samples)
    return [found[start : start + num_samples] for start in range(0, len(found), num_samples)]


def _check(temperature: float, top_k: int, top_p: float, repetition_penalty: float, num_samples: int) -> None:
    if temperature == 0:
        raise ConfigError("`temperature` must be a number above 0, got 0; the most probable is `greedy`.")
    check_number("temperature", temperature, above=0)
    check_count("top_k", top_k, least=0)
    if check_number("top_p", top_p, above=0) > 1:
        raise ConfigError(f"`top_p` must be above 0 and at most 1, got {top_p}.")
    if repetition_penalty == float("inf"):
        raise ConfigError("`repetition_penalty` must be finite, got inf; `no_repeat_ngram=1` rules repetition out.")
    check_number("repetition_penalty", repetition_penalty, above=0)
    check_count("num_samples", num_samples)


def keep_top(scores: Tensor, top_k: int) -> Tensor:
    """Minus infinity for all but the `top_k` largest of each row; 0 keeps all. Those equal to the last stay too.

    Shapes: scores [R, V] -> [R, V].
    """
    if top_k == 0 or top_k >= scores.shape[1]:
        return scores
    last = scores.topk(top_k, dim=1).values[:, -1:]
    return scores.masked_fill(scores < last, NEVER)


def keep_nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Minus infinity for all but the fewest tokens whose probabilities, the largest first, sum to at least `top_p`.

    Shapes: scores [R, V], up to a constant logarithms of probabilities -> [R, V].
    """
    if top_p == 1:
        return scores
    ordered, tokens = scores.sort(dim=1, descending=True, stable=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(1) - probabilities  # of all that are more probable
    return scores.masked_fill((before >= top_p).gather(1, tokens.argsort(1)), NEVER)


def penalise_repetition(scores: Tensor, history: Tensor, penalty: float) -> Tensor:
    """Scores of tokens that came already: negative ones times the penalty, positive ones divided by it.

    Log-probabilities are never positive, so for them it is the product: the form does not depend on a constant that
    logits may carry.

    Shapes: scores [R, V], history [R, t] -> [R, V].
    """
    if penalty == 1 or history.shape[1] == 0:
        return scores
    seen = scores.gather(1, history)
    return scores.scatter(1, history, torch.where(seen < 0, seen * penalty, seen / penalty))
