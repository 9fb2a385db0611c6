"""Which combinations of content words are kept for the test.

A combination is two content words that grammar ties together: a verb and its object, an adjective and its noun, a
number and what it counts. Its hash alone decides, so a combination never straddles the two parts, whatever the seed,
the frame, the tense or the number. The two words, in this very form, are seen in training in other combinations; a
training sentence that shows both by chance, without a tie ("the old museum near the church"), is left out.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from hashlib import blake2b

from recurra.data.samples.english_french.frames import Sentence
from recurra.data.samples.english_french.grammar.noun_phrases import Link
from recurra.data.samples.english_french.grammar.words import Noun, Verb
from recurra.data.samples.english_french.lexicon import people, places, things, verbs

_SHARE = 0.05  # of all combinations; sentences have one to three, so about one sentence in sixteen is held out
# these tie to almost every noun or adjective, so that a combination with them asks for nothing new
_FUNCTION_WORDS = frozenset(
    (
        "I",
        "you",
        "he",
        "she",
        "we",
        "they",
        "be",
        "have",
        "need",
        "cost",
        "there",
        "here",
        "where",
        "what",
        "who",
        "why",
    )
).union(("when", "how", "how many", "day", "way", "name", "whose", "old", "years", "à qui"))


@cache
def is_held_out(link: Link) -> bool:
    """Whether the combination is kept for the test. blake2b, for `hash()` differs from process to process."""
    if not _FUNCTION_WORDS.isdisjoint(link):
        return False
    digest = blake2b("\t".join(sorted(link)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < _SHARE * 2**32


@cache
def _lemmas_by_form() -> dict[str, tuple[str, ...]]:
    """Every form of the nouns and verbs of the lexicon; all other words are their own and only form."""
    lemmas: defaultdict[str, set[str]] = defaultdict(set)
    for module in (people, places, things, verbs):
        for value in vars(module).values():
            for word in value if isinstance(value, tuple) else (value,):
                if isinstance(word, Noun):
                    lemmas[word.en].add(word.lemma)
                    lemmas[word.en_plural].add(word.lemma)
                elif isinstance(word, Verb):
                    for form in (word.en.base, word.en.third, word.en.past, word.en.participle, word.en.gerund):
                        lemmas[f"{form} {word.en.tail}".strip()].add(word.lemma)
    return {form: tuple(sorted(found)) for form, found in lemmas.items()}


def shown_words(source: str) -> Iterator[str]:
    """The words that the text shows, by their lemmas; words of up to three parts, "ice cream", are found too."""
    known = _lemmas_by_form()
    tokens = source.translate(str.maketrans("", "", ".,?!")).split()
    for start in range(len(tokens)):
        for end in range(start + 1, min(start + 3, len(tokens)) + 1):
            form = " ".join(tokens[start:end])
            yield form
            yield from known.get(form, ())
            yield from known.get(form.lower(), ())  # the first word of a sentence


def without(train: Iterable[Sentence], held_out: Iterable[Sentence]) -> list[Sentence]:
    """The training sentences that do not show the two words of a held-out combination, tied or not."""
    partners: defaultdict[str, set[str]] = defaultdict(set)
    for row in held_out:
        for one, other in filter(is_held_out, row.links):
            partners[one].add(other)
            partners[other].add(one)
    kept = []
    for row in train:
        shown = {word for word in shown_words(row.source) if word in partners}
        if all(partners[word].isdisjoint(shown) for word in shown):
            kept.append(row)
    return kept
