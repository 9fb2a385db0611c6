"""Eating, drinking, cooking and the restaurant."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.actions import Action, add_actions
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, said, sentence
from recurra.data.samples.english_french.grammar.clauses import (
    Clause,
    Polarity,
    Tense,
    clause,
    followed,
    with_object,
    words_after,
)
from recurra.data.samples.english_french.grammar.noun_phrases import a, all_of, as_subject, count, of, some, the, this
from recurra.data.samples.english_french.grammar.words import Adjective, Noun
from recurra.data.samples.english_french.lexicon import adjectives, people, things, verbs

THEME = Theme("food")
_AT_TABLE = (("at the restaurant", "au restaurant"), ("at home", "à la maison"), ("in the garden", "dans le jardin"))
_SHOPS = (("at the market", "au marché"), ("at the supermarket", "au supermarché"), ("in this shop", "dans ce magasin"))
_MEALS = (("for breakfast", "au petit-déjeuner"), ("for lunch", "au déjeuner"), ("for dinner", "au dîner"))
_EATEN = tuple(noun for noun in things.FRUIT if noun.en != "lemon")
_PEELED = tuple(
    noun
    for noun in things.FRUIT + things.VEGETABLES
    if noun.en in ["apple", "orange", "pear", "potato", "carrot", "onion"]
)

add_actions(
    THEME,
    (
        Action(verbs.EAT, _EATEN, "aasn", "hgpf", adjectives.FRUIT_STATES, _AT_TABLE, named="ly", brief=True),
        Action(verbs.EAT, things.DISHES, "aas", "hgpf", (), (*_AT_TABLE, *_MEALS), named="ly", brief=True),
        Action(verbs.EAT, things.STAPLES, "sssst", "hgpf", (), (*_AT_TABLE, *_MEALS), named="y", brief=True),
        Action(verbs.EAT, things.VEGETABLES, "s", "hgpf", (), _AT_TABLE, brief=True),
        Action(
            verbs.DRINK, things.DRINKS, "sssst", "hgpf", (), (*_AT_TABLE, *_MEALS), named="y", brief=True, adults=True
        ),
        Action(verbs.BUY, things.FRUIT + things.VEGETABLES, "ssn", "hgpf", (), _SHOPS),
        Action(verbs.BUY, things.STAPLES + things.INGREDIENTS, "s", "hgpf", (), _SHOPS),
        Action(verbs.MAKE, things.COOKED, "aat", "hgpf", (), (), named="d", brief=True),
        Action(verbs.PREPARE, things.COOKED, "aats", "gpf", (), (), brief=True),
        Action(verbs.ORDER, things.DISHES + things.DRINKS, "as", "gpf", (), _AT_TABLE[:1], brief=True, adults=True),
        Action(verbs.CUT, things.FRUIT + things.VEGETABLES, "llt", "gpf", orders=True, brief=True),
        Action(verbs.PEEL, _PEELED, "ltn", "gpf", orders=True, brief=True),
        Action(verbs.WASH, things.TABLEWARE + things.FRUIT, "l", "gpf", orders=True, brief=True),
        Action(verbs.TASTE, things.STAPLES + things.DISHES, "th", "gpf", orders=True, brief=True),
    ),
    weight=1.3,
)


_SWEET = ("chocolate", "jam", "honey", "ice cream", "cake", "tart", "pancake", "croissant", "biscuit", "yogurt")
_SPICED = ("meat", "fish", "rice", "chicken", "soup", "pizza", "hamburger", "sandwich", "omelette")


def _tastes(noun: Noun) -> tuple[Adjective, ...]:
    """What one may say of its taste: coffee is not spicy, honey not salty."""
    if noun in things.FRUIT:
        return adjectives.FRUIT_STATES
    unlikely = {"spicy"} if noun.en not in _SPICED else set()
    if noun in things.DRINKS or noun.en in _SWEET:
        unlikely.add("salty")
    else:
        unlikely.add("sweet")
    if noun.en in ("ice cream", "jam", "honey", "butter", "cheese", "salad", "ham", "beer", "wine", "yogurt"):
        unlikely.add("hot")
    return tuple(taste for taste in adjectives.FOOD_TASTES if taste.en not in unlikely)


@THEME.frame(3)
def taste(d: Draw) -> Sentence:
    """I like apples, j'aime les pommes."""
    who = draws.subject(d)
    noun = d.pick(things.FRUIT + things.VEGETABLES + things.STAPLES + things.DRINKS + things.DISHES)
    while who.lemma in people.CHILDREN and noun.en in ("wine", "beer"):
        who = draws.subject(d)
    verb = d.pick((verbs.LIKE, verbs.LIKE, verbs.LOVE, verbs.PREFER, verbs.HATE))
    polarity = d.pick((Polarity.YES, Polarity.YES, Polarity.NOT)) if verb is verbs.LIKE else Polarity.YES
    return sentence(clause(who, verb, Tense.PRESENT, polarity, with_object(verb, all_of(noun))))


