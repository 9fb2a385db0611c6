"""School, languages and the office."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.actions import Action, add_actions
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, said, sentence
from recurra.data.samples.english_french.grammar import numbers
from recurra.data.samples.english_french.grammar.clauses import (
    Polarity,
    Tense,
    chained,
    clause,
    infinitive,
    with_object,
    words_after,
)
from recurra.data.samples.english_french.grammar.noun_phrases import a, as_subject, count, the, this
from recurra.data.samples.english_french.lexicon import adjectives, people, things, verbs

THEME = Theme("study")
_BY_NAME = {noun.en: noun for noun in things.SCHOOL_THINGS + things.READING}
_LEARNED = tuple(_BY_NAME[name] for name in ["lesson", "word", "poem", "rule", "text"])
_UNDERSTOOD = tuple(
    _BY_NAME[name] for name in ["lesson", "word", "question", "sentence", "text", "rule", "exercise", "answer"]
)
_READ_AT_SCHOOL = tuple(_BY_NAME[name] for name in ["sentence", "text", "question", "page"])
_JUDGED = things.SCHOOL_THINGS[:3] + things.SCHOOL_THINGS[4:5] + things.SCHOOL_THINGS[6:8] + things.SCHOOL_THINGS[10:]

add_actions(
    THEME,
    (
        Action(verbs.READ, things.READING, "ath", "hgpf", adjectives.STORY_QUALITIES, named="ly"),
        Action(verbs.READ, _READ_AT_SCHOOL, "tth", "gpf", orders=True),
        Action(verbs.WRITE, things.WRITING, "aan", "gpf", adjectives.STORY_QUALITIES[:4]),
        Action(verbs.LEARN, _LEARNED, "th", "gpf", adjectives.LOOKS[1:2]),
        Action(verbs.UNDERSTAND, _UNDERSTOOD, "th", "h"),
        Action(verbs.REPEAT, _READ_AT_SCHOOL[:3] + _LEARNED[1:2], "th", "gpf", orders=True),
        Action(verbs.EXPLAIN, _UNDERSTOOD, "tth", "gpf", orders=True),
        Action(verbs.TRANSLATE, (*_READ_AT_SCHOOL, things.READING[0], things.READING[3]), "th", "gpf", orders=True),
        Action(
            verbs.SIGN,
            things.OFFICE_THINGS[:3] + things.OFFICE_THINGS[4:6],
            "th",
            "gpf",
            orders=True,
            named="y",
            adults=True,
        ),
        Action(verbs.SEND, things.OFFICE_THINGS[:7], "at", "gpf", adjectives.LOOKS[1:2], orders=True, adults=True),
        Action(
            verbs.FINISH,
            things.OFFICE_THINGS[:1] + things.OFFICE_THINGS[7:] + things.READING[:1],
            "thm",
            "gpf",
            adults=True,
        ),
        Action(verbs.PREPARE, things.OFFICE_THINGS[:3] + things.SCHOOL_THINGS[-1:], "tm", "gpf", adults=True),
        Action(verbs.ANSWER, things.OFFICE_THINGS[3:5] + things.SCHOOL_THINGS[6:7], "tth", "gpf"),
    ),
    weight=1.2,
)


@THEME.frame(2.5)
def learns(d: Draw) -> Sentence:
    """She is learning Japanese, elle apprend le japonais."""
    who = draws.subject(d)
    noun = d.pick(things.LANGUAGES)
    verb = d.pick((verbs.LEARN, verbs.STUDY, verbs.TEACH))
    if verb is not verbs.LEARN:
        noun = d.pick(things.SUBJECTS + things.LANGUAGES)
    phrase = the(noun)
    links = ((verb.lemma, noun.lemma),)
    rest = words_after(noun.en, phrase.fr, links)
    kind = d.between(1, 5)
    if kind == 1:
        modal = d.pick((verbs.WANT, verbs.HAVE_TO, verbs.HOPE))
        return sentence(clause(who, modal, rest=chained(infinitive(verb, rest))))
    if kind == 2:
        place = d.pick((("at school", "à l'école"), ("at university", "à l'université")))
        return sentence(
            clause(
                who, verb, Tense.PRESENT, rest=words_after(f"{noun.en} {place[0]}", f"{phrase.fr} {place[1]}", links)
            )
        )
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.USED_TO)) if verb is not verbs.TEACH else Tense.PRESENT
    if verb is verbs.LEARN and tense is Tense.USED_TO:
        tense = Tense.PROGRESSIVE
    if kind == 3 and verb is not verbs.TEACH:
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verb, Tense.PROGRESSIVE, rest=rest, ask=True), "?")
    return sentence(clause(who, verb, tense, rest=rest))


@THEME.frame(1.5)
def since(d: Draw) -> Sentence:
    """I have been learning French for three years, j'apprends le français depuis trois ans."""
    who = draws.subject(d)
    noun = d.pick(things.LANGUAGES)
    number = d.between(2, 20)
    unit = d.pick((("years", "ans"), ("months", "mois"), ("weeks", "semaines")))
    phrase = the(noun)
    have = "has" if who.singular_verb else "have"
    links = (("learn", noun.lemma), (numbers.english(number), unit[0]))
    return said(
        f"{who.en} {have} been learning {noun.en} for {numbers.english(number)} {unit[0]}",
        f"{who.fr} {verbs.LEARN.fr.present[who.person]} {phrase.fr} depuis {numbers.french(number)} {unit[1]}",
        links=links,
    )


