"""Hello and goodbye: to whom, how one is, who one is, and when one meets again.

A third of the short sentences here and in the courtesies are without marks, most of them in lower case.
"""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, after, said, sentence
from recurra.data.samples.english_french.grammar import french, numbers
from recurra.data.samples.english_french.grammar.clauses import Tense, chained, clause, infinitive, words_after
from recurra.data.samples.english_french.grammar.conjugation import IL
from recurra.data.samples.english_french.grammar.noun_phrases import the
from recurra.data.samples.english_french.grammar.words import verb as make_verb
from recurra.data.samples.english_french.lexicon import people, places, things, times, verbs
from recurra.data.samples.english_french.phrases import Phrase, in_any_form
from recurra.data.samples.english_french.themes.fixed import PHRASES

THEME = Theme("greetings")
_HOW = PHRASES["how are you"]
_HELLO = tuple(
    PHRASES[en] for en in ("hello", "hello", "good morning", "good morning", "good afternoon", "good evening", "hi")
)
_GOODBYE = tuple(PHRASES[en] for en in ("goodbye", "goodbye", "bye", "good night"))
_THANKS = tuple(PHRASES[en] for en in ("thank you", "thank you", "thank you very much", "thanks", "thanks a lot"))
# what one says after hello, and before or after goodbye
_OPENINGS = tuple(
    PHRASES[en]
    for en in (
        *("welcome", "come in", "nice to meet you", "excuse me", "can you help me", "I'm lost", "what is your name"),
        *("do you speak English", "do you speak French", "what time is it", "where are the toilets", "how much is it"),
        *("where do you come from", "sit down, please", "wait a minute, please", "who is it", "what's going on"),
        *("happy birthday", "Merry Christmas", "happy New Year", "congratulations", "I'm sorry"),
    )
)
_PARTINGS = tuple(
    PHRASES[en]
    for en in (
        *("see you soon", "see you tomorrow", "see you later", "see you on Monday", "see you tonight", "take care"),
        *("have a nice day", "have a nice evening", "have a nice weekend", "have a good trip", "good luck"),
    )
)
_SAY = make_verb("say/said", "dire")
_SAID = tuple(PHRASES[en] for en in ("hello", "hello", "goodbye", "thank you", "good night", "good evening"))
_TODAY = (
    ("today", "aujourd'hui"),
    ("this morning", "ce matin"),
    ("this afternoon", "cet après-midi"),
    ("tonight", "ce soir"),
)


@THEME.frame(3)
def greeting(d: Draw) -> Sentence:
    """Hello, Marie! Bonjour Marie ! Good evening, sir. Bonsoir, monsieur."""
    return d.pick(_HELLO).to(d).typed(d)


@THEME.frame(3)
def opening(d: Draw) -> Sentence:
    """Hello, how are you? Bonjour, comment ça va ? Good morning, Paul! Come in! Bonjour Paul ! Entrez !"""
    first = d.pick(_HELLO).maybe_to(d)
    then = _HOW if d.chance(0.3) else d.pick(_OPENINGS)
    if d.chance(0.6):
        return first.followed_by(then).typed(d)
    return first.then(d, then)


@THEME.frame(1.5)
def how_are_you(d: Draw) -> Sentence:
    """How are you today, Paul? Comment ça va aujourd'hui, Paul ?"""
    if d.chance(0.5):
        return _HOW.to(d).typed(d)
    en, fr = d.pick(_TODAY)
    return Phrase(f"how are you {en}", f"comment ça va {fr}", "?", "ncp").maybe_to(d, 0.7).typed(d)


@THEME.frame(1)
def how_is(d: Draw) -> Sentence:
    """How is Marie today? She is fine. Comment va Marie aujourd'hui ? Elle va bien."""
    who = d.pick(people.NAMES)
    pronoun = people.SHE if who.gender == "f" else people.HE
    day = d.pick((("", ""), ("", ""), *_TODAY))
    if d.chance(0.2):
        return in_any_form(
            d, said(f"how is {pronoun.en} {day[0]}".rstrip(), f"comment va-t-{pronoun.fr} {day[1]}".rstrip(), "?")
        )
    links = (("how", who.lemma),)
    first = said(f"how is {who.en} {day[0]}".rstrip(), f"comment va {who.fr} {day[1]}".rstrip(), "?", links)
    if d.chance(0.4):
        return in_any_form(d, first)
    en, fr = d.pick((("fine", "bien"), ("fine", "bien"), ("very well", "très bien"), ("better", "mieux")))
    answer = said(f"{pronoun.en} is {en}", f"{pronoun.fr} va {fr}", links=((en, who.lemma),))
    return in_any_form(d, after(first, answer))


