"""How good a translator is: on the validation part while it learns, and on files of pairs afterwards."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from recurra.data.batches import BucketedBatches
from recurra.data.readers import Pair
from recurra.errors import import_extra
from recurra.tasks.translate.config import SCORES_OF_TRANSLATIONS
from recurra.tasks.translate.examples import read_as_fitted
from recurra.tasks.translate.network import translation_loss
from recurra.tasks.translate.predict import Translator, load
from recurra.tasks.translate.scores import TranslationScores, score_translations
from recurra.training.loss import sum_losses

__all__ = ["Validation", "evaluate", "score_pairs"]

TRANSLATED_WHILE_TRAINING = 500  # sentences at most, without beam


class _Fit(NamedTuple):
    """How well references are predicted, piece by piece."""

    loss: float  # nats a piece
    accuracy: float  # part of the pieces that are the most probable ones


class Validation:
    """Scores of the validation part, for the training loop.

    Args:
        translator: the one that learns.
        pairs: the validation part.
    """

    def __init__(self, translator: Translator, pairs: Sequence[Pair]) -> None:
        self.translator = translator
        self.pairs = list(pairs)
        self.batches = _batches_of(translator, self.pairs)

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Loss, perplexity and accuracy; and scores of translations where `metric` is one of them."""
        fit = _predict_references(network, self.batches)
        scores = {"loss": fit.loss, "perplexity": math.exp(min(fit.loss, 700)), "accuracy": fit.accuracy}
        config = self.translator.config
        if config.metric in SCORES_OF_TRANSLATIONS:
            sample = self.pairs[:TRANSLATED_WHILE_TRAINING]
            translations = self.translator([pair.source for pair in sample], beam=1)
            found = score_translations(translations, [pair.target for pair in sample], lowercase=config.lowercase)
            scores |= {name: getattr(found, name) for name in SCORES_OF_TRANSLATIONS}
        return scores


def evaluate(
    translator: Translator | str | os.PathLike[str],
    *paths: str | os.PathLike[str],
    source_column: str | None = None,
    target_column: str | None = None,
    beam: int | None = None,
    lowercase: bool | None = None,
    on_bad: Literal["error", "skip"] = "error",
) -> TranslationScores:
    """Score a translator on files of sentence pairs.

    Args:
        translator: from `fit` or `load`, or the folder of its run.
        paths: one file of pairs or two parallel files.
        source_column: see `TranslateConfig`; where none is given, the translator's own.
        target_column: likewise.
        beam: candidates in the running at each step; the translator's own where not given.
        lowercase: compare in lower case; where not given, as the translator writes.
        on_bad: what to do about lines that cannot be used: refuse the file, or leave them out.

    Raises:
        RunError: there is no such run.
        DataError: a file cannot be used.
        MissingExtra: sacrebleu is not installed.
    """
    import_extra("sacrebleu", "text")  # missed before the translating, not after
    if not isinstance(translator, Translator):
        translator = load(translator)
    pairs = read_as_fitted(
        list(paths), translator.config, source_column=source_column, target_column=target_column, on_bad=on_bad
    )
    return score_pairs(translator, pairs, beam=beam, lowercase=lowercase)


def score_pairs(
    translator: Translator, pairs: Sequence[Pair], *, beam: int | None = None, lowercase: bool | None = None
) -> TranslationScores:
    """Translate the sources of some pairs, and score against their targets."""
    translations = translator([pair.source for pair in pairs], beam=beam)
    fit = _predict_references(translator.network, _batches_of(translator, pairs))
    scores = score_translations(
        translations,
        [pair.target for pair in pairs],
        lowercase=translator.config.lowercase if lowercase is None else lowercase,
    )
    return scores.model_copy(update={"perplexity": math.exp(min(fit.loss, 700))})


def _batches_of(translator: Translator, pairs: Sequence[Pair]) -> BucketedBatches:
    # four times the pieces of a training batch: there are no gradients to keep
    budget = 4 * translator.config.batch_tokens
    return BucketedBatches(translator.vocabularies.encode(pairs), budget=budget, length_noise=0.0)


@torch.no_grad()
def _predict_references(network: nn.Module, batches: BucketedBatches) -> _Fit:
    network.eval()
    device = next(network.parameters()).device
    loss = translation_loss(label_smoothing=0.0)
    sums = sum_losses(loss(network, batches.load(item).to(device)) for item in batches.plan(0))
    return _Fit(sums["total"] / sums["count"], sums["accuracy"] / sums["count"])
