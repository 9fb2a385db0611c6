"""The house: rooms, furniture, where things are, housework."""

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
from recurra.data.samples.english_french.grammar.conjugation import IL, ILS
from recurra.data.samples.english_french.grammar.noun_phrases import (
    NounPhrase,
    a,
    as_subject,
    count,
    owned,
    some,
    the,
    this,
)
from recurra.data.samples.english_french.grammar.words import Noun
from recurra.data.samples.english_french.lexicon import adjectives, people, places, things, verbs

THEME = Theme("home")
_SMALL = (
    *things.POCKET_THINGS,
    *things.TABLEWARE,
    *(
        noun
        for noun in things.SHOP_THINGS
        if noun.en in ["map", "newspaper", "magazine", "dictionary", "candle", "towel", "ball"]
    ),
)
_ON = tuple(
    noun for noun in things.FURNITURE if noun.en in ["table", "chair", "bed", "sofa", "desk", "shelf", "armchair"]
)
_IN = things.ROOMS
# English, French, and whether French needs "de" before the noun
_BESIDE = (
    ("next to", "à côté", "de"),
    ("near", "près", "de"),
    ("behind", "derrière", ""),
    ("in front of", "devant", ""),
    ("opposite", "en face", "de"),  # of buildings only
)

_USED = tuple(noun for noun in things.MACHINES if noun.en not in ["phone", "lamp", "clock", "fridge"])

add_actions(
    THEME,
    (
        Action(verbs.CLEAN, things.CLEANED, "ttm", "hgpf", orders=True, brief=True, plural=False),
        Action(verbs.OPEN, things.OPENINGS, "tth", "gpf", orders=True, brief=True),
        Action(verbs.CLOSE, things.OPENINGS, "tth", "gpf", orders=True, brief=True),
        Action(verbs.PAINT, things.ROOMS + things.OPENINGS[:2], "t", "gpf", orders=False, plural=False, adults=True),
        Action(verbs.REPAIR, things.MACHINES, "tmh", "gpf", named="d", plural=False, adults=True),
        Action(verbs.USE, _USED, "tm", "hgf", brief=True, adults=True, plural=False),
        Action(verbs.BREAK, things.TABLEWARE + things.MACHINES[4:6], "tmt", "p", brief=True, wished=False),
        Action(verbs.BUY, things.FURNITURE, "aa", "gpf", adjectives.LOOKS + adjectives.SIZES, adults=True),
        Action(verbs.SELL, things.FURNITURE + things.HOMES[:2], "mmt", "gpf", adjectives.LOOKS[1:3], adults=True),
        Action(
            verbs.TIDY,
            tuple(noun for noun in things.ROOMS if noun.en in "kitchen bedroom office garage living room cellar"),
            "tm",
            "gpf",
            brief=True,
            plural=False,
        ),
        Action(
            verbs.LOOK_FOR,
            things.HOMES[:2],
            "a",
            "g",
            (*adjectives.SIZES, *adjectives.PLACE_QUALITIES[:2]),
            adults=True,
        ),
    ),
    weight=1.2,
)


def beside(d: Draw, noun: Noun, outdoors: bool = True) -> tuple[str, str]:
    """ "behind the sofa", "à côté du canapé"."""
    en, fr, joint = d.pick(_BESIDE if outdoors else _BESIDE[:4])
    phrase = the(noun)
    return f"{en} {phrase.en}", f"{fr} {phrase.after(joint)}"


def _spot(d: Draw) -> tuple[str, str, str]:
    kind = d.between(1, 6)
    noun = d.pick(_ON if kind <= 3 else _IN if kind == 4 else things.FURNITURE[:11])
    phrase = the(noun)
    if kind <= 2:
        en, fr = ("in", "dans") if noun.en == "armchair" else ("on", "sur")
        return f"{en} {phrase.en}", f"{fr} {phrase.fr}", noun.lemma
    if kind == 3:
        return f"under {phrase.en}", f"sous {phrase.fr}", noun.lemma
    if kind == 4:
        return f"in {phrase.en}", f"dans {phrase.fr}", noun.lemma
    en, fr = beside(d, noun, outdoors=False)
    return en, fr, noun.lemma


def _thing(d: Draw) -> NounPhrase:
    noun = d.pick(_SMALL)
    plural = d.chance(0.35)
    return owned(d.pick(draws.OWNERS), noun, plural=plural) if d.chance(0.5) else the(noun, plural=plural)


@THEME.frame(3)
def located(d: Draw) -> Sentence:
    """The keys are under the table, les clés sont sous la table."""
    phrase = _thing(d)
    en, fr, where = _spot(d)
    rest = words_after(en, fr, ((phrase.head, where),))
    who = as_subject(phrase)
    kind = d.between(1, 5)
    if kind == 1:
        return sentence(clause(who, verbs.BE, rest=rest, ask=True), "?")
    if kind == 2:
        return sentence(clause(who, verbs.BE, polarity=Polarity.NOT, rest=rest))
    return sentence(clause(who, verbs.BE, d.pick((Tense.PRESENT, Tense.PRESENT, Tense.PAST)), rest=rest))


