"""Clothes, colours, prices and presents."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.actions import Action, add_actions
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, after, said, sentence
from recurra.data.samples.english_french.grammar import english, numbers
from recurra.data.samples.english_french.grammar.clauses import (
    TO_HER,
    TO_HIM,
    TO_THEM,
    Polarity,
    Tense,
    chained,
    clause,
    infinitive,
    pronoun_for,
    with_object,
    words_after,
)
from recurra.data.samples.english_french.grammar.noun_phrases import a, as_subject, count, owned, the, this
from recurra.data.samples.english_french.lexicon import adjectives, people, things, verbs

THEME = Theme("shopping")
_SHOPS = (("in this shop", "dans ce magasin"), ("at the market", "au marché"), ("in town", "en ville"))
_PRICED = things.CLOTHES + things.SHOP_THINGS + things.FURNITURE
_CLOTHES_LOOKS = adjectives.COLORS + adjectives.LOOKS + adjectives.CLOTHES_QUALITIES[:6]
_FOUND = (*adjectives.COLORS, *adjectives.LOOKS[1:3], *adjectives.SIZES)
_SOLD = tuple(
    noun
    for noun in things.SHOP_THINGS + things.VEHICLES
    if noun.en in ["computer", "lamp", "bicycle", "tent", "car", "motorbike", "boat"]
)
_DRESSES = tuple(noun for noun in things.CLOTHES if noun.en in ("dress", "skirt"))
_FOR_ALL = tuple(noun for noun in things.CLOTHES if noun not in _DRESSES)
_CHEAP = [
    "newspaper",
    "magazine",
    "stamp",
    "envelope",
    "candle",
    "towel",
    "toothbrush",
    "battery",
    "ball",
    "map",
    "basket",
]
_ITS_COLOR = things.CLOTHES + things.PAIRED_CLOTHES + things.POCKET_THINGS[:4]

add_actions(
    THEME,
    (
        Action(verbs.BUY, things.CLOTHES, "aaahtn", "gpf", _CLOTHES_LOOKS, _SHOPS, named="l"),
        Action(verbs.BUY, things.PAIRED_CLOTHES, "sb", "gpf", _CLOTHES_LOOKS, _SHOPS),
        Action(verbs.BUY, things.SHOP_THINGS, "aahn", "gpf", adjectives.LOOKS + adjectives.SIZES, _SHOPS, named="l"),
        Action(verbs.WEAR, _FOR_ALL, "aam", "hgpf", _CLOTHES_LOOKS, named="l", brief=True),
        Action(verbs.WEAR, things.PAIRED_CLOTHES, "b", "hgpf", adjectives.COLORS, brief=True),
        Action(verbs.CHOOSE, things.CLOTHES + things.GIFTS, "ath", "pf", adjectives.COLORS),
        Action(verbs.LOOK_FOR, _FOR_ALL + things.POCKET_THINGS, "amt", "g", _FOUND, wished=False),
        Action(verbs.FIND, things.POCKET_THINGS, "amt", "p", _FOUND, wished=False),
        Action(verbs.LOSE, things.POCKET_THINGS, "mmt", "p", wished=False),
        Action(verbs.FORGET, things.POCKET_THINGS, "mmt", "p", brief=True, wished=False),
        Action(verbs.SELL, _SOLD, "mmt", "pf", adjectives.LOOKS[1:3], adults=True),
        Action(
            verbs.HAVE,
            things.POCKET_THINGS + things.SHOP_THINGS,
            "a",
            "h",
            (*adjectives.LOOKS[:3], *adjectives.COLORS[:4]),
        ),
    ),
    weight=1.2,
)


@THEME.frame(2)
def price(d: Draw) -> Sentence:
    """This dress costs eighty euros, cette robe coûte quatre-vingts euros."""
    noun = d.pick(_PRICED)
    low, high = (2, 20) if noun.en in _CHEAP else (20, 400) if noun in things.FURNITURE and d.chance(0.4) else (10, 99)
    amount = d.between(low, high)
    phrase = d.pick((the, this))(noun)
    cost, dear = numbers.english(amount), numbers.french(amount)
    kind = d.between(1, 3)
    links = ((cost, noun.lemma),)
    if kind == 1:
        return said(f"{phrase.en} costs {cost} euros", f"{phrase.fr} coûte {dear} euros", links=links)
    if kind == 2:
        who = draws.subject(d)
        rest = words_after(f"{phrase.en} for {cost} euros", f"{phrase.fr} pour {dear} euros", links)
        verb = d.pick((verbs.BUY, verbs.SELL))
        return sentence(clause(who, verb, Tense.PAST, rest=rest))
    amount = d.between(2, 99) if d.chance(0.85) else d.between(100, 400)
    cost, dear = numbers.english(amount), numbers.french(amount)
    return said(f"it costs {cost} euros", f"ça coûte {dear} euros")


@THEME.frame(1)
def ask_price(d: Draw) -> Sentence:
    noun = d.pick(_PRICED + things.PAIRED_CLOTHES + things.FRUIT)
    plural = noun in things.PAIRED_CLOTHES + things.FRUIT or d.chance(0.3)
    phrase = d.pick((the, this))(noun, plural=plural)
    do, verb = ("do", "coûtent") if plural else ("does", "coûte")
    return said(f"how much {do} {phrase.en} cost", f"combien {verb} {phrase.fr}", "?", (("cost", noun.lemma),))


@THEME.frame(2)
def looks(d: Draw) -> Sentence:
    """This dress is too long, cette robe est trop longue."""
    noun = d.pick(_ITS_COLOR)
    plural = noun in things.PAIRED_CLOTHES or d.chance(0.25)
    pool = adjectives.COLORS
    if noun in things.CLOTHES + things.PAIRED_CLOTHES and d.chance(0.6):
        pool = adjectives.CLOTHES_QUALITIES + adjectives.SIZES
    quality = d.pick(pool)
    who = as_subject(
        d.pick(
            (
                the(noun, plural=plural),
                this(noun, plural=plural),
                owned(d.pick(("my", "your", "her") if noun in _DRESSES else draws.OWNERS[:4]), noun, plural=plural),
            )
        )
    )
    form = quality.agree(noun.gender, plural)
    links = ((quality.lemma, noun.lemma),)
    degree = ("", "") if quality in adjectives.COLORS else d.pick((("", ""), ("too", "trop"), ("very", "très")))
    if degree[0] == "too" and quality.en in ("comfortable", "elegant", "clean"):
        degree = ("very", "très")
    rest = words_after(f"{degree[0]} {quality.en}".strip(), f"{degree[1]} {form}".strip(), links)
    kind = d.between(1, 5)
    if kind == 1 and not degree[0]:
        return sentence(clause(who, verbs.BE, rest=rest, ask=True), "?")
    if kind == 2 and degree[0] != "very":
        return sentence(clause(who, verbs.BE, polarity=Polarity.NOT, rest=rest))
    return sentence(clause(who, verbs.BE, rest=rest))


@THEME.frame(1)
def compare(d: Draw) -> Sentence:
    """The coat is more expensive than the jacket, le manteau est plus cher que la veste."""
    pool = d.pick((things.CLOTHES, things.FURNITURE, things.VEHICLES))
    wide = {things.CLOTHES: adjectives.CLOTHES_QUALITIES[:3], things.VEHICLES: adjectives.VEHICLE_QUALITIES}
    quality = d.pick(wide.get(pool, (*adjectives.SIZES, *adjectives.THING_QUALITIES[:3])))
    one, other = d.pick(pool), d.pick(pool)
    while other is one:
        other = d.pick(pool)
    form = quality.agree(one.gender, False)
    first, second = the(one), the(other)
    links = ((quality.lemma, one.lemma),)
    if d.chance(0.3):
        return said(
            f"{first.en} is as {quality.en} as {second.en}", f"{first.fr} est aussi {form} que {second.fr}", links=links
        )
    more = english.comparative(quality.en)
    return said(f"{first.en} is {more} than {second.en}", f"{first.fr} est plus {form} que {second.fr}", links=links)


@THEME.frame(1.5)
def give(d: Draw) -> Sentence:
    """I am giving her a watch, je lui donne une montre; I gave a watch to my sister."""
    who = draws.subject(d)
    noun = d.pick(things.GIFTS)
    verb = d.pick((verbs.GIVE, verbs.SEND, verbs.SHOW, verbs.BRING))
    phrase = a(noun, d.pick(adjectives.LOOKS) if d.chance(0.3) else None)
    tense = d.pick((Tense.PAST, Tense.FUTURE))
    rest = with_object(verb, phrase)
    if d.chance(0.5):
        to = d.pick((TO_HIM, TO_HER, TO_THEM))
        return sentence(clause(who, verb, tense, rest=rest, pronoun=to))
    receiver = draws.other_relative(d, who)
    rest = words_after(f"{phrase.en} to {receiver.en}", f"{phrase.fr} {receiver.after('à')}", rest.links)
    return sentence(clause(who, verb, tense, rest=rest))


@THEME.frame(1.5)
def lost(d: Draw) -> Sentence:
    """Where is my key? I lost it. Où est ma clé ? Je l'ai perdue."""
    noun = d.pick(things.POCKET_THINGS + things.PAIRED_CLOTHES)
    plural = noun in things.PAIRED_CLOTHES or d.chance(0.2)
    who = d.pick([person for person in people.PRONOUNS if person is not people.YOU])
    phrase = owned(who.owner, noun, plural=plural)
    it = pronoun_for(phrase)
    links = (("lose", noun.lemma),)
    are, sont = ("are", "sont") if plural else ("is", "est")
    first = said(f"where {are} {phrase.en}", f"où {sont} {phrase.fr}", "?", links)
    kind = d.between(1, 3)
    if kind == 1:
        second = clause(who, verbs.LOSE, Tense.PAST, pronoun=it)
    elif kind == 2:
        second = clause(who, verbs.LOOK_FOR, Tense.PROGRESSIVE, pronoun=it)
    else:
        inner = infinitive(verbs.FIND, pronoun=it)
        second = clause(who, verbs.CAN, polarity=Polarity.NOT, rest=chained(inner, to=""))
    return after(first, sentence(second))


