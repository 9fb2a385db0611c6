"""English spelling and inflection: plurals, verb forms, a/an, sentence case."""

import re
from dataclasses import dataclass

# spelled with a vowel and said with a consonant: "a university", "a one-way ticket"
_CONSONANT_SOUND = re.compile(r"(uni|use|euro|one)", re.IGNORECASE)
_SILENT_H = re.compile(r"(hour|honest|heir)", re.IGNORECASE)


def plural(noun: str) -> str:
    """The regular plural of a noun; irregular ones stand in the lexicon."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"


@dataclass(frozen=True, slots=True)
class EnglishVerb:
    """The five forms of a verb, and the words that follow it ("up", "to") as `tail`."""

    base: str
    third: str
    past: str
    participle: str
    gerund: str
    tail: str = ""


def verb(entry: str) -> EnglishVerb:
    """Reads `clean`, `listen to`, `buy/bought` or `get/got/got/getting up`, and fills in the regular forms."""
    head, _, tail = entry.partition(" ")
    base, *given = head.split("/")
    past = given[0] if given else _past(base)
    participle = given[1] if len(given) > 1 else past
    gerund = given[2] if len(given) > 2 else _gerund(base)
    third = {"be": "is", "have": "has"}.get(base) or _third(base)
    return EnglishVerb(base, third, past, participle, gerund, tail)


def _third(base: str) -> str:
    if re.search(r"(s|x|z|ch|sh|o)$", base):
        return base + "es"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ies"
    return base + "s"


def _past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ied"
    return base + "ed"


def _gerund(base: str) -> str:
    if base.endswith("e") and not base.endswith(("ee", "be")):
        return base[:-1] + "ing"
    return base + "ing"


def begins_with_vowel_sound(word: str) -> bool:
    """Whether the word takes "an"."""
    if _SILENT_H.match(word):
        return True
    return word[0].lower() in "aeiou" and not _CONSONANT_SOUND.match(word)


def comparative(adjective: str) -> str:
    """`fast` -> `faster`, `big` -> `bigger`, `happy` -> `happier`, `expensive` -> `more expensive`."""
    if re.fullmatch(r"[^aeiou]+[aeiou][^aeiouwy]", adjective):
        return adjective + adjective[-1] + "er"
    if adjective.endswith("y") and len(adjective) <= 6:
        return adjective[:-1] + "ier"
    if len(re.findall(r"[aeiouy]+", adjective.removesuffix("e"))) == 1:
        return adjective.removesuffix("e") + "er"
    return "more " + adjective


def finish(text: str, end: str) -> str:
    """The sentence with its articles, its capital and its punctuation mark."""

    def article(match: re.Match[str]) -> str:
        return "an " if begins_with_vowel_sound(match[1]) else "a "

    text = re.sub(r"(?<![\w-])a (?=(\w+))", article, text)
    return text[0].upper() + text[1:] + end