@THEME.frame(1)
def ask_taste(d: Draw) -> Sentence:
    who = d.pick((people.YOU, people.HE, people.SHE)) if d.chance(0.6) else draws.someone(d)
    noun = d.pick(things.FRUIT + things.VEGETABLES + things.STAPLES + things.DRINKS)
    while who.lemma in people.CHILDREN and noun.en in ("wine", "beer"):
        who = draws.someone(d)
    return sentence(clause(who, verbs.LIKE, rest=with_object(verbs.LIKE, all_of(noun)), ask=True), "?")


@THEME.frame(1.5)
def is_tasty(d: Draw) -> Sentence:
    """The soup is too salty, la soupe est trop salée."""
    noun = d.pick(things.STAPLES + things.DRINKS + things.DISHES + things.FRUIT)
    quality = d.pick(_tastes(noun))
    plural = not noun.mass and d.chance(0.6)
    phrase = d.pick((the, this))(noun, plural=plural).also_linked((quality.lemma, noun.lemma))
    degrees = [("", ""), ("", ""), ("really", "vraiment")]
    if quality.en not in ("delicious", "excellent"):
        degrees += [("too", "trop"), ("very", "très"), ("not very", "")]
    en, fr = d.pick(degrees)
    form = quality.agree(noun.gender, plural)
    who = as_subject(phrase)
    if en == "not very":
        rest = words_after(f"very {quality.en}", f"très {form}", phrase.links)
        return sentence(clause(who, verbs.BE, polarity=Polarity.NOT, rest=rest))
    rest = words_after(f"{en} {quality.en}".strip(), f"{fr} {form}".strip(), phrase.links)
    if not en and d.chance(0.3):
        return sentence(clause(who, verbs.BE, rest=rest, ask=True), "?")
    return sentence(clause(who, verbs.BE, d.pick((Tense.PRESENT, Tense.PAST)), rest=rest))


@THEME.frame(1.5)
def container(d: Draw) -> Sentence:
    """A glass of water, please. Un verre d'eau, s'il vous plaît."""
    pick = d.between(1, 4)
    if pick == 1:
        drink = d.pick([noun for noun in things.DRINKS if noun.en not in ("coffee", "tea", "hot chocolate")])
        box = d.pick((things.GLASS, things.BOTTLE))
    elif pick == 2:
        drink, box = (
            d.pick([noun for noun in things.DRINKS if noun.en in ("coffee", "tea", "hot chocolate")]),
            things.CUP,
        )
    elif pick == 3:
        drink, box = (
            d.pick(things.FRUIT[:3] + things.FRUIT[6:8] + things.VEGETABLES),
            d.pick((things.KILO, things.BASKET)),
        )
    else:
        drink, box = (
            d.pick(
                [
                    noun
                    for noun in things.STAPLES
                    if noun.en in ["bread", "cheese", "meat", "fish", "chocolate", "chicken"]
                ]
            ),
            things.PIECE,
        )
    number = d.between(1, 6)
    phrase = of(a(box) if number == 1 else count(number, box), drink)
    way = d.between(1, 3)
    if way == 1:
        return said(f"{phrase.en}, please", f"{phrase.fr}, s'il vous plaît", links=phrase.links)
    if way == 2:
        return said(
            f"I would like {phrase.en}, please", f"je voudrais {phrase.fr}, s'il vous plaît", links=phrase.links
        )
    who = draws.subject(d)
    verb = verbs.BUY if pick > 2 else d.pick((verbs.DRINK, verbs.ORDER)) if box is not things.BOTTLE else verbs.BUY
    while who.lemma in people.CHILDREN and drink.en in ("wine", "beer"):
        who = draws.subject(d)
    rest = words_after(phrase.en, phrase.fr, (*phrase.links, (verb.lemma, drink.lemma)))
    return sentence(clause(who, verb, d.pick((Tense.PAST, Tense.FUTURE)), rest=rest))


