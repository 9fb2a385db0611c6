"""The town and the way: where places are, directions, going there."""

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
    words_after,
)
from recurra.data.samples.english_french.grammar.noun_phrases import a, as_subject, the, this
from recurra.data.samples.english_french.lexicon import adjectives, people, places, things, times, verbs

from .home import beside

THEME = Theme("town")
_QUALITIES = adjectives.PLACE_QUALITIES
_SCENIC = tuple(
    place
    for place in places.TOWN
    if place.en
    in [
        "church",
        "museum",
        "park",
        "hotel",
        "restaurant",
        "theater",
        "castle",
        "square",
        "cathedral",
        "bridge",
        "library",
        "market",
    ]
)
_CENTER = tuple(
    place for place in places.TOWN if place.en not in ["airport", "beach", "harbor", "zoo", "stadium", "castle"]
)
_KNOWN = tuple(
    place
    for place in places.TOWN
    if place.en
    in ["museum", "castle", "church", "hotel", "restaurant", "park", "beach", "theater", "bookstore", "bakery"]
)
_STREET = tuple(
    place
    for place in places.TOWN
    if place.en
    in [
        "restaurant",
        "cinema",
        "bakery",
        "bookstore",
        "pharmacy",
        "hotel",
        "theater",
        "church",
        "bank",
        "supermarket",
        "library",
        "museum",
    ]
)

add_actions(
    THEME,
    (
        Action(
            verbs.VISIT,
            places.VISITED,
            "tth",
            "gpf",
            adjectives.PLACE_QUALITIES[2:3] + adjectives.LOOKS[2:3],
            plural=False,
        ),
        Action(verbs.LOOK_FOR, places.TOWN, "tta", "g", (), plural=False, wished=False),
        Action(verbs.TAKE, things.TAKEN, "t", "hgpf", brief=True, plural=False),
        Action(verbs.WAIT_FOR, things.LINES, "t", "hgp", brief=True, plural=False),
        Action(verbs.MISS, things.LINES, "ttm", "pf", brief=True, wished=False, plural=False),
        Action(
            verbs.DRIVE,
            tuple(noun for noun in things.VEHICLES if noun.en in ["car", "bus", "truck", "taxi"]),
            "a",
            "gp",
            adjectives.COLORS[:6] + adjectives.SIZES,
            wished=False,
            adults=True,
        ),
        Action(verbs.KNOW, _KNOWN, "h", "h", plural=False),
    ),
    weight=0.9,
)


@THEME.frame(1)
def where_is(d: Draw) -> Sentence:
    place = d.pick(places.TOWN)
    phrase = the(place)
    links = (("where", place.lemma),)
    kind = d.between(1, 4)
    if kind == 1:
        return said(f"where is {phrase.en}", f"où est {phrase.fr}", "?", links)
    if kind == 2:
        return said(f"excuse me, where is {phrase.en}", f"excusez-moi, où est {phrase.fr}", "?", links)
    if kind == 3:
        return said(f"where is {phrase.en}, please", f"où est {phrase.fr}, s'il vous plaît", "?", links)
    near = a(place)
    return said(f"is there {near.en} near here", f"est-ce qu'il y a {near.fr} près d'ici", "?", links)


@THEME.frame(2)
def situated(d: Draw) -> Sentence:
    """The bank is next to the church, la banque est à côté de l'église."""
    place, other = d.pick(_CENTER), d.pick(_CENTER)
    while other is place:
        other = d.pick(_CENTER)
    en, fr = beside(d, other)
    phrase = the(place)
    rest = words_after(en, fr, ((place.lemma, other.lemma),))
    kind = d.between(1, 5)
    if kind == 1:
        return said(f"there is {a(place).en} {en}", f"il y a {a(place).fr} {fr}", links=rest.links)
    if kind == 2:
        return sentence(clause(as_subject(phrase), verbs.BE, rest=rest, ask=True), "?")
    return sentence(
        clause(as_subject(phrase), verbs.BE, polarity=Polarity.NOT if kind == 3 else Polarity.YES, rest=rest)
    )


