"""Noun phrases in both languages: articles, partitives, possessives, demonstratives, numbers, adjectives."""

from dataclasses import dataclass, replace

from . import french, numbers
from .words import Adjective, Noun, Subject

Link = tuple[str, str]  # two content words that grammar ties together: an adjective and its noun, a verb and its object

_POSSESSIVES = {  # masculine, feminine, plural
    "my": ("mon", "ma", "mes"),
    "your": ("votre", "votre", "vos"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
    "our": ("notre", "notre", "nos"),
    "their": ("leur", "leur", "leurs"),
}


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun phrase, with the forms it takes after a negation or in a question.

    Attributes:
        en, fr: the plain forms, "some bread" and "du pain".
        en_any: English after a negation and in a question, "any bread".
        fr_none: French after a negation, "de pain".
        head: the noun's lemma.
        links: the combinations inside the phrase.
    """

    en: str
    fr: str
    en_any: str
    fr_none: str
    gender: str
    plural: bool
    head: str
    links: tuple[Link, ...] = ()

    def after(self, preposition: str) -> str:
        """French after a preposition: contracted, and "de" swallows the partitive ("besoin de pain")."""
        if not preposition:
            return self.fr
        if preposition in ("à", "de") and not (preposition == "de" and self.is_partitive):
            return french.contract(preposition, self.fr)
        return self.fr_none if preposition == "de" else f"{preposition} {self.fr}"

    @property
    def is_partitive(self) -> bool:
        """Whether the French article is du, de la, or des."""
        return self.fr != self.fr_none and not self.fr.startswith(("un ", "une "))

    def also_linked(self, *links: Link) -> "NounPhrase":
        """The same phrase with more combinations."""
        return replace(self, links=self.links + links)


def _group(noun: Noun, adjective: Adjective | None, plural: bool) -> tuple[str, str]:
    """The noun and its adjective, without an article, in both languages."""
    en, fr = (noun.en_plural, noun.fr_plural) if plural else (noun.en, noun.fr)
    if adjective is None:
        return en, fr
    form = adjective.agree(noun.gender, plural)
    if not adjective.first:
        return f"{adjective.en} {en}", f"{fr} {form}"
    if noun.gender == "m" and not plural and french.elides(fr):
        form = adjective.before_vowel  # un bel arbre
    return f"{adjective.en} {en}", f"{form} {fr}"


def _links(noun: Noun, adjective: Adjective | None) -> tuple[Link, ...]:
    return ((adjective.lemma, noun.lemma),) if adjective else ()


def _fixed(noun: Noun, adjective: Adjective | None, plural: bool, en: str, fr: str) -> NounPhrase:
    """A phrase that neither negation nor question changes."""
    return NounPhrase(en, fr, en, fr, noun.gender, plural, noun.lemma, _links(noun, adjective))


def the(noun: Noun, adjective: Adjective | None = None, plural: bool = False) -> NounPhrase:
    """The cat, le chat; the apple, l'pomme is settled by elision when the sentence is finished."""
    en, fr = _group(noun, adjective, plural)
    article = "les" if plural else "la" if noun.gender == "f" else "le"
    return _fixed(noun, adjective, plural, f"the {en}", f"{article} {fr}")


def a(noun: Noun, adjective: Adjective | None = None) -> NounPhrase:
    """A cat, un chat; after a negation "de chat"."""
    en, fr = _group(noun, adjective, False)
    article = "une" if noun.gender == "f" else "un"
    links = _links(noun, adjective)
    return NounPhrase(f"a {en}", f"{article} {fr}", f"a {en}", f"de {fr}", noun.gender, False, noun.lemma, links)


def some(noun: Noun, adjective: Adjective | None = None, bare: bool = False) -> NounPhrase:
    """Some bread, du pain; some apples, des pommes; after a negation any and de. `bare` leaves out some and any."""
    plural = not noun.mass
    en, fr = _group(noun, adjective, plural)
    if plural:
        article = "de" if adjective and adjective.first else "des"  # de belles fleurs
    elif french.elides(fr):
        article = "de l'"
    else:
        article = "de la" if noun.gender == "f" else "du"
    full = f"{article}{fr}" if article.endswith("'") else f"{article} {fr}"
    some_en, any_en = (en, en) if bare else (f"some {en}", f"any {en}")
    return NounPhrase(some_en, full, any_en, f"de {fr}", noun.gender, plural, noun.lemma, _links(noun, adjective))


def all_of(noun: Noun, adjective: Adjective | None = None) -> NounPhrase:
    """The whole kind, as the object of aimer: I like cats, j'aime les chats; I like bread, j'aime le pain."""
    phrase = the(noun, adjective, plural=not noun.mass)
    bare = phrase.en.removeprefix("the ")
    return replace(phrase, en=bare, en_any=bare)


def owned(owner: str, noun: Noun, adjective: Adjective | None = None, plural: bool = False) -> NounPhrase:
    """My house, ma maison; my friend, mon amie: before a vowel ma becomes mon. `owner` is my, your, his, ..."""
    en, fr = _group(noun, adjective, plural)
    masculine, feminine, several = _POSSESSIVES[owner]
    if plural:
        possessive = several
    else:
        possessive = feminine if noun.gender == "f" and not french.elides(fr) else masculine
    return _fixed(noun, adjective, plural, f"{owner} {en}", f"{possessive} {fr}")


def this(noun: Noun, adjective: Adjective | None = None, plural: bool = False) -> NounPhrase:
    """This book, ce livre; this tree, cet arbre; these books, ces livres."""
    en, fr = _group(noun, adjective, plural)
    if plural:
        return _fixed(noun, adjective, plural, f"these {en}", f"ces {fr}")
    demonstrative = "cette" if noun.gender == "f" else "cet" if french.elides(fr) else "ce"
    return _fixed(noun, adjective, plural, f"this {en}", f"{demonstrative} {fr}")


def count(number: int, noun: Noun, adjective: Adjective | None = None) -> NounPhrase:
    """Twenty-one pages, vingt et une pages."""
    en, fr = _group(noun, adjective, number != 1)
    words = numbers.english(number)
    links = (*_links(noun, adjective), (words, noun.lemma))
    phrase = _fixed(noun, adjective, number != 1, f"{words} {en}", f"{numbers.french(number, noun.gender)} {fr}")
    return replace(phrase, links=links)


def of(container: NounPhrase, noun: Noun) -> NounPhrase:
    """A glass of water, un verre d'eau; a kilo of apples, un kilo de pommes."""
    en, fr = (noun.en, noun.fr) if noun.mass else (noun.en_plural, noun.fr_plural)
    return replace(
        container,
        en=f"{container.en} of {en}",
        fr=f"{container.fr} de {fr}",
        en_any=f"{container.en_any} of {en}",
        fr_none=f"{container.fr_none} de {fr}",
        links=((container.head, noun.lemma),),
    )


def as_subject(phrase: NounPhrase) -> Subject:
    """The phrase as the subject of a clause."""
    person = 4 if phrase.plural else 1
    owner = "their" if phrase.plural else "her" if phrase.gender == "f" else "his"
    return Subject(phrase.en, phrase.fr, person, phrase.gender, owner, phrase.head)