@THEME.frame(1.2)
def there_is(d: Draw) -> Sentence:
    """There is no milk in the fridge, il n'y a pas de lait dans le frigo."""
    noun = d.pick(things.FRUIT + things.VEGETABLES + things.STAPLES + things.DRINKS)
    phrase = some(noun)
    where = d.pick(
        (
            ("in the fridge", "dans le frigo"),
            ("on the table", "sur la table"),
            ("in the kitchen", "dans la cuisine"),
            ("in the basket", "dans le panier"),
        )
    )
    links = (("there", noun.lemma),)
    verb = "are" if phrase.plural else "is"
    kind = d.between(1, 4)
    if kind == 1:
        return said(
            f"there {verb}n't {phrase.en_any} {where[0]}", f"il n'y a pas {phrase.fr_none} {where[1]}", links=links
        )
    if kind == 2:
        return said(
            f"there {verb}n't {phrase.en_any} left {where[0]}",
            f"il n'y a plus {phrase.fr_none} {where[1]}",
            links=links,
        )
    if kind == 3:
        return said(
            f"{verb} there {phrase.en_any} {where[0]}", f"est-ce qu'il y a {phrase.fr} {where[1]}", "?", links=links
        )
    return said(f"there {verb} {phrase.en} {where[0]}", f"il y a {phrase.fr} {where[1]}", links=links)


@THEME.frame(0.8)
def have_any(d: Draw) -> Sentence:
    """Do you have any bread? Avez-vous du pain ? I don't have any bread, je n'ai pas de pain."""
    phrase = some(d.pick(things.FRUIT + things.VEGETABLES + things.STAPLES + things.DRINKS + things.INGREDIENTS))
    rest = with_object(verbs.HAVE, phrase)
    if d.chance(0.3):
        return sentence(clause(people.YOU, verbs.HAVE, rest=rest, ask=True, invert=True), "?")
    who = d.pick((people.I, people.WE, people.THEY)) if d.chance(0.6) else draws.subject(d)
    return sentence(clause(who, verbs.HAVE, polarity=d.pick((Polarity.YES, Polarity.NOT, Polarity.NO_MORE)), rest=rest))


_FOR = (
    (
        "for the cake",
        "pour le gâteau",
        ("sugar", "salt", "flour", "oil", "milk", "butter", "chocolate", "apple", "lemon"),
    ),
    (
        "for the soup",
        "pour la soupe",
        ("salt", "oil", "garlic", "pepper", "carrot", "leek", "potato", "onion", "mushroom"),
    ),
    (
        "for dinner",
        "pour le dîner",
        ("bread", "rice", "fish", "meat", "cheese", "chicken", "tomato", "cucumber", "cabbage"),
    ),
)


@THEME.frame(0.8)
def need(d: Draw) -> Sentence:
    """I need flour, j'ai besoin de farine."""
    en, fr, names = d.pick(_FOR)
    noun = d.pick(
        [noun for noun in things.INGREDIENTS + things.STAPLES + things.VEGETABLES + things.FRUIT if noun.en in names]
    )
    phrase = some(noun, bare=True) if d.chance(0.5) or noun.mass else count(d.between(2, 12), noun)
    rest = with_object(verbs.NEED, phrase)
    if d.chance(0.6):
        rest = followed(rest, en, fr)
    return sentence(clause(draws.subject(d), verbs.NEED, rest=rest))


@THEME.frame(0.6)
def would_you_like(d: Draw) -> Sentence:
    noun = d.pick(things.STAPLES + things.DRINKS + things.DISHES)
    phrase = some(noun) if noun.mass else a(noun)
    return said(f"would you like {phrase.en}", f"voulez-vous {phrase.fr}", "?", (("like", noun.lemma),))


@THEME.frame(0.5)
def meal(d: Draw) -> Sentence:
    """We have dinner at seven is in the theme of time; here, with whom and where."""
    who = draws.subject(d)
    verb = d.pick((verbs.DINE, verbs.LUNCH))
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE))
    with_whom = draws.other_relative(d, who)
    en, fr = d.pick((*_AT_TABLE[:2], (f"with {with_whom.en}", f"avec {with_whom.fr}")))
    return sentence(
        clause(who, verb, tense, rest=words_after(en, fr, ((verb.lemma, with_whom.head),) if "with" in en else ()))
    )


@THEME.frame(0.3)
def dish_of_the_day(d: Draw) -> Sentence:
    noun = d.pick(things.STAPLES + things.DISHES)
    phrase = the(noun)
    quality = d.pick(_tastes(noun))
    text = Clause(
        f"waiter, {phrase.en} is {quality.en}",
        f"monsieur, {phrase.fr} est {quality.agree(noun.gender, False)}",
        ((quality.lemma, noun.lemma),),
    )
    return sentence(text, "!")
