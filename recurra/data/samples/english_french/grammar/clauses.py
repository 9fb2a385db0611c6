"""Clauses in both languages: tense, negation, questions, pronoun objects, agreement of the participle."""

from dataclasses import dataclass, replace
from enum import Enum

from . import french
from .conjugation import IL, ILS, JE, NOUS, VOUS, FrenchVerb, conjugate
from .english import EnglishVerb
from .noun_phrases import Link, NounPhrase
from .words import Subject, Verb


class Tense(Enum):
    """The English form, each with one French tense: that is what makes the translation unique."""

    PRESENT = "I eat, je mange"
    PROGRESSIVE = "I am eating, je mange"
    PAST = "I ate, j'ai mangé (of a stative verb: I wanted, je voulais)"
    PERFECT = "I have eaten, j'ai mangé"
    FUTURE = "I am going to eat, je vais manger"
    USED_TO = "I used to eat, je mangeais"
    WAS_DOING = "I was eating, je mangeais"


class Polarity(Enum):
    """Affirmation and the four negations: English adverb, French second word of the negation."""

    YES = ("", "")
    NOT = ("", "pas")
    NEVER = ("never", "jamais")
    NO_MORE = ("anymore", "plus")
    NOTHING = ("anything", "rien")


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A pronoun that stands for the object: him, le. `direct` ones make the participle agree: je l'ai vue."""

    en: str
    fr: str
    gender: str = "m"
    plural: bool = False
    direct: bool = True


HIM = Pronoun("him", "le")
HER = Pronoun("her", "la", "f")
THEM = Pronoun("them", "les", "m", True)
TO_HIM = Pronoun("him", "lui", direct=False)
TO_HER = Pronoun("her", "lui", direct=False)
TO_THEM = Pronoun("them", "leur", direct=False)


def pronoun_for(phrase: NounPhrase) -> Pronoun:
    """It or them, for a thing that was just named, so its gender is known."""
    if phrase.plural:
        return Pronoun("them", "les", phrase.gender, True)
    return Pronoun("it", "la" if phrase.gender == "f" else "le", phrase.gender)


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause or a part of one, in both languages, with the combinations of content words in it."""

    en: str
    fr: str
    links: tuple[Link, ...] = ()

    def then(self, en: str, fr: str, links: tuple[Link, ...] = ()) -> "Clause":
        """The clause with more words after it; an empty string adds nothing."""
        return Clause(f"{self.en} {en}".rstrip(), f"{self.fr} {fr}".rstrip(), self.links + links)


@dataclass(frozen=True, slots=True)
class Rest:
    """What follows the verb: its forms in a plain clause, after a negation and in a question."""

    en: str = ""
    fr: str = ""
    en_any: str = ""
    fr_none: str = ""
    links: tuple[Link, ...] = ()


NO_REST = Rest()


def words_after(en: str, fr: str, links: tuple[Link, ...] = ()) -> Rest:
    """Words that no negation changes: a place, an infinitive."""
    return Rest(en, fr, en, fr, links)


def with_object(verb: Verb, phrase: NounPhrase) -> Rest:
    """The object of the verb, after the verb's own French preposition."""
    links = (*phrase.links, (verb.lemma, phrase.head))
    if verb.preposition:
        fr = phrase.after(verb.preposition)
        return Rest(phrase.en, fr, phrase.en_any, fr, links)
    return Rest(phrase.en, phrase.fr, phrase.en_any, phrase.fr_none, links)


# these verbs ask by inversion of a pronoun, all others with est-ce que: one rule, so that the answer is one
_INVERTED = ("be", "have", "know", "speak", "want", "can")
_BE_NOW = {JE: "am", IL: "is", NOUS: "are", VOUS: "are", ILS: "are"}
_REFLEXIVE = {JE: "me", IL: "se", NOUS: "nous", VOUS: "vous", ILS: "se"}
_ALLER = conjugate("aller")
_AVOIR = conjugate("avoir")
_ETRE = conjugate("être")


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _english_auxiliary(subject: Subject, verb: EnglishVerb, tense: Tense) -> tuple[str, str]:
    """The auxiliary and the main verb of a negated or questioned clause: "did", "eat"."""
    was = "was" if subject.singular_verb or subject.person == JE else "were"
    if tense is Tense.PROGRESSIVE:
        return _BE_NOW[subject.person], verb.gerund
    if tense is Tense.WAS_DOING:
        return was, verb.gerund
    if tense is Tense.FUTURE:
        return _BE_NOW[subject.person], f"going to {verb.base}"
    if tense is Tense.PERFECT:
        return "has" if subject.singular_verb else "have", verb.participle
    if verb.base == "be":
        return (was if tense is Tense.PAST else _BE_NOW[subject.person]), ""
    if verb.base in ("can", "must"):
        return verb.base, ""
    if tense is Tense.PRESENT:
        return "does" if subject.singular_verb else "do", verb.base
    return "did", verb.base if tense is Tense.PAST else f"use to {verb.base}"


