"""Beam search, batched over sentences: a handful of tensor operations a step, whatever the beam and the batch.

At step t every sentence has K live hypotheses of t tokens. Each is extended by every token; the K best extensions that
do not end live on, and those extensions among the K best of all that do end are finished. These are ordered by

    score(Y) = Σ log p(y_t) / lp(|Y|)       |Y| counts the end token

A sentence is done when no live hypothesis can still enter its `num_best` finished ones, or, with `early_stop`, as soon
as K hypotheses are finished and no live one has a score that would put it among those; its rows then leave the batch.
K alone would not do: a model that is sure of each token leaves room among the K best for ends that are hopeless. At
`max_length` every live hypothesis must end, so every search does. Equals are taken in a fixed order: the better-ranked
parent first, then the lower token.

Sources: Graves 2012, arXiv:1211.3711, algorithm 1, for the search; Wu et al. 2016, arXiv:1609.08144, Eq. 14, for the
penalty; Paulus et al. 2017, arXiv:1705.04304, section 2.5, for n-gram blocking.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recurra.checks import check_count, check_known, check_number
from recurra.errors import ConfigError
from recurra.networks.decoding.constraints import NEVER, Limits, log_probabilities
from recurra.networks.decoding.hypothesis import Alignment, Hypothesis, Step, hypotheses, take_step
from recurra.networks.decoding.state import device_of, full_rows, num_rows, repeat_rows, select_rows

__all__ = ["LENGTH_PENALTIES", "beam_search", "best", "length_penalty_of"]

LENGTH_PENALTIES = ("average", "none", "wu")
BLOCK = 32  # columns looked at together by `best`; about the root of 2 V / K


@torch.no_grad()
def beam_search(
    step: Step,
    state: Any,
    *,
    bos: int | Tensor,
    eos: int,
    max_length: int | Tensor,
    beam_size: int = 5,
    num_best: int = 1,
    length_penalty: str = "average",
    alpha: float = 1.0,
    early_stop: bool = True,
    min_length: int = 0,
    no_repeat_ngram: int = 0,
    forbidden: tuple[int, ...] = (),
    alignment: Alignment | None = None,
) -> list[list[Hypothesis]]:
    """Search the most probable sequences of a whole batch of sentences.

    Args:
        step: (tokens [R], state) -> (logits [R, V], state), where rows of a sentence stand next to each other.
        state: before the first step: any nest of tensors [B, ...], one row a sentence. It is repeated and reordered as
            hypotheses are; parts in `PerSentence` keep one row a sentence.
        bos: begin token, one for all or one a sentence [B]; not part of what is returned.
        eos: end token.
        max_length: tokens of a hypothesis at most, without the end token; one number or one a sentence [B].
        beam_size: K, live hypotheses a sentence.
        num_best: hypotheses returned a sentence, at most `beam_size`; fewer where fewer were finished.
        length_penalty: lp(n) of the score: `"average"` n^alpha, `"wu"` ((5 + n) / 6)^alpha, `"none"` 1.
        alpha: exponent of the penalty; larger favours longer hypotheses.
        early_stop: stop at K finished hypotheses once no live one is better than the last of the `num_best`; without it
            the search goes on while a live hypothesis could still win.
        min_length: tokens at least before the end token.
        no_repeat_ngram: sequences of so many tokens never come twice in a hypothesis; 0 rules out nothing.
        forbidden: tokens that never come.
        alignment: picks the attention weights [R, S] of the latest step from the state.

    Returns: for each sentence its hypotheses, all different, the best first.

    Raises:
        DecodingError: logits are no distribution.
        ConfigError: an option has a value that cannot be.
    """
    limits = Limits(eos, max_length, min_length, no_repeat_ngram, forbidden)
    _check(beam_size, num_best, length_penalty, alpha)
    sentences, device = num_rows(state), device_of(state)
    longest = full_rows(sentences, limits.max_length, device)
    finished = _Finished(sentences, beam_size, device)
    live = _Live.begin(full_rows(sentences, bos, device), beam_size)
    state = repeat_rows(state, beam_size)
    while len(live.sentences):
        t = live.history.shape[2]
        logits, state = take_step(step, live.tokens.flatten(), state)
        room = (t < longest[live.sentences]).repeat_interleave(beam_size)
        log_probs = log_probabilities(logits, live.tokens.numel())
        log_probs = limits.rule_out(log_probs, live.history.flatten(0, 1), room).unflatten(0, (-1, beam_size))
        weights = None if alignment is None else alignment(state).unflatten(0, (-1, beam_size))
        candidates = _extend(live, log_probs, weights, eos)
        penalty, farthest = (
            length_penalty_of(length_penalty, alpha, length.to(log_probs.dtype))
            for length in (torch.tensor(t + 1, device=device), longest[live.sentences] + 1)
        )
        finished.add(candidates, eos, penalty)
        live, parents = _go_on(candidates, eos)
        done = finished.done(live, farthest, num_best, penalty if early_stop else None)
        if not done.any():
            state = select_rows(state, parents.flatten())
            continue
        kept = (~done).nonzero()[:, 0]
        live = live.take(kept)
        state = select_rows(state, parents[kept].flatten(), kept)
    return finished.ranked(num_best)


def _check(beam_size: int, num_best: int, length_penalty: str, alpha: float) -> None:
    check_count("beam_size", beam_size)
    if check_count("num_best", num_best) > beam_size:
        raise ConfigError(f"`num_best` must lie within 1..{beam_size} (the beam size), got {num_best}.")
    check_known(length_penalty, LENGTH_PENALTIES, f"Unknown `length_penalty` `{length_penalty}`")
    check_number("alpha", alpha, least=0)


def length_penalty_of(kind: str, alpha: float, length: Tensor) -> Tensor:
    """lp(n), which a sum of log-probabilities is divided by. Shapes: length [...] -> [...]."""
    if kind == "average":
        return length**alpha
    if kind == "wu":
        return ((5 + length) / 6) ** alpha
    return torch.ones_like(length)


def best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of each row, the largest first and the lower column first among equals.

    torch.topk leaves the order among equals open and sorting whole rows is slow. Here blocks of columns are ordered by
    their largest number; the first `count` blocks hold what is looked for, and only they are sorted.

    Shapes: scores [R, V] -> values [R, n], columns int64 [R, n], n the smaller of `count` and V.
    """
    num_columns = scores.shape[1]
    count = min(count, num_columns)
    if num_columns <= 4 * BLOCK or num_columns <= 2 * count * BLOCK:
        values, columns = scores.sort(dim=1, descending=True, stable=True)
        return values[:, :count], columns[:, :count]
    whole = num_columns - num_columns % BLOCK
    tops = scores[:, :whole].unflatten(1, (-1, BLOCK)).amax(2)
    blocks = tops.sort(dim=1, descending=True, stable=True).indices[:, :count].sort(dim=1).values  # back in their order
    columns = (blocks[:, :, None] * BLOCK + torch.arange(BLOCK, device=scores.device)).flatten(1)
    rest = torch.arange(whole, num_columns, device=scores.device).expand(len(scores), -1)
    columns = torch.cat([columns, rest], 1)
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values[:, :count], columns.gather(1, order[:, :count])


