"""The clock, days, dates and the weather."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, said, sentence
from recurra.data.samples.english_french.grammar import numbers
from recurra.data.samples.english_french.grammar.clauses import Clause, Tense, clause, words_after
from recurra.data.samples.english_french.grammar.conjugation import IL
from recurra.data.samples.english_french.grammar.noun_phrases import the
from recurra.data.samples.english_french.lexicon import places, things, times, verbs

THEME = Theme("calendar")
_ORDINALS = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
]


def _ordinal(day: int) -> str:
    if day <= 20:
        return _ORDINALS[day - 1]
    return "thirtieth" if day == 30 else f"{numbers.english(day - day % 10)}-{_ORDINALS[day % 10 - 1]}"


def _date(d: Draw) -> tuple[str, str, tuple[str, str]]:
    """ "May the eighth", "le huit mai"; the first of a month is premier."""
    day = d.between(1, 30)
    en, fr = d.pick(times.MONTHS)
    if day == 30 and en == "February":
        day = 1
    return f"{en} {_ordinal(day)}", f"le {'premier' if day == 1 else numbers.french(day)} {fr}", (_ordinal(day), en)


@THEME.frame(2)
def o_clock(d: Draw) -> Sentence:
    """It is quarter to five, il est cinq heures moins le quart."""
    hour, minute = d.between(0, 12), 5 * d.between(0, 11)
    en, fr = numbers.clock(hour, minute)
    links = ((str(hour), f":{minute}"),)
    kind = d.between(1, 3)
    if kind == 1:
        return said(f"it is already {en}", f"il est déjà {fr}", links=links)
    return said(f"it is {en}", f"il est {fr}", links=links)


@THEME.frame(2.5)
def at_time(d: Draw) -> Sentence:
    """She gets up at seven o'clock, elle se lève à sept heures."""
    who = draws.subject(d)
    verb = d.pick(
        (
            verbs.GET_UP,
            verbs.WAKE_UP,
            verbs.GO_TO_BED,
            verbs.DINE,
            verbs.LUNCH,
            verbs.LEAVE,
            verbs.ARRIVE,
            verbs.GO_HOME,
            verbs.WORK,
        )
    )
    low, high = {
        "get up": (5, 9),
        "wake up": (5, 9),
        "go to bed": (8, 11),
        "have dinner": (6, 9),
        "have lunch": (11, 1),
        "go home": (1, 9),
    }.get(verb.lemma, (1, 11))
    hour = 12 if low > high else d.between(low, high)
    minute = d.pick((0, 0, 15, 30, 30, 45, 10, 20, 50))
    en, fr = numbers.clock(hour, minute)
    tense = d.pick((Tense.PRESENT, Tense.PAST, Tense.FUTURE)) if verb is not verbs.WORK else Tense.FUTURE
    adverb = d.pick((("", ""), ("often", "souvent"), ("always", "toujours"))) if tense is Tense.PRESENT else ("", "")
    if verb is verbs.WORK:
        until = words_after(f"until {en}", f"jusqu'à {fr}", ((verb.lemma, str(hour)),))
        return sentence(clause(who, verb, tense, rest=until))
    rest = words_after(f"at {en}", f"à {fr}", ((verb.lemma, f"{hour}"),))
    return sentence(clause(who, verb, tense, rest=rest, adverb=adverb))


@THEME.frame(1.2)
def begins(d: Draw) -> Sentence:
    """The movie starts at half past eight, le film commence à huit heures et demie."""
    noun = d.pick((*things.SHOWS[:2], *things.SHOWS[4:], things.SCHOOL_THINGS[0], things.SCHOOL_THINGS[-1]))
    hour, minute = d.between(1, 11), d.pick((0, 15, 30, 45, 5, 10, 20, 50))
    en, fr = numbers.clock(hour, minute)
    phrase = the(noun)
    links = ((noun.lemma, str(hour)),)
    if d.chance(0.2):
        return said(
            f"what time does {phrase.en} start", f"à quelle heure commence {phrase.fr}", "?", (("start", noun.lemma),)
        )
    return said(f"{phrase.en} starts at {en}", f"{phrase.fr} commence à {fr}", links=links)