_CHORES = (
    ("the dishes", "la vaisselle", "dishes"),
    ("the laundry", "la lessive", "laundry"),
    ("the shopping", "les courses", "shopping"),
    ("the housework", "le ménage", "housework"),
)


@THEME.frame(1.5)
def chores(d: Draw) -> Sentence:
    """He is doing the dishes, il fait la vaisselle."""
    who = draws.subject(d)
    en, fr, lemma = d.pick(_CHORES)
    links = ((verbs.DO.lemma, lemma),)
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE, Tense.PRESENT))
    when = draws.when(d, tense, brief=True)
    kind = d.between(1, 6)
    rest = words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), links)
    if kind == 1:
        return sentence(
            clause(d.pick((people.YOU, people.HE, people.SHE, people.THEY)), verbs.DO, tense, rest=rest, ask=True), "?"
        )
    if kind == 2:
        modal = d.pick((verbs.WANT, verbs.HAVE_TO, verbs.LIKE, verbs.HATE))
        polarity = Polarity.NOT if modal in (verbs.WANT, verbs.LIKE) else Polarity.YES
        inner = infinitive(verbs.DO, words_after(en, fr, links))
        return sentence(clause(who, modal, polarity=polarity, rest=chained(inner)))
    polarity = d.pick((Polarity.YES, Polarity.YES, Polarity.YES, Polarity.NOT))
    if tense is Tense.PRESENT and polarity is Polarity.NOT:
        polarity, rest = Polarity.NEVER, words_after(en, fr, links)
    return sentence(clause(who, verbs.DO, tense, polarity, rest))


@THEME.frame(1)
def where_is(d: Draw) -> Sentence:
    phrase = _thing(d)
    are, sont = ("are", "sont") if phrase.plural else ("is", "est")
    return said(f"where {are} {phrase.en}", f"où {sont} {phrase.fr}", "?", (("where", phrase.head),))


@THEME.frame(2)
def there_is(d: Draw) -> Sentence:
    """There are two lamps on the desk, il y a deux lampes sur le bureau."""
    noun = d.pick(_SMALL)
    en, fr, where = _spot(d)
    phrase = d.pick((a(noun), count(d.between(2, 12), noun), some(noun)))
    links = (*phrase.links, (noun.lemma, where))
    be = "are" if phrase.plural else "is"
    kind = d.between(1, 5)
    if kind == 1 and phrase.fr != phrase.fr_none:
        return said(f"there {be}n't {phrase.en_any} {en}", f"il n'y a pas {phrase.fr_none} {fr}", links=links)
    if kind == 2:
        return said(f"{be} there {phrase.en_any} {en}", f"est-ce qu'il y a {phrase.fr} {fr}", "?", links)
    return said(f"there {be} {phrase.en} {en}", f"il y a {phrase.fr} {fr}", links=links)


@THEME.frame(1)
def how_many(d: Draw) -> Sentence:
    noun = d.pick(things.COUNTED_ABOUT_HOUSE + things.TABLEWARE + things.SHOP_THINGS[9:12])
    if d.chance(0.5):
        room = d.pick(_IN)
        phrase = the(room)
        links = ((noun.lemma, room.lemma),)
        return said(
            f"how many {noun.en_plural} are there in {phrase.en}",
            f"combien de {noun.fr_plural} y a-t-il dans {phrase.fr}",
            "?",
            links,
        )
    return said(
        f"how many {noun.en_plural} do you have",
        f"combien de {noun.fr_plural} avez-vous",
        "?",
        (("how many", noun.lemma),),
    )


@THEME.frame(1.5)
def described(d: Draw) -> Sentence:
    """The kitchen is small, la cuisine est petite."""
    noun = d.pick(things.ROOMS + things.HOMES[:2])
    outdoors = noun.en in ("garden", "garage", "attic", "cellar")
    quality = d.pick(adjectives.SIZES if noun.en == "garden" else adjectives.ROOM_STATES[: -1 if outdoors else None])
    who = as_subject(d.pick((the(noun), this(noun), owned(d.pick(draws.OWNERS), noun))))
    degree = d.pick((("", ""), ("very", "très")))
    if quality.en == "empty":
        degree = ("", "")
    elif quality.en in ("small", "big", "dark", "dirty") and d.chance(0.3):
        degree = ("too", "trop")
    form = quality.agree(noun.gender, False)
    rest = words_after(
        f"{degree[0]} {quality.en}".strip(), f"{degree[1]} {form}".strip(), ((quality.lemma, noun.lemma),)
    )
    polarity = Polarity.NOT if d.chance(0.25) and not degree[0] else Polarity.YES
    return sentence(clause(who, verbs.BE, d.pick((Tense.PRESENT, Tense.PAST)), polarity, rest))


