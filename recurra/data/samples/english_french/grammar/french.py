"""French spelling and inflection: elision, contraction, plurals, feminines.

A word whose h is aspirated is written with a star, as dictionaries do: `*héros`, `*haricot`. The star blocks elision
and liaison ("le héros", "ce héros", "le vieux héros") and is taken away by `finish`. `*huit` and `*onze` carry it too.
"""

import re

_VOWELS = "aàâeéèêëiîïoôuùûœ"
_ELIDED = re.compile(r"(?<![\w'-])(je|me|se|le|la|de|ne|que|ce) (?=([*\w]+))")


def elides(word: str) -> bool:
    """Whether the word before loses its vowel: true for a vowel, a mute h, and the pronoun y."""
    return word == "y" or word[0].lower() in _VOWELS + "h"


def plural(word: str) -> str:
    """The regular plural of a noun or of a masculine adjective; irregular ones stand in the lexicon."""
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith("eau"):
        return word + "x"
    if word.endswith("al"):
        return word[:-2] + "aux"
    return word + "s"


_FEMININES = (
    ("e", "e"),
    ("er", "ère"),
    ("eux", "euse"),
    ("f", "ve"),
    ("on", "onne"),
    ("en", "enne"),
    ("el", "elle"),
    ("teur", "trice"),
    ("eur", "euse"),
    ("", "e"),
)


def feminine(masculine: str) -> str:
    """The regular feminine of an adjective or of the name of a job."""
    for ending, replacement in _FEMININES:
        if masculine.endswith(ending):
            return masculine[: len(masculine) - len(ending)] + replacement
    raise AssertionError("the last ending is empty and always matches")


def participle(base: str, gender: str, plural: bool) -> str:
    """A past participle in agreement: `arrivé` -> `arrivées`; `pris` does not double its s."""
    word = base + ("e" if gender == "f" else "")
    return word + ("s" if plural and not word.endswith("s") else "")


_CONTRACTIONS = {("à", "le"): "au", ("à", "les"): "aux", ("de", "le"): "du", ("de", "les"): "des"}


def contract(preposition: str, phrase: str) -> str:
    """`à` or `de` before a noun phrase: au, aux, du, des; "à l'hôpital" stays whole because le elides first."""
    first, _, rest = phrase.partition(" ")
    contracted = _CONTRACTIONS.get((preposition, first))
    if contracted and not (first == "le" and elides(rest)):
        return f"{contracted} {rest}"
    return f"{preposition} {phrase}"


def _elide(match: re.Match[str]) -> str:
    return match[1][:-1] + "'" if elides(match[2]) else match[0]


def finish(text: str, end: str) -> str:
    """The sentence with elisions, its capital and its mark.

    French puts a thin or non-breaking space before ? ! : and ;. Here it is an ordinary space (U+0020), so that
    splitting on spaces is all a simple tokenizer needs.
    """
    text = _ELIDED.sub(_elide, text)
    text = re.sub(r"\b([Ss])i (?=ils?\b)", r"\1'", text).replace("*", "")
    return text[0].upper() + text[1:] + (f" {end}" if end in "?!" else end)
