"""How good translations are: BLEU and chrF by sacreBLEU, with their signatures, and exact match."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from recurra.errors import DataError, import_extra

__all__ = ["TranslationScores", "score_translations"]

BLANKS = re.compile("[ \t\n\r\x0b\x0c\x85\u2028\u2029]+")


class TranslationScores(BaseModel):
    """Scores of a set of translations; each field says its scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bleu: float = Field(description="BLEU, 0 to 100, of the whole set.")
    bleu_signature: str = Field(description="How sacreBLEU counted it.")
    chrf: float = Field(description="chrF, 0 to 100: like BLEU over characters, kinder to small differences.")
    chrf_signature: str = Field(description="How sacreBLEU counted it.")
    exact_match: float = Field(description="Percent of translations equal to the reference; blanks count as one space.")
    sentences: int = Field(description="How many translations were scored.")
    perplexity: float | None = Field(
        default=None,
        description="Of the network on the references, a token of its vocabulary: 1 is certainty; nothing where no "
        "network was asked. Networks of other vocabularies cannot be compared by it.",
    )


def score_translations(
    translations: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> TranslationScores:
    """Score translations against one reference each.

    Args:
        translations: what was said.
        references: what should have been said, in the same order.
        lowercase: compare in lower case (the signature says so: `case:lc`).

    Raises:
        DataError: there is nothing to score, or not one reference a translation.
        MissingExtra: sacrebleu is not installed.
    """
    if not translations or len(translations) != len(references):
        raise DataError(
            f"Scores need one reference for each translation, at least one: got {len(translations)} translations and "
            f"{len(references)} references."
        )
    metrics = import_extra("sacrebleu.metrics", "text")
    bleu, chrf = metrics.BLEU(lowercase=lowercase), metrics.CHRF(lowercase=lowercase)
    bleu_score = bleu.corpus_score(list(translations), [list(references)]).score
    chrf_score = chrf.corpus_score(list(translations), [list(references)]).score
    same = sum(_plain(a, lowercase) == _plain(b, lowercase) for a, b in zip(translations, references, strict=True))
    return TranslationScores(
        bleu=bleu_score,
        bleu_signature=str(bleu.get_signature()),
        chrf=chrf_score,
        chrf_signature=str(chrf.get_signature()),
        exact_match=100 * same / len(references),
        sentences=len(references),
    )


def _plain(text: str, lowercase: bool) -> str:
    """A text as a translator can write it: composed letters, and one space for blanks, but for no-break spaces."""
    return BLANKS.sub(" ", unicodedata.normalize("NFC", text.lower() if lowercase else text)).strip()