@THEME.frame(2)
def judged(d: Draw) -> Sentence:
    """The exercises are difficult, les exercices sont difficiles."""
    noun = d.pick(_JUDGED + things.OFFICE_THINGS[:1] + things.OFFICE_THINGS[7:8] + things.READING[:1])
    plural = d.chance(0.4)
    quality = d.pick(adjectives.TASK_QUALITIES)
    phrase = d.pick((the, this))(noun, plural=plural)
    degree = d.pick((("", ""), ("too", "trop"), ("very", "très")))
    if degree[0] == "too" and quality.en in ("important", "interesting", "useful"):
        degree = ("", "")
    form = quality.agree(noun.gender, plural)
    rest = words_after(
        f"{degree[0]} {quality.en}".strip(), f"{degree[1]} {form}".strip(), ((quality.lemma, noun.lemma),)
    )
    who = as_subject(phrase)
    if not degree[0] and d.chance(0.25):
        return sentence(clause(who, verbs.BE, rest=rest, ask=True), "?")
    polarity = Polarity.NOT if d.chance(0.2) and degree[0] != "too" else Polarity.YES
    return sentence(clause(who, verbs.BE, d.pick((Tense.PRESENT, Tense.PRESENT, Tense.PAST)), polarity, rest))


@THEME.frame(1)
def subject_is(d: Draw) -> Sentence:
    """Physics is difficult, la physique est difficile."""
    noun = d.pick(things.SUBJECTS + things.LANGUAGES)
    quality = d.pick([word for word in adjectives.TASK_QUALITIES if word.en not in ("long", "short", "simple")])
    phrase = the(noun)
    degree = d.pick((("", ""), ("very", "très"), ("really", "vraiment")))
    return said(
        f"{noun.en} is {degree[0]} {quality.en}".replace("  ", " "),
        f"{phrase.fr} est {degree[1]} {quality.agree(noun.gender, False)}".replace("  ", " "),
        links=((quality.lemma, noun.lemma),),
    )


@THEME.frame(1)
def likes_subject(d: Draw) -> Sentence:
    who = draws.subject(d)
    noun = d.pick(things.SUBJECTS)
    verb = d.pick((verbs.LIKE, verbs.LOVE, verbs.HATE, verbs.PREFER))
    polarity = Polarity.NOT if verb is verbs.LIKE and d.chance(0.4) else Polarity.YES
    return sentence(
        clause(who, verb, Tense.PRESENT, polarity, words_after(noun.en, the(noun).fr, ((verb.lemma, noun.lemma),)))
    )