@THEME.frame(0.8)
def this_is(d: Draw) -> Sentence:
    """It is a beautiful coat, c'est un beau manteau."""
    noun = d.pick(things.CLOTHES + things.GIFTS + things.SHOP_THINGS)
    quality = d.pick(adjectives.LOOKS + adjectives.SIZES + adjectives.COLORS)
    phrase = a(noun, quality)
    kind = d.between(1, 3)
    if kind == 1:
        return said(f"it isn't {phrase.en}", f"ce n'est pas {phrase.fr}", links=phrase.links)
    if kind == 2:
        phrase = a(noun, d.pick(adjectives.LOOKS))
        return said(
            f"what {phrase.en}",
            f"quel{'le' if noun.gender == 'f' else ''} {phrase.fr.split(' ', 1)[1]}",
            "!",
            phrase.links,
        )
    return said(f"it is {phrase.en}", f"c'est {phrase.fr}", links=phrase.links)


@THEME.frame(0.7)
def need_thing(d: Draw) -> Sentence:
    noun = d.pick(things.SHOP_THINGS + things.CLOTHES + things.POCKET_THINGS)
    phrase = a(noun, d.pick(adjectives.LOOKS[1:2])) if d.chance(0.3) else a(noun)
    who = draws.subject(d)
    return sentence(clause(who, verbs.NEED, rest=with_object(verbs.NEED, phrase)))