@dataclass(frozen=True)
class _Live:
    """Hypotheses that go on, the best first; those of score minus infinity only fill the beam.

    Shapes: sentences [B], tokens [B, K] the latest, scores [B, K], history [B, K, t], log_probs [B, K, t],
        weights [B, K, t, S] or None.
    """

    sentences: Tensor
    tokens: Tensor
    scores: Tensor
    history: Tensor
    log_probs: Tensor
    weights: Tensor | None

    @classmethod
    def begin(cls, bos: Tensor, beam_size: int) -> _Live:
        """One hypothesis a sentence, of no tokens."""
        scores = torch.full((len(bos), beam_size), NEVER, device=bos.device)
        scores[:, 0] = 0
        tokens = bos[:, None].expand(-1, beam_size)
        history = tokens.new_zeros(*tokens.shape, 0)
        sentences = torch.arange(len(bos), device=bos.device)
        return cls(sentences, tokens, scores, history, scores.new_zeros(history.shape), None)

    def take(self, places: Tensor) -> _Live:
        """Some of the sentences."""
        fields = {name: value.index_select(0, places) for name, value in vars(self).items() if value is not None}
        return replace(self, **fields)

    def grow(self, parents: Tensor, tokens: Tensor, log_probs: Tensor, weights: Tensor | None) -> _Live:
        """Hypotheses of one more token, from the parents at these places of each sentence. Shapes: all [B, n]."""
        at = torch.arange(len(parents), device=parents.device)[:, None]
        if weights is not None:
            latest = weights[at, parents][:, :, None]
            weights = latest if self.weights is None else torch.cat([self.weights[at, parents], latest], 2)
        return replace(
            self,
            tokens=tokens,
            scores=self.scores.to(log_probs.dtype).gather(1, parents) + log_probs,
            history=torch.cat([self.history[at, parents], tokens[:, :, None]], 2),
            log_probs=torch.cat([self.log_probs.to(log_probs.dtype)[at, parents], log_probs[:, :, None]], 2),
            weights=weights,
        )


@dataclass(frozen=True)
class _Candidates:
    """The extensions worth a look, the best first. Shapes: parents, tokens, log_probs, scores [B, K * (n + 1)]."""

    live: _Live
    weights: Tensor | None
    parents: Tensor
    tokens: Tensor
    log_probs: Tensor
    scores: Tensor

    def take(self, order: Tensor) -> tuple[_Live, Tensor]:
        """Those at these places [B, n], grown, with the places of their parents [B, n]."""
        parents = self.parents.gather(1, order)
        tokens, log_probs = self.tokens.gather(1, order), self.log_probs.gather(1, order)
        return self.live.grow(parents, tokens, log_probs, self.weights), parents


