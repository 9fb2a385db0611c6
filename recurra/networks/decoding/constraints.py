"""What may come next: checked log-probabilities, and the tokens that are ruled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recurra.checks import check_count
from recurra.errors import ConfigError, DecodingError, ShapeError
from recurra.shapes import describe

__all__ = ["NEVER", "Limits", "log_probabilities", "repeated_ngrams"]

NEVER = float("-inf")
LAST_RESORT = -1e30  # the log-probability of an end that the step ruled out, when nothing else is left


@dataclass(frozen=True)
class Limits:
    """Which tokens may follow, for all ways of decoding.

    Args:
        eos: the end token.
        max_length: tokens of a sequence at most, the end token not counted; one number or one a sentence [B].
        min_length: tokens at least before the end token.
        no_repeat_ngram: sequences of so many tokens never come twice in a hypothesis; 0 rules out nothing.
        forbidden: tokens that never come, such as padding or the unknown word.
    """

    eos: int
    max_length: int | Tensor
    min_length: int = 0
    no_repeat_ngram: int = 0
    forbidden: Sequence[int] = ()

    def __post_init__(self) -> None:
        longest = torch.as_tensor(self.max_length)
        if longest.is_floating_point() or (longest.numel() and int(longest.min()) < 0):
            raise ConfigError(f"`max_length` must be whole numbers of at least 0, got {longest.tolist()}.")
        for name in ("min_length", "no_repeat_ngram", "eos"):
            check_count(name, getattr(self, name), least=0)
        if longest.numel() and self.min_length > int(longest.min()):
            raise ConfigError(f"`min_length` must be at most `max_length`={int(longest.min())}, got {self.min_length}.")
        if any(token < 0 for token in self.forbidden):
            raise ConfigError(f"`forbidden` must hold tokens of at least 0, got {list(self.forbidden)}.")
        if self.eos in self.forbidden:
            raise ConfigError(f"`forbidden` must not hold the end token {self.eos}: nothing would ever end.")

    def rule_out(self, log_probs: Tensor, history: Tensor, room: Tensor) -> Tensor:
        """Log-probabilities where ruled-out tokens are minus infinity; written into `log_probs`.

        Where nothing else is left to a hypothesis, the end token may come, even before `min_length` and even where the
        step itself gave it minus infinity (then with a log-probability of -1e30), so that every hypothesis ends.

        Shapes: log_probs [R, V], history [R, t] the tokens so far, room bool [R] False where max_length is reached.
        """
        highest = max((self.eos, *self.forbidden))
        if highest >= log_probs.shape[1]:
            raise ConfigError(f"Token {highest} is not among the V={log_probs.shape[1]} tokens of the step's logits.")
        end = log_probs[:, self.eos].clone()
        log_probs[:, [*self.forbidden, self.eos]] = NEVER
        if not room.all():
            log_probs.masked_fill_(~room[:, None], NEVER)
        if self.no_repeat_ngram:
            _rule_out_ngrams(log_probs, history, self.no_repeat_ngram)
        early = history.shape[1] < self.min_length
        if early or (end == NEVER).any():
            others = log_probs.amax(1) > NEVER
            end = torch.where(others, torch.full_like(end, NEVER) if early else end, end.clamp(min=LAST_RESORT))
        log_probs[:, self.eos] = end
        return log_probs


def log_probabilities(logits: Tensor, rows: int) -> Tensor:
    """Natural logarithms of the probabilities, in memory of their own.

    Shapes: logits [R, V] -> [R, V], float32 at least.

    Raises:
        ShapeError: logits have another shape.
        DecodingError: a row holds a NaN or plus infinity, or nothing but minus infinity.
    """
    if logits.dim() != 2 or len(logits) != rows:
        raise ShapeError(f"The step must return logits of shape [R={rows}, V], got {describe(logits)}.")
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    log_probs = wide.log_softmax(-1)
    # one bad number makes the whole row NaN, so one column tells
    bad = log_probs[:, 0].isnan()
    if bad.any():
        raise DecodingError(
            f"The step returned logits of {int(bad.sum())} of {rows} hypotheses that are no distribution: "
            "NaN, plus infinity, or minus infinity alone; has the training diverged?"
        )
    return log_probs


def repeated_ngrams(history: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which next tokens would complete a sequence of `size` tokens that a row holds already.

    Shapes: history [R, t] -> tokens [R, t - size + 1], and bool of the same shape: True where that token is ruled out.
    """
    num_windows = history.shape[1] - size + 1
    if num_windows < 1:
        return history[:, :0], history[:, :0].bool()
    windows = history.unfold(1, size, 1)  # [R, number of windows, size]
    latest = history[:, history.shape[1] - size + 1 :]
    return windows[:, :, -1], (windows[:, :, :-1] == latest[:, None]).all(-1)


def _rule_out_ngrams(log_probs: Tensor, history: Tensor, size: int) -> None:
    tokens, ruled_out = repeated_ngrams(history, size)
    if tokens.shape[1] == 0:
        return
    row, window = ruled_out.nonzero(as_tuple=True)
    log_probs[row, tokens[row, window]] = NEVER