@THEME.frame(1.2)
def pages(d: Draw) -> Sentence:
    """The novel has two hundred pages, le roman a deux cents pages; open at page ten."""
    number = d.between(2, 99) if d.chance(0.7) else d.between(100, 400)
    kind = d.between(1, 4)
    if kind == 1:
        order = d.pick(
            (("open your books at", "ouvrez vos livres à la"), ("read", "lisez la"), ("look at", "regardez la"))
        )
        return said(
            f"{order[0]} page {numbers.english(number)}",
            f"{order[1]} page {numbers.french(number)}",
            links=((numbers.english(number), "page"),),
        )
    if kind == 2:
        noun = d.pick((things.READING[0], things.READING[4], things.OFFICE_THINGS[0], things.SHOP_THINGS[6]))
        phrase = count(number, things.SCHOOL_THINGS[9])
        return sentence(clause(as_subject(d.pick((the, this))(noun)), verbs.HAVE, rest=with_object(verbs.HAVE, phrase)))
    if kind == 3:
        phrase = count(d.between(2, 60), people.PERSONS[6])
        return said(f"there are {phrase.en} in our class", f"il y a {phrase.fr} dans notre classe", links=phrase.links)
    who = draws.subject(d)
    phrase = count(
        number if number < 60 else number % 50 + 2,
        d.pick((things.SCHOOL_THINGS[9], things.SCHOOL_THINGS[2], things.SCHOOL_THINGS[1])),
    )
    verb = verbs.READ if phrase.head == "page" else verbs.LEARN if phrase.head == "word" else verbs.FINISH
    return sentence(clause(who, verb, Tense.PAST, rest=with_object(verb, phrase)))


@THEME.frame(1)
def works(d: Draw) -> Sentence:
    who = draws.subject(d)
    place = d.pick(
        (
            ("in an office", "dans un bureau"),
            ("in a factory", "dans une usine"),
            ("at home", "à la maison"),
            ("in a restaurant", "dans un restaurant"),
            ("in a hospital", "dans un hôpital"),
            ("in a school", "dans une école"),
            ("for a big company", "pour une grande entreprise"),
            ("in a bank", "dans une banque"),
            ("in a bookstore", "dans une librairie"),
        )
    )
    tense, polarity = d.pick(
        (
            (Tense.PRESENT, Polarity.YES),
            (Tense.PRESENT, Polarity.NO_MORE),
            (Tense.USED_TO, Polarity.YES),
            (Tense.PRESENT, Polarity.NOT),
        )
    )
    return sentence(clause(who, verbs.WORK, tense, polarity, words_after(*place, (("work", place[0].split()[-1]),))))


@THEME.frame(0.8)
def late(d: Draw) -> Sentence:
    """She is late for the meeting, elle est en retard pour la réunion."""
    who = draws.subject(d)
    state = d.pick((("late", "en retard"), ("early", "en avance"), ("on time", "à l'heure")))
    event = d.pick(
        (
            ("for the meeting", "pour la réunion"),
            ("for school", "pour l'école"),
            ("for the exam", "pour l'examen"),
            ("for the concert", "pour le concert"),
            ("for dinner", "pour le dîner"),
            ("", ""),
        )
    )
    adverb = (
        d.pick((("", ""), ("often", "souvent"), ("always", "toujours"))) if not event[0] or d.chance(0.3) else ("", "")
    )
    if adverb[0]:
        event = ("", "")
    tense = Tense.PRESENT if adverb[0] else d.pick((Tense.PRESENT, Tense.PAST))
    links = ((state[0], event[0].split()[-1]),) if event[0] else ()
    return sentence(
        clause(
            who,
            verbs.BE,
            tense,
            rest=words_after(f"{state[0]} {event[0]}".strip(), f"{state[1]} {event[1]}".strip(), links),
            adverb=adverb,
        )
    )


@THEME.frame(0.7)
def question_for(d: Draw) -> Sentence:
    noun = d.pick((things.SCHOOL_THINGS[6], things.READING[0], things.READING[7], things.READING[3], things.READING[8]))
    quality = d.pick((None, adjectives.LOOKS[1], adjectives.TASK_QUALITIES[4], adjectives.TASK_QUALITIES[7]))
    phrase = a(noun, quality)
    to = d.pick(people.NAMES)
    return said(
        f"I have {phrase.en} for {to.en}", f"j'ai {phrase.fr} pour {to.fr}", links=(*phrase.links, ("have", noun.lemma))
    )