@THEME.frame(3)
def going(d: Draw) -> Sentence:
    """I am going to the airport by taxi, je vais à l'aéroport en taxi."""
    who = draws.subject(d)
    place = d.pick(places.GOALS)
    phrase = the(place)
    tense = d.pick((Tense.PROGRESSIVE, Tense.PROGRESSIVE, Tense.PAST, Tense.PRESENT))
    en, fr = d.pick(
        (
            ("", ""),
            draws.when(d, tense),
            ("by car", "en voiture"),
            ("by bus", "en bus"),
            ("on foot", "à pied"),
            ("by taxi", "en taxi"),
            ("by bicycle", "à vélo"),
            ("by subway", "en métro"),
        )
    )
    adverb = ("", "")
    if tense is Tense.PRESENT:
        adverb, (en, fr) = (
            (d.pick(times.OFTEN), (en, fr)) if en.startswith(("by", "on foot")) else (("", ""), d.pick(times.HABIT))
        )
    links = (("go", place.lemma), *((("by", place.lemma),) if en.startswith(("by", "on foot")) else ()))
    rest = words_after(f"to {phrase.en} {en}".strip(), f"{phrase.after('à')} {fr}".strip(), links)
    if tense is Tense.PROGRESSIVE and d.chance(0.3):
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verbs.GO, tense, rest=rest, ask=True), "?")
    polarity = Polarity.NOT if d.chance(0.2) and tense is not Tense.PRESENT else Polarity.YES
    return sentence(clause(who, verbs.GO, tense, polarity, rest, adverb=adverb))


@THEME.frame(1)
def must_go(d: Draw) -> Sentence:
    who = draws.subject(d)
    place = d.pick(places.GOALS)
    phrase = the(place)
    en, fr = d.pick((("", ""), *times.FUTURE[:6]))
    rest = words_after(f"to {phrase.en} {en}".strip(), f"{phrase.after('à')} {fr}".strip(), (("go", place.lemma),))
    modal = d.pick((verbs.WANT, verbs.HAVE_TO))
    polarity = Polarity.NOT if modal is verbs.WANT and d.chance(0.3) else Polarity.YES
    return sentence(clause(who, modal, polarity=polarity, rest=chained(infinitive(verbs.GO, rest))))


@THEME.frame(1)
def at_place(d: Draw) -> Sentence:
    """She is at the hospital, elle est à l'hôpital."""
    who = draws.subject(d)
    place = d.pick([place for place in places.GOALS if place.en not in ("town hall", "church", "harbor")])
    phrase = the(place)
    verb, tense = d.pick(((verbs.BE, Tense.PRESENT), (verbs.BE, Tense.PAST), (verbs.WORK, Tense.PRESENT)))
    if verb is verbs.WORK and place.en in ("beach", "park"):
        verb = verbs.BE
    return sentence(
        clause(who, verb, tense, rest=words_after(f"at {phrase.en}", phrase.after("à"), ((verb.lemma, place.lemma),)))
    )


@THEME.frame(2)
def direction(d: Draw) -> Sentence:
    """Turn left after the church, tournez à gauche après l'église."""
    phrase = the(d.pick(places.TOWN))
    links = (("way", phrase.head),)
    kind = d.between(1, 6)
    side = d.pick((("left", "à gauche"), ("right", "à droite")))
    if kind <= 2:
        where = d.pick(
            (("after", "après", ""), ("before", "avant", ""), ("in front of", "devant", ""), ("behind", "derrière", ""))
        )
        return said(
            f"turn {side[0]} {where[0]} {phrase.en}",
            f"tournez {side[1]} {where[1]} {phrase.fr}",
            links=((side[0], phrase.head), *links),
        )
    if kind == 3:
        return said(f"go straight ahead to {phrase.en}", f"allez tout droit jusqu'{phrase.after('à')}", links=links)
    if kind == 4:
        en, fr = d.pick((("first", "première"), ("second", "deuxième"), ("third", "troisième")))
        return said(
            f"take the {en} street on the {side[0]} after {phrase.en}",
            f"prenez la {fr} rue {side[1]} après {phrase.fr}",
            links=((en, phrase.head), *links),
        )
    if kind == 5:
        return said(f"{phrase.en} is on the {side[0]}", f"{phrase.fr} est {side[1]}", links=((side[0], phrase.head),))
    minutes = d.pick((2, 5, 10, 15, 20))
    number = numbers.english(minutes)
    return said(
        f"{phrase.en} is {number} minutes from here",
        f"{phrase.fr} est à {numbers.french(minutes)} minutes d'ici",
        links=((number, phrase.head),),
    )


