"""The honest baseline of a translator: every word becomes its most frequent translation, in the order it stands.

Which word translates which is counted, not known: IBM model 1 shares each target word out among the source words of its
sentence, by how often the two have met so far, and counts again. A translator that cannot beat this has learned nothing
about sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recurra.errors import DataError

__all__ = ["WordForWord", "split_words"]

MOST_LINKS = 20_000_000  # word pairs counted at most: 8 bytes each several times over, seconds a round
WORD = re.compile(r"\w+['’]?|[^\w\s]")


def split_words(sentence: str) -> list[str]:
    """Words and punctuation marks of a sentence; an elided article keeps its apostrophe: `l'`, `homme`."""
    return WORD.findall(sentence)


class WordForWord:
    """Translate each word by itself, by the most frequent translation of IBM model 1.

    Words never seen are copied. Marks and elided words are joined to their neighbours as they mostly are in the
    sentences learned from.

    Args:
        sources: sentences to learn from.
        targets: their translations.
        rounds: of counting (expectation-maximisation).
        lowercase: learn and answer in lower case.

    Raises:
        DataError: no pair holds a word on both sides.

    Source: Brown et al. 1993, "The Mathematics of Statistical Machine Translation", section 4.1 (model 1).
    """

    def __init__(
        self, sources: Sequence[str], targets: Sequence[str], *, rounds: int = 5, lowercase: bool = False
    ) -> None:
        self.lowercase = lowercase
        source_lines = [self._words(line) for line in sources]
        target_lines = [self._words(line) for line in targets]
        self.translations = _most_frequent_translations(source_lines, target_lines, rounds)
        self._before, self._after = _spacing(line.lower() if lowercase else line for line in targets)

    def _words(self, sentence: str) -> list[str]:
        return split_words(sentence.lower() if self.lowercase else sentence)

    def __call__(self, sentence: str) -> str:
        """The translation of one sentence."""
        words = [self.translations.get(word, word) for word in self._words(sentence)]
        text = words[0] if words else ""
        for left, right in pairwise(words):
            text += " " + right if self._after.get(left, True) and self._before.get(right, True) else right
        return text


def _most_frequent_translations(
    source_lines: list[list[str]], target_lines: list[list[str]], rounds: int
) -> dict[str, str]:
    source_ids, source_words = _number(source_lines)
    target_ids, target_words = _number(target_lines)
    links, tokens = _links(source_ids, target_ids, len(target_words))
    if len(links) == 0:
        raise DataError("No pair holds a word on both sides: there is nothing to count translations from.")
    pairs, pair_of_link = np.unique(links, return_inverse=True)
    source_of_pair = pairs // len(target_words)
    probability = np.ones(len(pairs))
    for _ in range(rounds):
        share = probability[pair_of_link]
        share /= np.bincount(tokens, weights=share)[tokens]
        counts = np.bincount(pair_of_link, weights=share, minlength=len(pairs))
        probability = counts / np.bincount(source_of_pair, weights=counts)[source_of_pair]
    source_of, target_of = (np.array(words, dtype=object) for words in (source_words, target_words))
    same = source_of[source_of_pair] == target_of[pairs % len(target_words)]
    # of each source word its best translation first; among equals the same word, as for marks and names
    order = np.lexsort((~same.astype(bool), -probability.round(9), source_of_pair))
    best = order[np.unique(source_of_pair[order], return_index=True)[1]]
    return {source_words[pairs[i] // len(target_words)]: target_words[pairs[i] % len(target_words)] for i in best}


def _number(lines: list[list[str]]) -> tuple[list[NDArray[np.int64]], list[str]]:
    """Every word by its number, from 0 in order of appearance."""
    numbers: dict[str, int] = {}
    ids = [np.array([numbers.setdefault(word, len(numbers)) for word in line], dtype=np.int64) for line in lines]
    return ids, list(numbers)


def _links(
    source_ids: list[NDArray[np.int64]], target_ids: list[NDArray[np.int64]], num_targets: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every source word with every target word of its pair, as one number; and which target token it belongs to."""
    links, tokens, num_links, num_tokens = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0, 0
    for source, target in zip(source_ids, target_ids, strict=True):
        if num_links > MOST_LINKS:
            break
        links.append((source[None, :] * num_targets + target[:, None]).ravel())
        tokens.append(np.arange(num_tokens, num_tokens + len(target) * (len(source) > 0)).repeat(len(source)))
        num_links += len(links[-1])
        num_tokens += len(target) * (len(source) > 0)
    return np.concatenate(links), np.concatenate(tokens)


def _spacing(lines: Iterable[str]) -> tuple[dict[str, bool], dict[str, bool]]:
    """For each mark and each elided word whether a space mostly stands before it, and after it."""
    seen: Counter[str] = Counter()
    spaced_before: Counter[str] = Counter()
    spaced_after: Counter[str] = Counter()
    for line in lines:
        for match in WORD.finditer(line):
            word = match.group()
            if word.isalnum():
                continue  # whether a space follows a plain word is up to what follows
            seen[word] += 1
            spaced_before[word] += match.start() == 0 or line[match.start() - 1].isspace()
            spaced_after[word] += match.end() == len(line) or line[match.end()].isspace()
    before = {word: 2 * spaced_before[word] >= count for word, count in seen.items()}
    return before, {word: 2 * spaced_after[word] >= count for word, count in seen.items()}
