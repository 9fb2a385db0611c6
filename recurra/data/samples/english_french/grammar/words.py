"""What the lexicon is made of: nouns, adjectives, subjects and verbs, each in both languages."""

from dataclasses import dataclass

from . import english, french
from .conjugation import IL, ILS, NOUS, FrenchVerb, conjugate


@dataclass(frozen=True, slots=True)
class Noun:
    """A noun that translates one to one. `mass` nouns are not counted: some bread, du pain."""

    en: str
    en_plural: str
    fr: str
    fr_plural: str
    gender: str
    mass: bool = False

    @property
    def lemma(self) -> str:
        """The name of this noun in held-out combinations."""
        return self.en


@dataclass(frozen=True, slots=True)
class Adjective:
    """An adjective with its four French forms; `before_vowel` is bel, nouvel, vieil; `first`: it precedes its noun."""

    en: str
    masculine: str
    feminine: str
    masculine_plural: str
    feminine_plural: str
    before_vowel: str
    first: bool

    @property
    def lemma(self) -> str:
        """The name of this adjective in held-out combinations."""
        return self.en

    def agree(self, gender: str, plural: bool) -> str:
        """The form after être, or after a noun."""
        if gender == "f":
            return self.feminine_plural if plural else self.feminine
        return self.masculine_plural if plural else self.masculine


@dataclass(frozen=True, slots=True)
class Subject:
    """Who acts: a pronoun or a person with a name. `person` is JE ... ILS; `my` and `mon` key the possessives.

    I and you are masculine singular, we and they masculine plural: with that rule English fixes the French.
    """

    en: str
    fr: str
    person: int
    gender: str
    owner: str
    lemma: str = ""

    @property
    def plural(self) -> bool:
        """Whether adjectives and participles take an s; you is one person here."""
        return self.person in (NOUS, ILS)

    @property
    def singular_verb(self) -> bool:
        """Whether English says "eats"."""
        return self.person == IL

    @property
    def is_pronoun(self) -> bool:
        """Whether French can invert it: voulez-vous, a-t-elle."""
        return not self.lemma


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb with its object's preposition. A `stative` verb has no progressive, and its past is an imparfait."""

    en: english.EnglishVerb
    fr: FrenchVerb
    preposition: str = ""
    stative: bool = False

    @property
    def lemma(self) -> str:
        """The name of this verb in held-out combinations."""
        return f"{self.en.base} {self.en.tail}".strip()


def noun(row: str, mass: bool = False) -> Noun:
    """Reads `apple: pomme f` or `knife/knives: couteau/couteaux m`."""
    en, _, rest = row.partition(":")
    fr, _, gender = rest.strip().rpartition(" ")
    en, _, en_plural = en.strip().partition("/")
    fr, _, fr_plural = fr.partition("/")
    assert gender in ("m", "f"), f"a noun row ends with its gender: {row!r}"
    return Noun(en, en_plural or english.plural(en), fr, fr_plural or french.plural(fr), gender, mass)


def nouns(table: str, mass: bool = False) -> tuple[Noun, ...]:
    """Reads rows separated by commas or new lines."""
    return tuple(noun(row, mass) for row in table.replace("\n", ",").split(",") if row.strip())


def adjective(row: str) -> Adjective:
    """Reads `red: rouge`, `white: blanc/blanche`, `old: <vieux/vieille/vieil`; `<` precedes its noun, `=` is fixed."""
    en, _, fr = row.partition(":")
    fr = fr.strip()
    first, invariable = fr.startswith("<"), fr.startswith("=")
    masculine, *given = fr.lstrip("<=").split("/")
    if invariable:
        return Adjective(en.strip(), masculine, masculine, masculine, masculine, masculine, first)
    feminine = given[0] if given else french.feminine(masculine)
    before_vowel = given[1] if len(given) > 1 else masculine
    return Adjective(
        en.strip(), masculine, feminine, french.plural(masculine), french.plural(feminine), before_vowel, first
    )


def adjectives(table: str) -> tuple[Adjective, ...]:
    """Reads rows separated by commas or new lines."""
    return tuple(adjective(row) for row in table.replace("\n", ",").split(",") if row.strip())


def verb(en: str, fr: str, preposition: str = "", stative: bool = False) -> Verb:
    """A bilingual verb, from one entry in the notation of each language's module."""
    return Verb(english.verb(en), conjugate(fr), preposition, stative)
