"""Draws that many frames share: a subject, a person, a tense with its adverb."""

from .frames import Draw
from .grammar.clauses import Polarity, Tense
from .grammar.noun_phrases import NounPhrase, as_subject, owned, the
from .grammar.words import Subject, noun
from .lexicon import people, times

OWNERS = ("my", "your", "his", "her", "our", "their")
_OF_ADULTS = ("boss", "colleague", "wife", "husband", "child", "son", "daughter")
_FRIENDS = {"f": noun("friend: amie f"), "m": noun("friend: ami m")}

Text = tuple[str, str]


def pronoun(d: Draw) -> Subject:
    """I, you, he, she, we or they; I and you are twice as frequent."""
    return d.pick((people.I, people.I, people.YOU, people.HE, people.SHE, people.WE, people.THEY))


def relative(d: Draw, owner: str | None = None) -> NounPhrase:
    """ "my sister", "his parents". "our wife" and the like are left out."""
    owner = owner or d.pick(OWNERS)
    if d.chance(0.3):
        return owned(owner, d.pick(people.RELATIVES), plural=True)
    family = people.FAMILY + people.AROUND
    chosen = d.pick(family)
    while (
        chosen.en in ("wife", "husband")
        and owner in ("our", "their", "your", "his" if chosen.en == "husband" else "her")
    ) or (chosen.en == "boss" and owner == "their"):
        chosen = d.pick(family)
    return owned(owner, chosen, plural=chosen.en in ("neighbor", "friend", "colleague") and d.chance(0.5))


def other_relative(d: Draw, who: Subject) -> NounPhrase:
    """A relative of the subject: another person than the subject, and no boss or colleague of a child."""
    other = relative(d, who.owner)
    while other.head == who.lemma or (who.lemma in people.CHILDREN and other.head in _OF_ADULTS):
        other = relative(d, who.owner)
    return other


def named_friend(d: Draw) -> Subject:
    """ "my friend Julie", "mon amie Julie": the name settles the gender."""
    name = d.pick(people.NAMES)
    phrase = owned(d.pick(OWNERS), _FRIENDS[name.gender])
    return Subject(f"{phrase.en} {name.en}", f"{phrase.fr} {name.fr}", name.person, name.gender, name.owner, name.lemma)


def someone(d: Draw) -> Subject:
    """A subject that is not a pronoun."""
    kind = d.between(1, 10)
    if kind <= 4:
        return d.pick(people.NAMES)
    if kind <= 7:
        return as_subject(relative(d))
    if kind == 8:
        return named_friend(d)
    return as_subject(the(d.pick(people.ANYONE), plural=d.chance(0.3)))


def subject(d: Draw) -> Subject:
    """A pronoun two times in three, else a person."""
    return pronoun(d) if d.chance(0.66) else someone(d)


def when(d: Draw, tense: Tense, brief: bool = False) -> Text:
    """A time that goes with the tense; nothing half of the time, except that a habit is always given one.

    `brief` actions happen on a day, not "last month".
    """
    if tense is Tense.PRESENT:
        return d.pick(times.HABIT)
    if tense is Tense.PROGRESSIVE:
        return d.pick(times.NOW)
    if d.chance(0.5):
        return "", ""
    if tense is Tense.PAST:
        return d.pick(times.PAST_DAY if brief else times.PAST)
    return d.pick(times.FUTURE_DAY if brief else times.FUTURE) if tense is Tense.FUTURE else ("", "")


def no(d: Draw) -> Polarity:
    """Mostly not; sometimes never or not anymore."""
    return d.pick((Polarity.NOT, Polarity.NOT, Polarity.NOT, Polarity.NEVER, Polarity.NO_MORE))