@THEME.frame(1)
def furnished(d: Draw) -> Sentence:
    """Our house has three bedrooms, notre maison a trois chambres."""
    home = d.pick(things.HOMES[:2])
    who = as_subject(owned(d.pick(draws.OWNERS), home) if d.chance(0.7) else this(home))
    phrase = count(d.between(2, 12), d.pick(things.COUNTED_ABOUT_HOUSE[:3]))
    if d.chance(0.4):
        phrase = a(d.pick(things.ROOMS[:9]), d.pick(adjectives.SIZES + adjectives.LOOKS[:2]))
    return sentence(clause(who, verbs.HAVE, rest=with_object(verbs.HAVE, phrase)))


@THEME.frame(1.2)
def lives(d: Draw) -> Sentence:
    """She lives in an old house near the station, elle habite dans une vieille maison près de la gare."""
    who = draws.subject(d)
    home = d.pick(things.HOMES[:2])
    quality = d.pick(adjectives.LOOKS + adjectives.SIZES + adjectives.PLACE_QUALITIES[:2])
    phrase = a(home, quality)
    en, fr = f"in {phrase.en}", f"dans {phrase.fr}"
    links = phrase.links
    if d.chance(0.5):
        place = d.pick([place for place in places.TOWN if place.en not in ("zoo", "hotel", "bridge")])
        near = beside(d, place)
        en, fr = f"{en} {near[0]}", f"{fr} {near[1]}"
        links = (*links, ("live", place.lemma))
    return sentence(clause(who, verbs.LIVE, d.pick((Tense.PRESENT, Tense.USED_TO)), rest=words_after(en, fr, links)))


@THEME.frame(0.8)
def family_room(d: Draw) -> Sentence:
    """My father is in the garden, mon père est dans le jardin."""
    who = draws.someone(d) if d.chance(0.7) else d.pick((people.I, people.HE, people.SHE, people.WE, people.THEY))
    verb, tense = d.pick(
        (
            (verbs.BE, Tense.PRESENT),
            (verbs.BE, Tense.PAST),
            (verbs.SLEEP, Tense.PROGRESSIVE),
            (verbs.WORK, Tense.PROGRESSIVE),
            (verbs.WORK, Tense.WAS_DOING),
        )
    )
    fitting = {
        verbs.SLEEP.lemma: "bedroom/living room/attic/garden",
        verbs.WORK.lemma: "kitchen/garden/garage/office/cellar",
    }
    names = fitting.get(verb.lemma, "").split("/")
    room = d.pick([room for room in things.ROOMS if verb is verbs.BE or room.en in names])
    phrase = the(room)
    rest = words_after(f"in {phrase.en}", f"dans {phrase.fr}", ((who.lemma, room.lemma),) if who.lemma else ())
    return sentence(clause(who, verb, tense, rest=rest))


@THEME.frame(0.5)
def floor(d: Draw) -> Sentence:
    """The office is on the third floor, le bureau est au troisième étage."""
    noun = d.pick((*things.ROOMS[:2], things.ROOMS[6], things.HOMES[1], places.TOWN[11], places.TOWN[14]))
    floors = (
        ("first", "premier"),
        ("second", "deuxième"),
        ("third", "troisième"),
        ("fourth", "quatrième"),
        ("fifth", "cinquième"),
        ("sixth", "sixième"),
        ("tenth", "dixième"),
    )
    en, fr = d.pick(floors)
    phrase = the(noun) if noun in places.TOWN or d.chance(0.4) else owned(d.pick(draws.OWNERS), noun)
    return said(f"{phrase.en} is on the {en} floor", f"{phrase.fr} est au {fr} étage", links=((en, noun.lemma),))


@THEME.frame(0.5)
def address(d: Draw) -> Sentence:
    number = d.between(1, 99)
    streets = (
        ("Church Street", "rue de l'Église"),
        ("Station Street", "rue de la Gare"),
        ("Victor Hugo Street", "rue Victor-Hugo"),
        ("Castle Street", "rue du Château"),
        ("School Street", "rue de l'École"),
    )
    en, fr = d.pick(streets)
    who = d.pick(people.PRONOUNS + people.NAMES)
    return said(
        f"{who.en} {'lives' if who.person == IL else 'live'} at {numbers.english(number)} {en}",
        f"{who.fr} {verbs.LIVE.fr.present[who.person if who.person != ILS else ILS]} au {numbers.french(number)}, {fr}",
        links=((numbers.english(number), en),),
    )