@THEME.frame(1)
def shop_hours(d: Draw) -> Sentence:
    """The bank opens at nine o'clock, la banque ouvre à neuf heures."""
    place = d.pick(
        [
            place
            for place in places.TOWN
            if place.en
            in [
                "bank",
                "museum",
                "market",
                "university",
                "pharmacy",
                "bakery",
                "library",
                "supermarket",
                "bookstore",
                "restaurant",
                "zoo",
            ]
        ]
    )
    phrase = the(place)
    verb_en, verb_fr, low, high = d.pick((("opens", "ouvre", 7, 11), ("closes", "ferme", 5, 11)))
    hour = d.between(low, high)
    en, fr = numbers.clock(hour, d.pick((0, 0, 30, 15, 45)))
    if d.chance(0.2):
        return said(
            f"what time does {phrase.en} {verb_en[:-1]}",
            f"à quelle heure {verb_fr} {phrase.fr}",
            "?",
            ((verb_en[:-1], place.lemma),),
        )
    return said(
        f"{phrase.en} {verb_en} at {en}",
        f"{phrase.fr} {verb_fr} à {fr}",
        links=((verb_en[:-1], place.lemma), (place.lemma, str(hour))),
    )


@THEME.frame(2)
def date(d: Draw) -> Sentence:
    """My birthday is on May the eighth, mon anniversaire est le huit mai."""
    en, fr, link = _date(d)
    kind = d.between(1, 5)
    if kind == 1:
        return said(f"today is {en}", f"aujourd'hui, c'est {fr}", links=(link,))
    if kind == 2:
        event = d.pick(
            (
                ("concert", "le concert"),
                ("exam", "l'examen"),
                ("meeting", "la réunion"),
                ("party", "la fête"),
                ("match", "le match"),
                ("wedding", "le mariage"),
            )
        )
        return said(
            f"the {event[0]} is on {en}",
            f"{event[1]} est {fr}" if event[0] != "meeting" else f"la réunion est {fr}",
            links=(link, (event[0], link[1])),
        )
    if kind == 3:
        who = draws.subject(d)
        verb = d.pick((verbs.ARRIVE, verbs.LEAVE, verbs.COME_BACK))
        tense = d.pick((Tense.PAST, Tense.FUTURE))
        return sentence(clause(who, verb, tense, rest=words_after(f"on {en}", fr, (link, (verb.lemma, link[1])))))
    if kind == 4:
        who = draws.subject(d)
        was = "was" if who.person in (0, IL) else "were"
        form = "né" + ("e" if who.gender == "f" else "") + ("s" if who.plural else "")
        return said(
            f"{who.en} {was} born on {en}",
            f"{who.fr} {verbs.BE.fr.present[who.person]} {form} {fr}",
            links=(link, ("born", link[1])),
        )
    owner = d.pick((("my", "mon"), ("your", "votre"), ("his", "son"), ("her", "son")))
    return said(
        f"{owner[0]} birthday is on {en}", f"{owner[1]} anniversaire est {fr}", links=(link, ("birthday", link[1]))
    )


@THEME.frame(0.8)
def day(d: Draw) -> Sentence:
    (en, fr), kind = d.pick(times.DAYS), d.between(1, 6)
    link = (("day", en),)
    if kind == 1:
        return said(f"today is {en}", f"aujourd'hui, c'est {fr}", links=link)
    if kind == 2:
        return said(f"tomorrow is {en}", f"demain, c'est {fr}", links=link)
    if kind == 3:
        return said(f"yesterday was {en}", f"hier, c'était {fr}", links=link)
    if kind == 4:
        return said(f"see you on {en}", f"à {fr}", "!", link)
    noun_en, noun_fr = d.pick(
        (
            ("the meeting", "la réunion"),
            ("the exam", "l'examen"),
            ("the party", "la fête"),
            ("the concert", "le concert"),
            ("the match", "le match"),
            ("my appointment", "mon rendez-vous"),
        )
    )
    if kind == 5:
        return said(f"is {noun_en} on {en}", f"est-ce que {noun_fr} est {fr}", "?", ((noun_en, en),))
    return said(f"{noun_en} is on {en}", f"{noun_fr} est {fr}", links=((noun_en, en),))


