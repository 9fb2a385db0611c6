"""Travelling: countries, cities, trains, hotels."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, said, sentence
from recurra.data.samples.english_french.grammar import numbers
from recurra.data.samples.english_french.grammar.clauses import (
    Polarity,
    Tense,
    chained,
    clause,
    infinitive,
    words_after,
)
from recurra.data.samples.english_french.lexicon import people, places, things, times, verbs

THEME = Theme("travel")
_BEFORE = (*times.PAST[:1], *times.PAST[4:6], *times.PAST[7:])
_SOON = tuple(
    text
    for text in times.FUTURE
    if text[0] in ["tomorrow", "tomorrow morning", "next week", "next month", "in two days", "next Sunday"]
)


def _goal(d: Draw) -> tuple[str, str, str]:
    """English name, French with its preposition, the name in links."""
    if d.chance(0.5):
        en, fr = d.pick(places.CITIES)
        return en, f"à {fr}", en
    en, fr, _ = d.pick(places.COUNTRIES)
    return en, fr, en


@THEME.frame(2.5)
def going(d: Draw) -> Sentence:
    """We went to Italy last month, nous sommes allés en Italie le mois dernier."""
    who = draws.subject(d)
    en, fr, name = _goal(d)
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.PAST))
    moments = _SOON if tense is Tense.PROGRESSIVE else _BEFORE
    means = (
        ("by train", "en train"),
        ("by plane", "en avion"),
        ("by car", "en voiture"),
        ("with my parents", "avec mes parents"),
        ("on vacation", "en vacances"),
    )
    en_more, fr_more = d.pick((("", ""), d.pick(moments), d.pick(means)))
    rest = words_after(f"to {en} {en_more}".strip(), f"{fr} {fr_more}".strip(), (("go", name),))
    return sentence(clause(who, verbs.GO, tense, Polarity.NOT if d.chance(0.15) else Polarity.YES, rest))


@THEME.frame(2)
def living(d: Draw) -> Sentence:
    who = draws.subject(d)
    en, fr, name = _goal(d)
    verb, tense = d.pick(
        (
            (verbs.LIVE, Tense.PRESENT),
            (verbs.LIVE, Tense.USED_TO),
            (verbs.WORK, Tense.PRESENT),
            (verbs.BE, Tense.PRESENT),
            (verbs.BE, Tense.PAST),
            (verbs.LIVE, Tense.PRESENT),
        )
    )
    if tense is Tense.PRESENT and d.chance(0.3):
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(
            clause(you, verb, tense, rest=words_after(f"in {en}", fr, ((verb.lemma, name),)), ask=True), "?"
        )
    polarity = d.pick((Polarity.NOT, Polarity.NO_MORE)) if tense is Tense.PRESENT and d.chance(0.3) else Polarity.YES
    return sentence(clause(who, verb, tense, polarity, words_after(f"in {en}", fr, ((verb.lemma, name),))))


@THEME.frame(1.5)
def wish(d: Draw) -> Sentence:
    who = draws.subject(d)
    en, fr, name = _goal(d)
    verb, preposition = d.pick(((verbs.GO, "to"), (verbs.LIVE, "in"), (verbs.GO, "to"), (verbs.WORK, "in")))
    inner = infinitive(verb, words_after(f"{preposition} {en}", fr, ((verb.lemma, name),)))
    kind = d.between(1, 3)
    polarity = Polarity.NOT if kind == 1 else Polarity.YES
    modal = verbs.HOPE if kind == 2 else verbs.WANT
    return sentence(clause(who, modal, Tense.PRESENT, polarity, chained(inner)))


@THEME.frame(1)
def never(d: Draw) -> Sentence:
    """I have never been to Japan is a matter of its own; visited is exact: je n'ai jamais visité Rome."""
    who = draws.subject(d)
    en, fr = d.pick(places.CITIES)
    rest = words_after(en, fr, (("visit", en),))
    if d.chance(0.4):
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        text = clause(you, verbs.VISIT, Tense.PERFECT, rest=rest, adverb=("ever", "déjà"), ask=True, invert=True)
        return sentence(text, "?")
    return sentence(clause(who, verbs.VISIT, Tense.PERFECT, Polarity.NEVER, rest))


@THEME.frame(1)
def comes_from(d: Draw) -> Sentence:
    who = draws.subject(d)
    if d.chance(0.5):
        en, _, fr = d.pick(places.COUNTRIES)
    else:
        en, fr = d.pick(places.CITIES)
        fr = f"de {fr}"
    rest = words_after(f"from {en}", fr, (("come", en),))
    if d.chance(0.3):
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verbs.COME, rest=rest, ask=True), "?")
    return sentence(clause(who, verbs.COME, rest=rest))