def _extend(live: _Live, log_probs: Tensor, weights: Tensor | None, eos: int) -> _Candidates:
    """The K best tokens that do not end, and the end token, of every live hypothesis. Shapes: log_probs [B, K, V]."""
    batch_size, beam_size, _ = log_probs.shape
    ends = log_probs[:, :, eos].clone()
    log_probs[:, :, eos] = NEVER  # from now on it stands beside, not among, the others
    values, tokens = best(log_probs.flatten(0, 1), beam_size)
    values = torch.cat([values, ends.flatten()[:, None]], 1)
    tokens = torch.cat([tokens, torch.full_like(tokens[:, :1], eos)], 1)
    # equals in the order of their tokens; sorting by score below keeps the order among equals
    order = tokens.argsort(1)
    values, tokens = values.gather(1, order).view(batch_size, -1), tokens.gather(1, order).view(batch_size, -1)
    parents = torch.arange(beam_size, device=tokens.device).repeat_interleave(order.shape[1]).expand_as(tokens)
    scores, order = (live.scores.gather(1, parents) + values).sort(dim=1, descending=True, stable=True)
    parents, tokens, values = (rows.gather(1, order) for rows in (parents, tokens, values))
    return _Candidates(live, weights, parents, tokens, values, scores)


def _go_on(candidates: _Candidates, eos: int) -> tuple[_Live, Tensor]:
    """The K best candidates that do not end, and the row of the state that each comes from, [B, K]."""
    beam_size = candidates.live.tokens.shape[1]
    ends = candidates.tokens == eos
    order = ends.to(torch.uint8).argsort(dim=1, stable=True)[:, :beam_size]
    grown, parents = candidates.take(order)
    # too few tokens to fill the beam: what ends fills it, and never counts
    grown = replace(grown, scores=grown.scores.masked_fill(ends.gather(1, order), NEVER))
    first = torch.arange(len(parents), device=parents.device)[:, None] * beam_size
    return grown, first + parents


class _Finished:
    """Hypotheses that have ended: their scores [B, K] for deciding when to stop, and everything else step by step."""

    def __init__(self, num_sentences: int, beam_size: int, device: torch.device) -> None:
        self.scores = torch.full((num_sentences, beam_size), NEVER, device=device, dtype=torch.float64)
        self.counts = torch.zeros(num_sentences, dtype=torch.int64, device=device)
        self.found: list[list[Hypothesis]] = [[] for _ in range(num_sentences)]

    def add(self, candidates: _Candidates, eos: int, penalty: Tensor) -> None:
        """Keep the candidates that end among the K best."""
        live = candidates.live
        beam_size = live.tokens.shape[1]
        scores = candidates.scores[:, :beam_size] / penalty
        ends = (candidates.tokens[:, :beam_size] == eos) & (scores > NEVER)
        if not ends.any():
            return
        both = torch.cat([self.scores[live.sentences], scores.masked_fill(~ends, NEVER)], 1)
        self.scores[live.sentences] = both.sort(dim=1, descending=True).values[:, :beam_size]
        self.counts[live.sentences] += ends.sum(1)
        place, rank = ends.nonzero(as_tuple=True)
        grown, _ = candidates.take(torch.arange(beam_size, device=ends.device).expand_as(ends))
        tokens, log_probs = grown.history[place, rank], grown.log_probs[place, rank]
        weights = None if grown.weights is None else grown.weights[place, rank]
        lengths = torch.full_like(place, grown.history.shape[2])
        ended = hypotheses(tokens, log_probs, lengths, scores[place, rank], weights)
        for sentence, hypothesis in zip(live.sentences[place].tolist(), ended, strict=True):
            self.found[sentence].append(hypothesis)

    def done(self, live: _Live, farthest: Tensor, num_best: int, penalty: Tensor | None) -> Tensor:
        """Which sentences need no further step, bool [B]. Sums only fall and penalties only grow, which bounds them.

        Args:
            live: the hypotheses that go on.
            farthest: the penalty of the longest hypothesis that there can be.
            num_best: hypotheses that are looked for.
            penalty: that of the live ones, to stop early; None to stop once nothing can change.
        """
        worst, attainable = self.scores[live.sentences, num_best - 1], live.scores[:, 0] / farthest
        done = (worst >= attainable) | (attainable == NEVER)
        if penalty is None:
            return done
        enough = self.counts[live.sentences] >= live.tokens.shape[1]
        return done | (enough & (worst >= live.scores[:, 0] / penalty))

    def ranked(self, num_best: int) -> list[list[Hypothesis]]:
        """The best of each sentence; the earlier finished among equals."""
        return [sorted(found, key=lambda hypothesis: -hypothesis.score)[:num_best] for found in self.found]