def _english_simple(subject: Subject, verb: EnglishVerb, tense: Tense) -> str:
    """The affirmative verb: "eats", "ate", "is eating"."""
    auxiliary, main = _english_auxiliary(subject, verb, tense)
    if auxiliary in ("do", "does"):
        return verb.third if subject.singular_verb else verb.base
    if auxiliary == "did":
        return verb.past if tense is Tense.PAST else f"used to {verb.base}"
    return _join(auxiliary, main)


_NOT = {"am": "am not", "can": "can't"}


def english(
    subject: Subject,
    verb: EnglishVerb,
    tense: Tense,
    polarity: Polarity,
    rest: str,
    adverb: str = "",
    ask: bool = False,
) -> str:
    """The English clause; `adverb` is one of often, always, ... that stand before the main verb."""
    auxiliary, main = _english_auxiliary(subject, verb, tense)
    after = _join(polarity.value[0], rest) if polarity is Polarity.NOTHING else rest
    late = "anymore" if polarity is Polarity.NO_MORE else ""
    if ask:
        return _join(auxiliary, subject.en, adverb, main, verb.tail, after)
    if polarity is Polarity.NEVER:
        return _english_with_adverb(subject, verb, tense, "never", rest)
    if polarity is not Polarity.YES:
        negated = _NOT.get(auxiliary, auxiliary + "n't")
        return _join(subject.en, negated, adverb, main, verb.tail, after, late)
    if adverb:
        return _english_with_adverb(subject, verb, tense, adverb, rest)
    return _join(subject.en, _english_simple(subject, verb, tense), verb.tail, rest)


def _english_with_adverb(subject: Subject, verb: EnglishVerb, tense: Tense, adverb: str, rest: str) -> str:
    auxiliary, main = _english_auxiliary(subject, verb, tense)
    if auxiliary in ("do", "does", "did"):
        return _join(subject.en, adverb, _english_simple(subject, verb, tense), verb.tail, rest)
    return _join(subject.en, auxiliary, adverb, main, verb.tail, rest)


def french_clause(
    subject: Subject,
    verb: FrenchVerb,
    tense: Tense,
    polarity: Polarity,
    rest: str,
    *,
    adverb: str = "",
    pronoun: Pronoun | None = None,
    stative: bool = False,
    invert: bool = False,
    body: bool = False,
) -> str:
    """The French clause.

    Args:
        adverb: souvent, toujours, ...; it follows the conjugated verb.
        pronoun: an object pronoun, before the verb it belongs to.
        stative: whether the simple past of English is an imparfait.
        invert: "voulez-vous" in the place of "vous voulez".
        body: whether a part of the body follows, which stops the agreement of a reflexive: elle s'est lavé les mains.
    """
    clitic = _join(_REFLEXIVE[subject.person] if verb.reflexive else "", pronoun.fr if pronoun else "")
    ne, second = ("ne", polarity.value[1]) if polarity is not Polarity.YES else ("", "")
    if tense is Tense.FUTURE:
        finite = _ALLER.present[subject.person]
        return _join(_front(subject, ne, "", finite, invert), second, adverb, clitic, verb.infinitive, verb.tail, rest)
    compound = tense is Tense.PERFECT or (tense is Tense.PAST and not stative)
    if not compound:
        forms = verb.present if tense in (Tense.PRESENT, Tense.PROGRESSIVE) else verb.imperfect
        return _join(_front(subject, ne, clitic, forms[subject.person], invert), second, adverb, verb.tail, rest)
    auxiliary = (_ETRE if verb.with_etre else _AVOIR).present[subject.person]
    past = verb.participle
    if pronoun and pronoun.direct:
        past = french.participle(past, pronoun.gender, pronoun.plural)
    elif verb.with_etre and not body:
        past = french.participle(past, subject.gender, subject.plural)
    return _join(_front(subject, ne, clitic, auxiliary, invert), second, adverb, past, verb.tail, rest)