@THEME.frame(2)
def fine(d: Draw) -> Sentence:
    """I'm fine, thank you, and you? Je vais bien, merci, et vous ?"""
    thanks = d.pick((("", ""), (", thank you", ", merci"), (", thank you", ", merci"), (", thanks", ", merci")))
    how = d.pick((("fine", "bien"), ("fine", "bien"), ("very well", "très bien"), ("better", "mieux")))
    back = d.pick((("", ""), ("", ""), (", and you", ", et vous")))
    who = d.pick((people.I, people.I, people.WE)) if back[0] or d.chance(0.6) else draws.subject(d)
    be = "is" if who.person == IL else "are"
    start = d.pick(("I'm", "I am")) if who is people.I else f"{who.en} {be}"
    text = Phrase(
        f"{start} {how[0]}{thanks[0]}{back[0]}",
        f"{who.fr} {verbs.GO.fr.present[who.person]} {how[1]}{thanks[1]}{back[1]}",
        "?" if back[0] else ".",
        links=((how[0], who.lemma or who.en),),
    )
    if who in (people.I, people.WE) and d.chance(0.25):
        return _HOW.then(d, text)
    return text.typed(d)


@THEME.frame(2)
def goodbye(d: Draw) -> Sentence:
    """Goodbye, children! Au revoir, les enfants !"""
    return d.pick((*_GOODBYE, *_PARTINGS)).to(d).typed(d)


@THEME.frame(3)
def parting(d: Draw) -> Sentence:
    """Thank you very much, see you tomorrow. Merci beaucoup, à demain."""
    first = d.pick((*_GOODBYE, *_THANKS))
    then = d.pick(_GOODBYE) if first in _THANKS and d.chance(0.3) else d.pick(_PARTINGS)
    if first.en == "good night":
        then = PHRASES["see you tomorrow"]
    if d.chance(0.7):
        return first.maybe_to(d, 0.4).followed_by(then).typed(d)
    return first.maybe_to(d).then(d, then)


def _time(d: Draw) -> Phrase:
    """When one meets again, with "see you": "See you on Monday morning", "À lundi matin"."""
    kind = d.between(1, 10)
    if kind <= 4:
        (en, fr), part = d.pick(times.DAYS), d.pick((("", ""), *_PARTS_OF_DAY))
        links = ((en, part[0]),) if part[0] else (("day", en),)
        return Phrase(f"see you on {en} {part[0]}".rstrip(), f"à {fr} {part[1]}".rstrip(), ".!", "ncp", links)
    if kind == 5:
        en, fr = d.pick(times.NEXT_DAYS)
        return Phrase(f"see you {en}", f"à {fr}", ".!", "ncp", (("see you", en),))
    if kind == 6:
        hour, minute = d.between(1, 12), d.pick((0, 0, 15, 30))
        en, fr = numbers.clock(hour, minute)
        link = ((str(hour), f":{minute}"),) if minute else ()
        return Phrase(f"see you at {en}", f"à {fr}", ".!", "ncp", (("see you", en), *link))
    en, fr = d.pick(_LATER)
    return Phrase(f"see you {en}", f"à {fr}", ".!", "ncp")


_PARTS_OF_DAY = (("morning", "matin"), ("afternoon", "après-midi"), ("evening", "soir"))
_LATER = (
    ("tomorrow", "demain"),
    ("tomorrow", "demain"),
    ("tomorrow morning", "demain matin"),
    ("tomorrow afternoon", "demain après-midi"),
    ("tomorrow evening", "demain soir"),
    ("this afternoon", "cet après-midi"),
    ("tonight", "ce soir"),
    ("soon", "bientôt"),
    ("later", "plus tard"),
    ("next week", "la semaine prochaine"),
    ("in an hour", "dans une heure"),
    ("in two days", "dans deux jours"),
)


@THEME.frame(3.5)
def see_you(d: Draw) -> Sentence:
    """See you on Monday morning at the station. À lundi matin à la gare. Goodbye, see you next week."""
    then = _time(d)
    kind = d.between(1, 10)
    if kind <= 3:
        place = d.pick(places.GOALS)
        phrase = the(place)
        tied = (*then.links, (then.lemma, place.lemma))
        then = Phrase(f"{then.en} at {phrase.en}", f"{then.fr} {phrase.after('à')}", then.marks, "ncp", tied)
        return then.typed(d)
    if kind <= 5:
        return d.pick((*_GOODBYE, *_THANKS)).followed_by(then).typed(d)
    return then.maybe_to(d, 0.6).typed(d)


