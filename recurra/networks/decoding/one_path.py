"""Following one path a row: what greedy decoding and sampling share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recurra.networks.decoding.constraints import Limits, log_probabilities
from recurra.networks.decoding.hypothesis import Alignment, Hypothesis, Step, hypotheses, take_step
from recurra.networks.decoding.state import device_of, full_rows, num_rows, repeat_rows, select_rows

__all__ = ["follow", "greedy"]

# (log_probs [R, V] with ruled-out tokens at minus infinity, history [R, t]) -> tokens [R]
Choose = Callable[[Tensor, Tensor], Tensor]


def greedy(
    step: Step,
    state: Any,
    *,
    bos: int | Tensor,
    eos: int,
    max_length: int | Tensor,
    min_length: int = 0,
    no_repeat_ngram: int = 0,
    forbidden: tuple[int, ...] = (),
    alignment: Alignment | None = None,
) -> list[Hypothesis]:
    """Take the most probable token at every step; the lowest id among equals.

    Args:
        step: (tokens [R], state) -> (logits [R, V], state).
        state: before the first step: any nest of tensors [B, ...], one row a sentence.
        bos: begin token, one for all or one a sentence [B]; not part of what is returned.
        eos: end token.
        max_length: tokens of a sequence at most, without the end token; one number or one a sentence [B].
        min_length: tokens at least before the end token.
        no_repeat_ngram: sequences of so many tokens never come twice; 0 rules out nothing.
        forbidden: tokens that never come.
        alignment: picks the attention weights [R, S] of the latest step from the state.

    Returns: one hypothesis a sentence; its score is the sum of its log-probabilities.

    Raises:
        DecodingError: logits are no distribution.
        ConfigError: an option has a value that cannot be.
    """
    limits = Limits(eos, max_length, min_length, no_repeat_ngram, forbidden)
    return follow(step, state, lambda log_probs, _: log_probs.argmax(1), limits, bos=bos, alignment=alignment)


@torch.no_grad()
def follow(
    step: Step,
    state: Any,
    choose: Choose,
    limits: Limits,
    *,
    bos: int | Tensor,
    alignment: Alignment | None = None,
    copies: int = 1,
) -> list[Hypothesis]:
    """Step all rows forward, each along the tokens that `choose` takes, until each has ended.

    A row that has ended leaves the batch.

    Args:
        copies: rows a sentence; they stand next to each other in what is returned.
    """
    sentences = num_rows(state)
    device = device_of(state)
    state = repeat_rows(state, copies)
    tokens = full_rows(sentences, bos, device).repeat_interleave(copies)
    longest = full_rows(sentences, limits.max_length, device).repeat_interleave(copies)
    paths = _Paths(len(tokens), int(longest.max()) + 1 if sentences else 0, limits.eos, device)
    rows = torch.arange(len(tokens), device=device)  # for each row of the batch, its row in `paths`
    t = 0
    while len(rows):
        logits, state = take_step(step, tokens, state)
        if copies > 1:  # one that has ended stays until the others have: what would come next is nothing
            logits = logits.masked_fill(~paths.running[rows][:, None], 0)
        history = paths.tokens[rows, :t]
        log_probs = limits.rule_out(log_probabilities(logits, len(rows)), history, t < longest[rows])
        tokens = choose(log_probs, history)
        paths.write(t, rows, tokens, log_probs, None if alignment is None else alignment(state))
        t += 1
        # a sentence leaves when all its copies have ended: until then it keeps all its rows
        running = paths.running[rows].view(-1, copies).any(1)
        if not running.all():
            kept = running.nonzero()[:, 0]
            places = (kept[:, None] * copies + torch.arange(copies, device=device)).flatten()
            tokens, rows, state = tokens[places], rows[places], select_rows(state, places, kept)
    return paths.finish()


class _Paths:
    """The tokens of all rows so far, with their log-probabilities and attention weights."""

    def __init__(self, num_rows: int, max_steps: int, eos: int, device: torch.device) -> None:
        self.eos = eos
        self.tokens = torch.full((num_rows, max_steps), eos, device=device)
        self.lengths = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self.running = torch.ones(num_rows, dtype=torch.bool, device=device)
        self.log_probs = torch.zeros(num_rows, max_steps, device=device)
        self.weights: Tensor | None = None

    def write(self, t: int, rows: Tensor, tokens: Tensor, log_probs: Tensor, weights: Tensor | None) -> None:
        if t == 0:
            self.log_probs = self.log_probs.to(log_probs.dtype)
            if weights is not None:
                self.weights = weights.new_zeros(*self.tokens.shape, weights.shape[1])
        chosen = log_probs.gather(1, tokens[:, None])[:, 0]
        open_rows = self.running[rows]
        self.tokens[rows, t] = torch.where(open_rows, tokens, self.eos)
        self.log_probs[rows, t] = torch.where(open_rows, chosen, 0)
        self.lengths[rows] += open_rows
        self.running[rows] = open_rows & (tokens != self.eos)
        if weights is not None and self.weights is not None:
            self.weights[rows, t] = weights

    def finish(self) -> list[Hypothesis]:
        return hypotheses(self.tokens, self.log_probs, self.lengths, self.log_probs.sum(1), self.weights)