def _front(subject: Subject, ne: str, clitic: str, finite: str, invert: bool) -> str:
    """Subject, negation, clitics and the conjugated verb, in statement or in question order."""
    if not invert:
        return _join(subject.fr, ne, clitic, finite)
    assert subject.is_pronoun, f"only a pronoun is inverted, not {subject.fr!r}"
    joint = "-t-" if subject.person == IL and finite[-1] in "ae" else "-"
    return _join(ne, clitic, f"{finite}{joint}{subject.fr}")


def clause(
    subject: Subject,
    verb: Verb,
    tense: Tense = Tense.PRESENT,
    polarity: Polarity = Polarity.YES,
    rest: Rest = NO_REST,
    *,
    adverb: tuple[str, str] = ("", ""),
    pronoun: Pronoun | None = None,
    ask: bool = False,
    invert: bool = False,
    body: bool = False,
) -> Clause:
    """One clause in both languages. With `ask` it is a yes/no question, by inversion or with est-ce que."""
    negated = polarity is not Polarity.YES
    invert = invert or (ask and tense is Tense.PRESENT and subject.is_pronoun and verb.en.base in _INVERTED)
    # "to eat nothing" keeps no object, and a question keeps "du" in French: avez-vous du pain
    en_rest = rest.en_any if negated or ask else rest.en
    fr_rest = rest.fr_none if negated else rest.fr
    if pronoun:
        en_rest = _join(pronoun.en, en_rest)
    en = english(subject, verb.en, tense, polarity, en_rest, adverb[0], ask)
    fr = french_clause(
        subject,
        verb.fr,
        tense,
        polarity,
        fr_rest,
        adverb=adverb[1],
        pronoun=pronoun,
        stative=verb.stative,
        invert=invert,
        body=body,
    )
    return Clause(en, f"est-ce que {fr}" if ask and not invert else fr, rest.links)


def infinitive(
    verb: Verb, rest: Rest = NO_REST, subject: Subject | None = None, pronoun: Pronoun | None = None
) -> Rest:
    """ "eat an apple", "manger une pomme". A reflexive verb takes its pronoun from `subject`."""
    reflexive = _REFLEXIVE[subject.person if subject else IL] if verb.fr.reflexive else ""
    en = _join(verb.en.base, verb.en.tail, pronoun.en if pronoun else "")
    fr = _join(reflexive, pronoun.fr if pronoun else "", verb.fr.infinitive, verb.fr.tail)
    return Rest(_join(en, rest.en), _join(fr, rest.fr), _join(en, rest.en_any), _join(fr, rest.fr_none), rest.links)


def chained(inner: Rest, to: str = "to", joint: str = "") -> Rest:
    """An infinitive as the complement of another verb: want to eat, vouloir manger; begin to, commencer à."""
    return Rest(
        _join(to, inner.en),
        _join(joint, inner.fr),
        _join(to, inner.en_any),
        _join(joint, inner.fr_none),
        inner.links,
    )


def followed(rest: Rest, en: str, fr: str) -> Rest:
    """The same rest with a time or a place after it."""
    return Rest(_join(rest.en, en), _join(rest.fr, fr), _join(rest.en_any, en), _join(rest.fr_none, fr), rest.links)


def imperative(verb: Verb, rest: Rest = NO_REST, negative: bool = False) -> Clause:
    """ "open the window", "ouvrez la fenêtre"; "don't open ...", "n'ouvrez pas ..."."""
    en = _join("don't" if negative else "", verb.en.base, verb.en.tail, rest.en_any if negative else rest.en)
    finite = verb.fr.present[VOUS]
    if verb.fr.reflexive:
        finite = f"vous {finite}" if negative else f"{finite}-vous"
    fr = _join("ne" if negative else "", finite, "pas" if negative else "", verb.fr.tail)
    return Clause(en, _join(fr, rest.fr_none if negative else rest.fr), rest.links)


def everyone_is(subject: Subject, gender: str) -> Subject:
    """The same subject with another gender, for "they" after women were named: elles."""
    return replace(subject, gender=gender, fr="elles" if gender == "f" else "ils")