@THEME.frame(2)
def departs(d: Draw) -> Sentence:
    """The train to Lyon leaves at half past six, le train pour Lyon part à six heures et demie."""
    en, fr = d.pick(places.CITIES)
    line = d.pick(things.LINES[:3])
    article = "la" if line.gender == "f" else "le"
    hour, minute = d.between(0, 12), 5 * d.between(0, 11)
    at_en, at_fr = numbers.clock(hour, minute)
    links = ((line.lemma, en),)
    kind = d.between(1, 5)
    if kind == 1:
        return said(
            f"what time does the {line.en} to {en} leave",
            f"à quelle heure part {article} {line.fr} pour {fr}",
            "?",
            links,
        )
    if kind == 2:
        return said(f"the {line.en} to {en} is late", f"{article} {line.fr} pour {fr} est en retard", links=links)
    if kind == 3:
        return said(
            f"the {line.en} from {en} arrives at {at_en}", f"{article} {line.fr} de {fr} arrive à {at_fr}", links=links
        )
    return said(
        f"the {line.en} to {en} leaves at {at_en}", f"{article} {line.fr} pour {fr} part à {at_fr}", links=links
    )


@THEME.frame(1.2)
def ticket(d: Draw) -> Sentence:
    """I would like two tickets to Rome, please. Je voudrais deux billets pour Rome, s'il vous plaît."""
    en, fr = d.pick(places.CITIES)
    number = d.between(1, 12)
    many = "s" if number > 1 else ""
    line = d.pick((("", ""), ("train ", " de train"), ("plane ", " d'avion"), ("bus ", " de bus")))
    a_en, a_fr = (
        f"{numbers.english(number)} {line[0]}ticket{many} to {en}",
        f"{numbers.french(number)} billet{many}{line[1]} pour {fr}",
    )
    links = ((numbers.english(number), "ticket"), ("ticket", en))
    if d.chance(0.5):
        return said(f"{a_en}, please", f"{a_fr}, s'il vous plaît", links=links)
    return said(f"I would like {a_en}", f"je voudrais {a_fr}", links=links)


@THEME.frame(1)
def hotel(d: Draw) -> Sentence:
    nights, guests = d.between(1, 10), d.between(1, 5)
    night = numbers.english(nights), numbers.french(nights, "f")
    many_nights = "s" if nights > 1 else ""
    people_en = "one person" if guests == 1 else f"{numbers.english(guests)} people"
    people_fr = "une personne" if guests == 1 else f"{numbers.french(guests)} personnes"
    links = ((night[0], "night"), (people_en.split()[0], "people"))
    kind = d.between(1, 3)
    if kind == 1:
        return said(
            f"I would like a room for {people_en}", f"je voudrais une chambre pour {people_fr}", links=links[1:]
        )
    if kind == 2:
        return said(
            f"I would like a room for {people_en} for {night[0]} night{many_nights}",
            f"je voudrais une chambre pour {people_fr} pour {night[1]} nuit{many_nights}",
            links=links,
        )
    who = draws.pronoun(d)
    rest = words_after(
        f"{night[0]} night{many_nights} at the hotel", f"{night[1]} nuit{many_nights} à l'hôtel", links[:1]
    )
    return sentence(clause(who, verbs.SPEND, d.pick((Tense.PAST, Tense.FUTURE)), rest=rest))


@THEME.frame(1)
def stay(d: Draw) -> Sentence:
    """They stayed in Rome for three days, ils sont restés trois jours à Rome."""
    who = draws.subject(d)
    en, fr, name = _goal(d)
    number = d.between(2, 20)
    unit = d.pick((("days", "jours"), ("weeks", "semaines"), ("months", "mois")))
    links = ((verbs.STAY.lemma, name), (numbers.english(number), unit[0]))
    rest = words_after(
        f"{numbers.english(number)} {unit[0]} in {en}", f"{numbers.french(number)} {unit[1]} {fr}", links
    )
    return sentence(clause(who, verbs.SPEND, d.pick((Tense.PAST, Tense.FUTURE)), rest=rest))


@THEME.frame(1.2)
def moves(d: Draw) -> Sentence:
    """She is coming back tomorrow, elle revient demain; elles sont arrivées."""
    who = draws.subject(d)
    verb = d.pick((verbs.ARRIVE, verbs.LEAVE, verbs.COME_BACK, verbs.GO_HOME, verbs.GO_OUT))
    tense = d.pick((Tense.PAST, Tense.FUTURE, Tense.PROGRESSIVE))
    moments = times.PAST if tense is Tense.PAST else times.FUTURE
    en, fr = d.pick(moments)
    if d.chance(0.25):
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verb, tense, rest=words_after(en, fr), ask=True), "?")
    polarity = Polarity.NOT if d.chance(0.2) else Polarity.YES
    return sentence(clause(who, verb, tense, polarity, words_after(en, fr, ((verb.lemma, en),))))