_WEATHER = (
    (
        "it is raining",
        "il pleut",
        "it was raining",
        "il pleuvait",
        "it is going to rain",
        "il va pleuvoir",
        "it often rains",
        "il pleut souvent",
    ),
    (
        "it is snowing",
        "il neige",
        "it was snowing",
        "il neigeait",
        "it is going to snow",
        "il va neiger",
        "it often snows",
        "il neige souvent",
    ),
    (
        "it is cold",
        "il fait froid",
        "it was cold",
        "il faisait froid",
        "it is going to be cold",
        "il va faire froid",
        "it is often cold",
        "il fait souvent froid",
    ),
    (
        "it is hot",
        "il fait chaud",
        "it was hot",
        "il faisait chaud",
        "it is going to be hot",
        "il va faire chaud",
        "it is often hot",
        "il fait souvent chaud",
    ),
    (
        "it is sunny",
        "il y a du soleil",
        "it was sunny",
        "il y avait du soleil",
        "it is going to be sunny",
        "il va y avoir du soleil",
        "it is often sunny",
        "il y a souvent du soleil",
    ),
    (
        "it is windy",
        "il y a du vent",
        "it was windy",
        "il y avait du vent",
        "it is going to be windy",
        "il va y avoir du vent",
        "it is often windy",
        "il y a souvent du vent",
    ),
    (
        "the weather is nice",
        "il fait beau",
        "the weather was nice",
        "il faisait beau",
        "the weather is going to be nice",
        "il va faire beau",
        "the weather is often nice",
        "il fait souvent beau",
    ),
    (
        "the weather is bad",
        "il fait mauvais",
        "the weather was bad",
        "il faisait mauvais",
        "the weather is going to be bad",
        "il va faire mauvais",
        "the weather is often bad",
        "il fait souvent mauvais",
    ),
)


@THEME.frame(2.5)
def weather(d: Draw) -> Sentence:
    """It was raining yesterday, il pleuvait hier; in Paris it is often cold in winter."""
    now = d.pick(_WEATHER)
    kind = d.between(1, 5)
    en, fr = d.pick(places.CITIES)
    place = d.pick((("", "", ""), (f"in {en}", f"à {fr}", en), ("here", "ici", "here")))
    if d.chance(0.4):
        en, fr, _ = d.pick(places.COUNTRIES)
        place = (f"in {en}", fr, en)
    link = (("weather " + now[0].split()[-1], place[2]),) if place[2] else ()
    if kind == 1:
        return said(f"{now[0]} {place[0]}".strip(), f"{now[1]} {place[1]}".strip(), links=link)
    if kind == 2:
        when = d.pick(
            (
                ("yesterday", "hier"),
                ("last week", "la semaine dernière"),
                ("last month", "le mois dernier"),
                ("this morning", "ce matin"),
                ("last night", "hier soir"),
            )
        )
        return said(
            f"{now[2]} {place[0]}".strip() + f" {when[0]}", f"{now[3]} {place[1]}".strip() + f" {when[1]}", links=link
        )
    if kind == 3:
        when = d.pick(times.FUTURE[:5])
        return said(
            f"{now[4]} {place[0]}".strip() + f" {when[0]}", f"{now[5]} {place[1]}".strip() + f" {when[1]}", links=link
        )
    season = (
        d.pick(times.SEASONS)
        if d.chance(0.6)
        else (lambda month: (f"in {month[0]}", f"en {month[1]}"))(d.pick(times.MONTHS))
    )
    return said(
        f"{now[6]} {place[0]}".strip() + f" {season[0]}", f"{now[7]} {place[1]}".strip() + f" {season[1]}", links=link
    )


@THEME.frame(0.7)
def degrees(d: Draw) -> Sentence:
    number = d.between(2, 40)
    en, fr = d.pick(places.CITIES)
    return said(
        f"it is {numbers.english(number)} degrees in {en}",
        f"il fait {numbers.french(number)} degrés à {fr}",
        links=((numbers.english(number), en),),
    )


@THEME.frame(0.4)
def year(d: Draw) -> Sentence:
    unit_en, unit_fr, most = d.pick(
        (
            ("minutes", "minutes", 59),
            ("hours", "heures", 12),
            ("days", "jours", 12),
            ("weeks", "semaines", 10),
            ("months", "mois", 11),
            ("years", "ans", 30),
        )
    )
    number = d.between(2, most)
    event = d.pick(
        (
            ("I arrived", "je suis arrivé"),
            ("she left", "elle est partie"),
            ("they left", "ils sont partis"),
            ("we arrived", "nous sommes arrivés"),
        )
    )
    gender = "f" if unit_en in ("minutes", "hours", "weeks") else "m"
    ago = Clause(
        f"{event[0]} {numbers.english(number)} {unit_en} ago",
        f"{event[1]} il y a {numbers.french(number, gender)} {unit_fr}",
        ((numbers.english(number), unit_en),),
    )
    return sentence(ago)