_PEOPLE = tuple(
    person
    for person in people.PERSONS
    if person.en in ("man", "woman", "child", "boy", "girl", "baby", "doctor", "waiter", "driver", "customer", "baker")
)


@THEME.frame(2)
def say(d: Draw) -> Sentence:
    """Say hello to your sister. Dites bonjour à votre sœur. She said goodbye to the children."""
    phrase = d.pick(_SAID)
    whom = draws.relative(d) if d.chance(0.6) else the(d.pick(_PEOPLE), plural=d.chance(0.2))
    rest = words_after(f"{phrase.en} to {whom.en}", f"{phrase.fr} {french.contract('à', whom.fr)}")
    links = ((phrase.fr, whom.head),)
    kind = d.between(1, 6)
    if kind <= 3:
        text = Phrase(f"say {rest.en}", f"dites {rest.fr}", ".", links=links)
        if kind == 3:
            text = Phrase(f"{text.en}, please", f"{text.fr}, s'il vous plaît", links=links)
        return text.typed(d)
    rest = words_after(rest.en, rest.fr, links)
    who = draws.pronoun(d) if d.chance(0.5) else d.pick(people.NAMES)
    if kind == 4:
        modal = d.pick((verbs.WANT, verbs.HAVE_TO))
        return in_any_form(d, sentence(clause(who, modal, rest=chained(infinitive(_SAY, rest)))))
    return in_any_form(d, sentence(clause(who, _SAY, d.pick((Tense.PAST, Tense.PAST, Tense.FUTURE)), rest=rest)))


@THEME.frame(2)
def name(d: Draw) -> Sentence:
    """Hello, my name is Paul. Bonjour, je m'appelle Paul. What is her name? Comment s'appelle-t-elle ?"""
    who = d.pick(people.NAMES)
    kind = d.between(1, 5)
    if kind == 1:
        pronoun = people.SHE if who.gender == "f" else people.HE
        if d.chance(0.3):
            return Phrase(f"what is {who.owner} name", f"comment s'appelle-t-{pronoun.fr}", "?").typed(d)
        return Phrase(f"{who.owner} name is {who.en}", f"{pronoun.fr} s'appelle {who.fr}").typed(d)
    if kind == 2:
        relative = draws.relative(d, d.pick(("your", "his", "her", "their")))
        while relative.plural:
            relative = draws.relative(d, d.pick(("your", "his", "her", "their")))
        links = (("name", relative.head),)
        return Phrase(f"what is {relative.en}'s name", f"comment s'appelle {relative.fr}", "?", links=links).typed(d)
    if kind == 3 and d.chance(0.5):
        return PHRASES["nice to meet you"].to(d).typed(d)
    en, fr = d.pick((("my name is", "je m'appelle"), ("my name is", "je m'appelle"), ("I'm", "je suis")))
    text = Phrase(f"{en} {who.en}", f"{fr} {who.fr}", links=((fr, who.lemma),), stem=fr)
    if kind == 3:
        return text.typed(d)
    hello = d.pick(_HELLO)
    if kind == 4:
        return hello.followed_by(text).typed(d)
    return text.then(d, d.pick((PHRASES["nice to meet you"], PHRASES["what is your name"])))


@THEME.frame(1.5)
def stranger(d: Draw) -> Sentence:
    """Where does she come from? D'où vient-elle ? How old is he? Do you speak Italian, sir?"""
    who = d.pick((people.YOU, people.YOU, people.HE, people.SHE, people.THEY))
    kind = d.between(1, 6)
    if kind == 1:
        do = "does" if who.person == IL else "do"
        come = verbs.COME.fr.present[who.person]
        text = Phrase(f"where {do} {who.en} come from", f"d'où {come}-{who.fr}", "?", "np")
    elif kind == 2:
        be, have = ("is" if who.person == IL else "are"), verbs.HAVE.fr.present[who.person]
        joint = "-t-" if have == "a" else "-"
        text = Phrase(f"how old {be} {who.en}", f"quel âge {have}{joint}{who.fr}", "?", "np")
    else:
        language = d.pick(things.LANGUAGES)
        little = d.pick((("", ""), ("", ""), (" a little", "un peu ")))
        links = (("speak", language.lemma),)
        text = Phrase(
            f"do you speak {language.en}{little[0]}", f"parlez-vous {little[1]}{language.fr}", "?", "np", links
        )
        if d.chance(0.25):
            return d.pick(_HELLO).followed_by(text).typed(d, proper=True)
        if d.chance(0.25):
            return PHRASES["excuse me"].followed_by(text).typed(d, proper=True)
        return text.maybe_to(d).typed(d, proper=True)
    return text.maybe_to(d, 0.4 if who is people.YOU else 0.0).typed(d)