@THEME.frame(0.8)
def how_to_get(d: Draw) -> Sentence:
    phrase = the(d.pick(places.TOWN))
    links = (("way", phrase.head),)
    if d.chance(0.5):
        return said(f"how do I get to {phrase.en}", f"comment est-ce que je vais {phrase.after('à')}", "?", links)
    return said(f"is {phrase.en} far from here", f"est-ce que {phrase.fr} est loin d'ici", "?", links)


@THEME.frame(1)
def described(d: Draw) -> Sentence:
    """This museum is famous, ce musée est célèbre."""
    place = d.pick(places.TOWN)
    quality = d.pick(
        [
            word
            for word in _QUALITIES
            if (place in _SCENIC or word.en not in ("famous", "charming"))
            and (word.en != "expensive" or place.en in ("restaurant", "hotel", "theater", "supermarket", "museum"))
        ]
    )
    plural = d.chance(0.15)
    who = as_subject(this(place, plural=True) if plural else d.pick((the(place), this(place))))
    form = quality.agree(place.gender, plural)
    degree = d.pick((("", ""), ("very", "très")))
    rest = words_after(
        f"{degree[0]} {quality.en}".strip(), f"{degree[1]} {form}".strip(), ((quality.lemma, place.lemma),)
    )
    return sentence(clause(who, verbs.BE, rest=rest))


@THEME.frame(1)
def sight(d: Draw) -> Sentence:
    """There is a beautiful castle in this village, il y a un beau château dans ce village."""
    en, fr = d.pick(
        (
            ("in this village", "dans ce village"),
            ("in this town", "dans cette ville"),
            ("in our street", "dans notre rue"),
        )
    )
    place = d.pick(_SCENIC if "town" in en else _STREET)
    scenic = (*adjectives.LOOKS, *_QUALITIES[2:3]) if place in _SCENIC else adjectives.LOOKS[1:3]
    phrase = a(place, d.pick((*scenic, *adjectives.SIZES, *_QUALITIES[:1])))
    if d.chance(0.25):
        return said(f"there isn't {phrase.en} {en}", f"il n'y a pas {phrase.fr_none} {fr}", links=phrase.links)
    return said(f"there is {phrase.en} {en}", f"il y a {phrase.fr} {fr}", links=phrase.links)


@THEME.frame(1)
def opens(d: Draw) -> Sentence:
    """The museum is closed on Mondays, le musée est fermé le lundi."""
    place = d.pick(places.VISITED + places.TOWN[6:12] + places.TOWN[1:2])
    phrase = the(place)
    en, fr = d.pick(times.DAYS)
    state, form = d.pick((("open", "ouvert"), ("closed", "fermé")))
    form += "e" if place.gender == "f" else ""
    kind = d.between(1, 3)
    if kind == 1:
        return said(
            f"is {phrase.en} {state} on {en}s",
            f"est-ce que {phrase.fr} est {form} le {fr}",
            "?",
            ((state, place.lemma),),
        )
    if kind == 2:
        return said(
            f"{phrase.en} is {state} today", f"{phrase.fr} est {form} aujourd'hui", links=((state, place.lemma),)
        )
    return said(
        f"{phrase.en} is {state} on {en}s",
        f"{phrase.fr} est {form} le {fr}",
        links=((state, place.lemma), (en, place.lemma)),
    )