@THEME.frame(0.8)
def dresses(d: Draw) -> Sentence:
    """She is wearing a white dress, elle porte une robe blanche."""
    who = draws.subject(d)
    while who.gender == "m":
        who = draws.subject(d)
    noun = d.pick(_DRESSES)
    phrase = a(noun, d.pick((None, *_CLOTHES_LOOKS)))
    if d.chance(0.3):
        phrase = owned(who.owner, noun)
    verb, tense = d.pick(
        ((verbs.WEAR, Tense.PROGRESSIVE), (verbs.WEAR, Tense.PAST), (verbs.LOOK_FOR, Tense.PROGRESSIVE))
    )
    polarity = Polarity.NOT if d.chance(0.2) else Polarity.YES
    return sentence(clause(who, verb, tense, polarity, with_object(verb, phrase)))


@THEME.frame(0.5)
def whose(d: Draw) -> Sentence:
    """It is Paul's coat, c'est le manteau de Paul."""
    noun = d.pick(things.CLOTHES + things.POCKET_THINGS)
    name = d.pick(people.NAMES)
    while noun in _DRESSES and name.gender == "m":
        name = d.pick(people.NAMES)
    phrase = the(noun)
    bare = phrase.en.removeprefix("the ")
    return said(f"it is {name.en}'s {bare}", f"c'est {phrase.fr} de {name.fr}", links=(("whose", noun.lemma),))


@THEME.frame(0.4)
def want_number(d: Draw) -> Sentence:
    noun = d.pick(things.SHOP_THINGS[3:10] + things.GIFTS)
    phrase = count(d.between(2, 30), noun)
    return said(f"I would like {phrase.en}, please", f"je voudrais {phrase.fr}, s'il vous plaît", links=phrase.links)
