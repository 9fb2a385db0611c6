"""Set phrases, the people they are said to, and the ways of typing them.

A phrase stands in held-out combinations by its French: "hello" and "good morning" are one there, so that no French
sentence is on both sides. Phrases that go on in many ways stand there by their beginning. Phrases and people count as
seen together where one is said to the other, not where both merely occur.
"""

import re
from dataclasses import dataclass

from .frames import Draw, Sentence, after, said
from .grammar.noun_phrases import Link
from .lexicon import people

Addressee = tuple[str, str]
_NAMES: tuple[Addressee, ...] = tuple((name.en, name.fr) for name in people.NAMES)
_BEFORE_A_NAME = ("bonjour", "bonsoir", "salut")  # no comma: "Bonjour Marie !", and "Merci, Marie."
_BEGINNINGS = (
    *("à vos souhaits", "à ", "appelez-", "bienvenue", "bonne chance", "c'est à", "comment dit-on", "d'où vient"),
    *("félicitations", "je m'appelle", "merci pour", "merci beaucoup pour", "montrez-", "parlez-vous", "que veut dire"),
    *("pouvez-vous répéter", "quel âge", "quelle", "que c'est", "suivez-"),
    *("vous me manquez", "vous nous manquez"),
)
_EVERYONE: Addressee = ("everyone", "tous")
_WORLD: Addressee = ("world", "le monde")
ADDRESSEES: dict[str, tuple[Addressee, ...]] = {
    "n": _NAMES,
    "c": (("my friend", "mon ami"), ("my friends", "mes amis"), ("children", "les enfants")),
    "p": (
        ("sir", "monsieur"),
        ("madam", "madame"),
        ("doctor", "docteur"),
        ("ladies", "mesdames"),
        ("gentlemen", "messieurs"),
        ("ladies and gentlemen", "mesdames et messieurs"),
    ),
    "e": (_EVERYONE,),
    "w": (_WORLD,),
}


_HURRIED = 5  # words of the longest sentence that is typed without marks


@dataclass(frozen=True, slots=True)
class Phrase:
    """A set phrase without its mark.

    Attributes:
        marks: those that it may end with, the most natural first.
        said_to: whom it may be said to: n(ames), c(lose ones), p(olite titles), e(veryone), the w(orld).
        links: the combinations in it.
        stem: the French that stands for it in combinations, when someone or something was added.
    """

    en: str
    fr: str
    marks: str = "."
    said_to: str = ""
    links: tuple[Link, ...] = ()
    stem: str = ""

    @property
    def lemma(self) -> str:
        """The name of this phrase in held-out combinations."""
        return self.stem or next((text for text in _BEGINNINGS if self.fr.startswith(text)), self.fr).rstrip()

    def to(self, d: Draw) -> "Phrase":
        """The phrase with someone who is spoken to; a name more often than not."""
        kind = "n" if "n" in self.said_to and d.chance(0.55) else d.pick(self.said_to)
        return self.to_whom(d.pick(ADDRESSEES[kind]))

    def to_whom(self, who: Addressee) -> "Phrase":
        """ "Bonjour Marie", "Merci, Marie", "Bonjour, monsieur", "Bonjour à tous", "Bonjour le monde"."""
        if who is _EVERYONE:
            fr = f"{self.fr} à {who[1]}"
        elif who in (*_NAMES, _WORLD) and self.fr in _BEFORE_A_NAME:
            fr = f"{self.fr} {who[1]}"
        else:
            fr = f"{self.fr}, {who[1]}"
        return Phrase(f"{self.en}, {who[0]}", fr, self.marks, "", (*self.links, (self.lemma, who[0])), self.lemma)

    def maybe_to(self, d: Draw, probability: float = 0.5) -> "Phrase":
        """The phrase alone or with someone."""
        return self.to(d) if self.said_to and d.chance(probability) else self

    def followed_by(self, other: "Phrase") -> "Phrase":
        """Two phrases with a comma between them: "Merci, à demain"."""
        links = (*self.links, *other.links, (self.lemma, other.lemma))
        return Phrase(f"{self.en}, {other.en}", f"{self.fr}, {other.fr}", other.marks, "", links, self.lemma)

    def then(self, d: Draw, other: "Phrase") -> Sentence:
        """Two phrases as two sentences: "Bonjour Paul ! Comment ça va ?"."""
        first = said(self.en, self.fr, d.pick(self.marks), self.links)
        second = said(other.en, other.fr, d.pick(other.marks), (*other.links, (self.lemma, other.lemma)))
        return in_any_form(d, after(first, second))

    def typed(self, d: Draw, proper: bool = False) -> Sentence:
        """As a sentence, in any form; see `in_any_form`."""
        return in_any_form(d, said(self.en, self.fr, d.pick(self.marks), self.links), proper)


def plain(row: Sentence, capitals: bool = False) -> Sentence:
    """Without marks and, unless `capitals` stay, in lower case, as one types in a hurry: "hello paul"."""
    source, target = (re.sub(r" ?[,.?!]", "", text) for text in (row.source, row.target))
    if not capitals:
        source, target = source.lower(), target.lower()
    return Sentence(source, target, row.links, row.theme, row.frame)


def in_any_form(d: Draw, row: Sentence, proper: bool = False) -> Sentence:
    """The sentence or, one time in three if it is short, without marks.

    `proper` is for the names of places and languages, which keep their capitals.
    """
    if len(row.source.split()) > _HURRIED or d.chance(2 / 3):
        return row
    one_sentence = not re.search("[.?!] ", row.source)
    return plain(row, capitals=proper or (d.chance(1 / 3) and one_sentence))
