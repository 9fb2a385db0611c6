"""Animals, pets, the countryside."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.actions import Action, add_actions
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, said, sentence
from recurra.data.samples.english_french.grammar import english
from recurra.data.samples.english_french.grammar.clauses import Polarity, Tense, clause, with_object, words_after
from recurra.data.samples.english_french.grammar.noun_phrases import (
    a,
    all_of,
    as_subject,
    count,
    of,
    owned,
    some,
    the,
    this,
)
from recurra.data.samples.english_french.grammar.words import verb as make_verb
from recurra.data.samples.english_french.lexicon import adjectives, people, things, verbs

THEME = Theme("nature")
_WILD = tuple(
    noun
    for noun in things.ANIMALS
    if noun.en
    in [
        "bear",
        "wolf",
        "fox",
        "squirrel",
        "hedgehog",
        "owl",
        "butterfly",
        "snake",
        "spider",
        "frog",
        "bird",
        "rabbit",
        "bee",
    ]
)
_FARM = tuple(
    noun
    for noun in things.ANIMALS
    if noun.en in ["horse", "cow", "lamb", "duck", "hen", "pig", "goat", "donkey", "rabbit"]
)
_ZOO = tuple(
    noun for noun in things.ANIMALS if noun.en in ["lion", "elephant", "monkey", "bear", "wolf", "snake", "turtle"]
)
_SIGHTS = things.NATURE
_WHERE = (
    ("in the garden", "dans le jardin"),
    ("in the forest", "dans la forêt"),
    ("near the river", "près de la rivière"),
    ("under the tree", "sous l'arbre"),
)

_HEARD = tuple(
    noun for noun in things.ANIMALS if noun.en in ("dog", "cat", "horse", "cow", "owl", "wolf", "donkey", "duck")
)

add_actions(
    THEME,
    (
        Action(verbs.SEE, _WILD, "aasn", "p", adjectives.ANIMAL_QUALITIES, _WHERE),
        Action(verbs.SEE, _ZOO, "aasn", "p", adjectives.ANIMAL_QUALITIES[3:], (("at the zoo", "au zoo"),)),
        Action(verbs.FEED, _FARM + things.PETS[:2], "lt", "hgpf", orders=True),
        Action(verbs.LOOK_FOR, things.PETS[:4], "mmt", "g", adjectives.ANIMAL_QUALITIES[:3], wished=False),
        Action(verbs.HEAR, _HEARD, "aat", "p", (), wished=False, brief=True),
        Action(verbs.PAINT, _SIGHTS, "ath", "gpf", adjectives.NATURE_QUALITIES),
        Action(verbs.DRAW, _SIGHTS, "ath", "gpf", adjectives.NATURE_QUALITIES),
        Action(verbs.BUY, things.PETS, "an", "gpf", adjectives.ANIMAL_QUALITIES, adults=True),
        Action(
            verbs.BUY,
            things.GIFTS[6:7] + things.NATURE[-3:-2],
            "s",
            "hgpf",
            adjectives.COLORS[:1] + adjectives.LOOKS[:1],
            adults=True,
        ),
    ),
    weight=0.9,
)


@THEME.frame(2)
def owns(d: Draw) -> Sentence:
    """My aunt has two black cats, ma tante a deux chats noirs."""
    who = draws.subject(d)
    noun = d.pick(things.PETS)
    quality = d.pick(adjectives.ANIMAL_QUALITIES) if d.chance(0.5) else None
    phrase = d.pick((a(noun, quality), count(d.between(2, 9), noun, quality)))
    kind = d.between(1, 5)
    if kind == 1:
        return sentence(
            clause(people.YOU, verbs.HAVE, rest=with_object(verbs.HAVE, phrase), ask=True, invert=True), "?"
        )
    if kind == 2:
        phrase = a(noun)
        return sentence(
            clause(
                who, verbs.HAVE, polarity=d.pick((Polarity.NOT, Polarity.NO_MORE)), rest=with_object(verbs.HAVE, phrase)
            )
        )
    tense = Tense.USED_TO if kind == 3 else Tense.PRESENT
    return sentence(clause(who, verbs.HAVE, tense, rest=with_object(verbs.HAVE, phrase)))


@THEME.frame(2)
def described(d: Draw) -> Sentence:
    """His cat is old, son chat est vieux; the mice are white, les souris sont blanches."""
    noun = d.pick(things.ANIMALS)
    plural = d.chance(0.35)
    pool = adjectives.ANIMAL_QUALITIES
    quality = d.pick(pool)
    tame = noun in things.PETS
    phrase = (
        owned(d.pick(draws.OWNERS), noun, plural=plural)
        if tame and d.chance(0.6)
        else d.pick((the, this))(noun, plural=plural)
    )
    degree = (
        ("", "")
        if quality.en in ("black", "white", "brown")
        else d.pick((("", ""), ("very", "très"), ("really", "vraiment")))
    )
    form = quality.agree(noun.gender, plural)
    rest = words_after(
        f"{degree[0]} {quality.en}".strip(), f"{degree[1]} {form}".strip(), ((quality.lemma, noun.lemma),)
    )
    polarity = Polarity.NOT if d.chance(0.15) and degree[0] != "really" else Polarity.YES
    return sentence(clause(as_subject(phrase), verbs.BE, Tense.PRESENT, polarity, rest))


@THEME.frame(1.5)
def located(d: Draw) -> Sentence:
    """There are three frogs near the lake, il y a trois grenouilles près du lac."""
    noun = d.pick(_WILD[2:] + things.PETS[:4])
    en, fr = d.pick(
        (
            *_WHERE,
            ("near the lake", "près du lac"),
            ("in our garden", "dans notre jardin"),
            ("behind the house", "derrière la maison"),
        )
    )
    phrase = d.pick((a(noun), count(d.between(2, 12), noun), some(noun)))
    links = (*phrase.links, (noun.lemma, en.split()[-1]))
    be = "are" if phrase.plural else "is"
    if phrase.fr != phrase.fr_none and d.chance(0.25):
        return said(f"there {be}n't {phrase.en_any} {en}", f"il n'y a pas {phrase.fr_none} {fr}", links=links)
    if d.chance(0.15):
        return said(f"{be} there {phrase.en_any} {en}", f"est-ce qu'il y a {phrase.fr} {fr}", "?", links)
    return said(f"there {be} {phrase.en} {en}", f"il y a {phrase.fr} {fr}", links=links)


@THEME.frame(2)
def likes(d: Draw) -> Sentence:
    who = draws.subject(d)
    noun = d.pick(things.ANIMALS)
    verb = d.pick((verbs.LIKE, verbs.LOVE, verbs.HATE, verbs.PREFER, verbs.LIKE))
    polarity = Polarity.NOT if verb is verbs.LIKE and d.chance(0.4) else Polarity.YES
    if d.chance(0.2):
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verbs.LIKE, rest=with_object(verbs.LIKE, all_of(noun)), ask=True), "?")
    return sentence(clause(who, verb, Tense.PRESENT, polarity, with_object(verb, all_of(noun))))


@THEME.frame(1)
def fears(d: Draw) -> Sentence:
    """She is afraid of spiders, elle a peur des araignées."""
    who = draws.subject(d)
    noun = d.pick(
        [
            noun
            for noun in things.ANIMALS
            if noun.en not in ("turtle", "butterfly", "duck", "rabbit", "lamb", "hedgehog", "squirrel")
        ]
    )
    afraid = make_verb("be/was/been/being afraid of", "avoir peur")
    phrase = the(noun, plural=True)
    rest = words_after(noun.en_plural, phrase.after("de"), (("afraid", noun.lemma),))
    be = "is" if who.singular_verb else "am" if who is people.I else "are"
    kind = d.between(1, 4)
    fr_have = afraid.fr.present[who.person]
    if kind == 1:
        not_be = "am not" if be == "am" else f"{be}n't"
        return said(
            f"{who.en} {not_be} afraid of {rest.en}", f"{who.fr} ne {fr_have} pas peur {rest.fr}", links=rest.links
        )
    return said(f"{who.en} {be} afraid of {rest.en}", f"{who.fr} {fr_have} peur {rest.fr}", links=rest.links)


@THEME.frame(1.5)
def view(d: Draw) -> Sentence:
    """What a beautiful island! Quelle belle île !"""
    noun = d.pick(_SIGHTS)
    quality = d.pick(adjectives.NATURE_QUALITIES)
    phrase = a(noun, quality)
    kind = d.between(1, 4)
    if kind == 1:
        return said(
            f"what {phrase.en}",
            f"quel{'le' if noun.gender == 'f' else ''} {phrase.fr.split(' ', 1)[1]}",
            "!",
            phrase.links,
        )
    if kind == 2:
        return said(f"it is {phrase.en}", f"c'est {phrase.fr}", links=phrase.links)
    if kind == 3:
        form = quality.agree(noun.gender, False)
        return sentence(
            clause(as_subject(d.pick((the, this))(noun)), verbs.BE, rest=words_after(quality.en, form, phrase.links))
        )
    who = draws.subject(d)
    return sentence(clause(who, verbs.SEE, Tense.PAST, rest=with_object(make_verb("see/saw/seen", "voir"), phrase)))


@THEME.frame(0.8)
def compare(d: Draw) -> Sentence:
    """The horse is bigger than the goat, le cheval est plus grand que la chèvre."""
    one, other = d.pick(things.ANIMALS), d.pick(things.ANIMALS)
    sizes = {
        name: size
        for size, names in enumerate(
            (
                "bee spider butterfly",
                "mouse frog",
                "hedgehog bird squirrel hen duck owl turtle rabbit",
                "cat",
                "fox dog",
                "monkey goat lamb pig wolf",
                "donkey lion",
                "bear cow horse",
                "elephant",
            )
        )
        for name in names.split()
    }
    one_size, other_size = sizes.get(one.en, 0), sizes.get(other.en, 0)
    while one_size == other_size or "snake" in (one.en, other.en):
        one, other = d.pick(things.ANIMALS), d.pick(things.ANIMALS)
        one_size, other_size = sizes.get(one.en, 0), sizes.get(other.en, 0)
    quality = adjectives.SIZES[0 if one_size > other_size else 1]
    first, second = the(one), the(other)
    form = quality.agree(one.gender, False)
    return said(
        f"{first.en} is {english.comparative(quality.en)} than {second.en}",
        f"{first.fr} est plus {form} que {second.fr}",
        links=((quality.lemma, one.lemma), (one.lemma, other.lemma)),
    )


@THEME.frame(0.8)
def far_sight(d: Draw) -> Sentence:
    who = draws.subject(d)
    phrase = the(d.pick(things.SEEN_FAR))
    verb = d.pick((verbs.WATCH, verbs.LOVE, verbs.PAINT))
    if verb is verbs.WATCH and phrase.head == "sun":
        phrase = the(things.SEEN_FAR[0])
    tense = Tense.PRESENT if verb is verbs.LOVE else d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE))
    return sentence(clause(who, verb, tense, rest=with_object(verb, phrase)))


@THEME.frame(0.6)
def bouquet(d: Draw) -> Sentence:
    flower = things.GIFTS[6] if d.chance(0.5) else things.NATURE[14]
    owner = draws.relative(d)
    phrase = of(a(things.BASKET), flower)
    kind = d.between(1, 2)
    if kind == 1:
        return said(
            f"here is {phrase.en} for {owner.en}",
            f"voici {phrase.fr} pour {owner.fr}",
            links=((flower.lemma, owner.head),),
        )
    return said(
        f"these flowers are for {owner.en}", f"ces fleurs sont pour {owner.fr}", links=(("flower", owner.head),)
    )
