"""Scores: sacreBLEU's own numbers, with their signatures."""

from __future__ import annotations

import pytest

from recurra.errors import DataError
from recurra.tasks.translate import score_translations


def test_perfect_translations_score_full_marks() -> None:
    scores = score_translations(["le chat est noir ici."], ["le chat est noir ici. "])

    assert scores.bleu == pytest.approx(100)
    assert scores.chrf == pytest.approx(100)
    assert scores.exact_match == 100


def test_an_exact_match_is_of_what_a_translator_can_write() -> None:
    references = ["le chat\nest  noir", "le e\u0301te\u0301", "ici\u00a0!"]

    found = score_translations(["le chat est noir", "le \u00e9t\u00e9", "ici !"], references)

    assert found.exact_match == pytest.approx(200 / 3)  # a no-break space is a letter


def test_scores_are_sacrebleus_and_carry_its_signature() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    translations, references = ["Le chat noir est ici.", "bonjour"], ["le chat noir est là.", "bonjour"]

    mixed, lower = (score_translations(translations, references, lowercase=lowercase) for lowercase in (False, True))

    assert mixed.bleu == sacrebleu.corpus_bleu(translations, [references]).score
    assert lower.bleu == sacrebleu.corpus_bleu(translations, [references], lowercase=True).score
    assert mixed.chrf == sacrebleu.corpus_chrf(translations, [references]).score
    assert "case:mixed" in mixed.bleu_signature
    assert "case:lc" in lower.bleu_signature
    assert "tok:13a" in lower.bleu_signature
    assert (mixed.exact_match, mixed.sentences, mixed.perplexity) == (50, 2, None)


@pytest.mark.parametrize(("translations", "references"), [([], []), (["a"], ["a", "b"])])
def test_scores_need_one_reference_a_translation(translations: list[str], references: list[str]) -> None:
    with pytest.raises(DataError, match="one reference for each"):
        score_translations(translations, references)
