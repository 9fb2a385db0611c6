"""Actions with objects, and the frames that every theme builds from its own actions.

An action ties a verb to the nouns that make sense with it, and says which articles, tenses and adjectives sound
natural.
"""

from dataclasses import dataclass

from . import draws
from .frames import Draw, Sentence, Theme, after, sentence
from .grammar.clauses import (
    Clause,
    Polarity,
    Rest,
    Tense,
    chained,
    clause,
    followed,
    imperative,
    infinitive,
    pronoun_for,
    with_object,
    words_after,
)
from .grammar.conjugation import FrenchVerb
from .grammar.english import EnglishVerb
from .grammar.noun_phrases import NounPhrase, a, count, owned, some, the, this
from .grammar.words import Adjective, Noun, Subject, Verb
from .lexicon import people, times, verbs

_TENSES = {"h": Tense.PRESENT, "g": Tense.PROGRESSIVE, "p": Tense.PAST, "f": Tense.FUTURE}
WOULD_LIKE = Verb(
    EnglishVerb("would like", "would like", "", "", ""),
    FrenchVerb("vouloir", ("voudrais", "voudrait", "voudrions", "voudriez", "voudraient"), (), "", False),
)


@dataclass(frozen=True, slots=True)
class Action:
    """A verb with its objects.

    Attributes:
        articles: those that sound natural: a, t(he), s(ome), b(are plural with an adjective), l (the, plural),
            m(y own), h (this), n(umber).
        tenses: h(abit), g (progressive), p(ast), f(uture).
        adjectives: what may describe the object.
        places: where it happens, "at the market".
        orders: whether one may ask a stranger to do it.
        named: sentences with a pronoun: l ("I like this. I am going to buy it."),
            y ("Here is the ... You can eat it."), d ("Here is the ... I found it.").
        brief: whether it fills a moment of a day, so that "last month" is odd.
        wished: whether one may want to do it.
        plural: whether "the" and "this" may be plural.
        adults: whether children had better not: drinking wine, signing contracts.
    """

    verb: Verb
    objects: tuple[Noun, ...]
    articles: str = "at"
    tenses: str = "gpf"
    adjectives: tuple[Adjective, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    orders: bool = False
    named: str = ""
    brief: bool = False
    wished: bool = True
    plural: bool = True
    adults: bool = False


def draw_object(d: Draw, action: Action, owner: str, articles: str = "", bare: bool = False) -> NounPhrase:
    """An object of the action, with an article that fits it; `bare` is for habits: he drinks coffee every day."""
    thing = d.pick(action.objects)
    adjective = d.pick(action.adjectives) if action.adjectives and d.chance(0.3) else None
    if thing.mass:
        return some(thing, bare=bare) if bare or (d.chance(0.75) and "s" in action.articles) else the(thing)
    choices = articles or action.articles
    article = d.pick((choices.replace("n", "") or choices) if bare else choices)
    if article == "a":
        return a(thing, adjective)
    if adjective and adjective.en in ("good", "bad"):
        adjective = None  # "the good movie" would need another movie to be bad
    if article == "s":
        return some(thing, adjective, bare=bare)
    if article == "m":
        return owned(owner, thing)
    if article == "h":
        return this(thing, plural=action.plural and d.chance(0.25))
    if article == "n":
        return count(d.between(2, 6), thing)
    if article == "l":
        return the(thing, plural=True)
    if article == "b":
        return some(thing, d.pick(action.adjectives), bare=True)
    return the(thing, adjective, plural=action.plural and d.chance(0.2))


def _subject(d: Draw, action: Action) -> Subject:
    who = draws.subject(d)
    while action.adults and who.lemma in people.CHILDREN:
        who = draws.subject(d)
    return who


def _tense(d: Draw, action: Action) -> Tense:
    if action.verb.stative:
        return Tense.PRESENT
    return _TENSES[d.pick(action.tenses)]


def _time_and_place(d: Draw, action: Action, tense: Tense) -> tuple[str, str]:
    if action.places and d.chance(0.25):
        return d.pick(action.places)
    return ("", "") if action.verb.stative else draws.when(d, tense, action.brief)


def _statement(d: Draw, action: Action) -> Sentence:
    who, tense = _subject(d, action), _tense(d, action)
    adverb = ("", "")
    en, fr = _time_and_place(d, action, tense)
    bare = tense is Tense.PRESENT
    if bare and not action.verb.stative and d.chance(0.3):
        adverb, en, fr = d.pick(times.OFTEN), "", ""
    elif bare and not action.verb.stative and not en:
        en, fr = draws.when(d, tense)
    elif bare and not action.verb.stative and (en, fr) in action.places:
        adverb = d.pick(times.OFTEN)
    what = with_object(action.verb, draw_object(d, action, who.owner, bare=bare))
    return sentence(clause(who, action.verb, tense, Polarity.YES, followed(what, en, fr), adverb=adverb))


def _negation(d: Draw, action: Action) -> Sentence:
    who, tense = _subject(d, action), _tense(d, action)
    habit = tense is Tense.PRESENT
    polarity = Polarity.NOT
    en = fr = ""
    if habit:
        polarity = draws.no(d)
        if polarity is Polarity.NOT and not action.verb.stative:
            polarity = Polarity.NEVER
        elif action.verb in (verbs.KNOW, verbs.UNDERSTAND) or (polarity is Polarity.NEVER and action.verb.stative):
            polarity = Polarity.NOT
    elif d.chance(0.5) and tense is not Tense.PROGRESSIVE:
        en, fr = draws.when(d, tense, action.brief)
    articles = "".join(c for c in action.articles if c in "asbtlm") or action.articles
    what = with_object(action.verb, draw_object(d, action, who.owner, articles, bare=habit))
    return sentence(clause(who, action.verb, tense, polarity, followed(what, en, fr)))


def _question(d: Draw, action: Action) -> Sentence:
    who = (
        d.pick((people.YOU, people.YOU, people.HE, people.SHE, people.THEY)) if d.chance(0.75) else _subject(d, action)
    )
    while who is people.I or who is people.WE:
        who = _subject(d, action)
    tense = _tense(d, action)
    habit = tense is Tense.PRESENT and not action.verb.stative
    en, fr = draws.when(d, tense, action.brief) if habit or (d.chance(0.4) and not action.verb.stative) else ("", "")
    adverb = ("", "")
    if habit and d.chance(0.4):
        (en, fr), adverb = ("", ""), ("often", "souvent")
    articles = action.articles.replace("n", "") or action.articles
    what = with_object(action.verb, draw_object(d, action, who.owner, articles, bare=habit))
    return sentence(clause(who, action.verb, tense, rest=followed(what, en, fr), adverb=adverb, ask=True), "?")


def wish(d: Draw, who: Subject, inner: Rest, favor: bool = False, time: tuple[str, str] = ("", "")) -> Sentence:
    """An infinitive under want, can, must, have to, would like; affirmed, denied, or (a `favor`) asked of you."""
    wanted = inner
    inner = followed(inner, *time)
    kind = d.between(1, 12)
    offered = words_after(inner.en, inner.fr, inner.links)  # "some" stays some in a request
    if kind <= 3:
        return sentence(clause(who, WOULD_LIKE, rest=chained(inner)))
    if kind <= 5:
        return sentence(clause(who, verbs.WANT, rest=chained(inner)))
    if kind == 6:
        return sentence(clause(who, verbs.WANT, polarity=Polarity.NOT, rest=chained(inner)))
    if kind == 7:
        return sentence(
            clause(who, verbs.CAN, polarity=d.pick((Polarity.YES, Polarity.NOT)), rest=chained(inner, to=""))
        )
    if kind == 8:
        return sentence(clause(who, verbs.HAVE_TO, rest=chained(inner)))
    if kind == 9:
        return sentence(clause(who, verbs.MUST, rest=chained(inner, to="")))
    if kind == 10:
        return sentence(clause(who, verbs.WANT, Tense.PAST, rest=chained(wanted)))
    if not favor:
        return sentence(clause(people.YOU, verbs.WANT, rest=chained(offered), ask=True, invert=True), "?")
    return sentence(clause(people.YOU, verbs.CAN, rest=chained(offered, to=""), ask=True, invert=True), "?")


def _modal(d: Draw, action: Action) -> Sentence:
    who = _subject(d, action)
    articles = "".join(c for c in action.articles if c in "atshbl") or action.articles
    what = with_object(action.verb, draw_object(d, action, who.owner, articles))
    inner = infinitive(action.verb, what, who)
    time = d.pick(times.FUTURE[:5]) if d.chance(0.2) else ("", "")
    return wish(d, who, inner, action.orders, time)


def _named(d: Draw, action: Action) -> Sentence:
    """A thing is named, then a pronoun stands for it: its gender is known, so it is le or la for good reason."""
    thing = d.pick(action.objects)
    link = ((action.verb.lemma, thing.lemma),)
    way = d.pick(action.named)
    if way == "l":
        plural = d.chance(0.3) and not thing.mass
        phrase = this(thing, plural=plural)
        first = sentence(clause(people.I, verbs.LIKE, rest=words_after(phrase.en, phrase.fr, link)))
        who = people.I
        second = clause(who, action.verb, Tense.FUTURE, pronoun=pronoun_for(phrase))
        if d.chance(0.5):
            second = second.then(*d.pick(times.FUTURE[:5]))
        return after(first, sentence(second))
    phrase = the(thing, plural=action.plural and d.chance(0.3) and not thing.mass)
    first = sentence(Clause(f"here {'are' if phrase.plural else 'is'} {phrase.en}", f"voici {phrase.fr}", link))
    it = pronoun_for(phrase)
    if way == "y":
        what = followed(infinitive(action.verb, pronoun=it), *d.pick((("", ""), ("now", "maintenant"))))
        return after(first, sentence(clause(people.YOU, verbs.CAN, rest=chained(what, to=""))))
    doer = d.pick((people.I, people.I, people.HE, people.SHE, people.WE, people.THEY))
    second = clause(doer, action.verb, Tense.PAST, pronoun=it)
    return after(
        first,
        sentence(second.then(*d.pick((("", ""), *times.PAST_DAY[:5], *(() if action.brief else times.PAST[4:6]))))),
    )


def _order(d: Draw, action: Action) -> Sentence:
    articles = "".join(c for c in action.articles if c in "tahl") or "t"
    what = with_object(action.verb, draw_object(d, action, "your", articles))
    negative = d.chance(0.25)
    text = imperative(action.verb, what, negative)
    if not negative and d.chance(0.5):
        text = text.then(", please", ", s'il vous plaît")
        text = Clause(text.en.replace(" ,", ","), text.fr.replace(" ,", ","), text.links)
    return sentence(text)


def add_actions(theme: Theme, actions: tuple[Action, ...], weight: float = 1.0) -> None:
    """Gives the theme its statements, negations, questions, wishes, pronoun pairs and orders over these actions."""
    orders = tuple(action for action in actions if action.orders)
    named = tuple(action for action in actions if action.named)

    @theme.frame(5 * weight)
    def statement(d: Draw) -> Sentence:
        return _statement(d, d.pick(actions))

    @theme.frame(2 * weight)
    def negation(d: Draw) -> Sentence:
        return _negation(d, d.pick(actions))

    @theme.frame(2 * weight)
    def question(d: Draw) -> Sentence:
        return _question(d, d.pick(actions))

    wished = tuple(action for action in actions if action.wished and not action.verb.stative)

    @theme.frame(3 * weight)
    def modal(d: Draw) -> Sentence:
        return _modal(d, d.pick(wished))

    if named:

        @theme.frame(1.5 * weight)
        def named_thing(d: Draw) -> Sentence:
            return _named(d, d.pick(named))

    if orders:

        @theme.frame(1 * weight)
        def order(d: Draw) -> Sentence:
            return _order(d, d.pick(orders))
