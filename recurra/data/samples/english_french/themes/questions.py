"""What, who, why, when and where: with est-ce que, so that French keeps the order of a statement."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, after, said, sentence
from recurra.data.samples.english_french.grammar.clauses import Polarity, Tense, clause, with_object, words_after
from recurra.data.samples.english_french.grammar.conjugation import IL
from recurra.data.samples.english_french.grammar.noun_phrases import a, some, the
from recurra.data.samples.english_french.grammar.words import Subject, Verb
from recurra.data.samples.english_french.grammar.words import verb as make_verb
from recurra.data.samples.english_french.lexicon import adjectives, people, things, verbs

THEME = Theme("questions")
_WHO = Subject("who", "qui", IL, "m", "his", "who")
_WITH_OBJECTS = (
    *(verbs.EAT, verbs.DRINK, verbs.BUY, verbs.READ, verbs.WRITE, verbs.WATCH, verbs.LOOK_FOR, verbs.SELL, verbs.DRAW),
    *(
        verbs.ORDER,
        verbs.COOK,
        verbs.PAINT,
        verbs.REPAIR,
        verbs.LEARN,
        verbs.STUDY,
        verbs.CHOOSE,
        verbs.LISTEN,
        verbs.DO,
    ),
)
_PAST_ONLY = (verbs.SEE, verbs.HEAR, verbs.LOSE, verbs.FORGET, verbs.FIND, verbs.BREAK)
_BARE = (verbs.CRY, verbs.SMILE, verbs.LEAVE, verbs.GO_HOME, verbs.RUN, verbs.HURRY, verbs.SING, verbs.DANCE)
_MOVES = (verbs.LEAVE, verbs.ARRIVE, verbs.COME_BACK, verbs.GO_HOME, verbs.GO_OUT, verbs.GET_UP, verbs.GO_TO_BED)
_SETTLED = (verbs.LIVE, verbs.WORK)


def _asked(d: Draw) -> Subject:
    """Whom one asks about: rarely I or we."""
    if d.chance(0.35):
        return draws.someone(d)
    return d.pick((people.YOU, people.YOU, people.HE, people.SHE, people.THEY, people.WE))


def _ask(
    d: Draw, en: str, fr: str, who: Subject, verb: Verb, tense: Tense, time: tuple[str, str] = ("", "")
) -> Sentence:
    """A question word before a yes/no question in English and before est-ce que in French."""
    asked = clause(who, verb, tense, rest=words_after(*time), ask=True)
    return said(f"{en} {asked.en}", f"{fr} {asked.fr}", "?", ((en, verb.lemma),))


@THEME.frame(3)
def what(d: Draw) -> Sentence:
    """What is she eating? Qu'est-ce qu'elle mange ?"""
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE))
    verb = d.pick(_WITH_OBJECTS + _PAST_ONLY) if tense is Tense.PAST else d.pick(_WITH_OBJECTS)
    time = draws.when(d, tense, brief=True) if tense is not Tense.PROGRESSIVE else ("", "")
    asked = clause(_asked(d), verb, tense, rest=words_after(*time), ask=True)
    return said(f"what {asked.en}", f"qu'{asked.fr}", "?", (("what", verb.lemma),))


@THEME.frame(1.5)
def why(d: Draw) -> Sentence:
    """Why is he crying? Because he is sad. Pourquoi est-ce qu'il pleure ? Parce qu'il est triste."""
    who, verb = _asked(d), d.pick(_BARE)
    question = _ask(d, "why", "pourquoi", who, verb, d.pick((Tense.PROGRESSIVE, Tense.PROGRESSIVE, Tense.PAST)))
    reasons = {
        verbs.CRY: "sad tired disappointed",
        verbs.SMILE: "happy proud satisfied",
        verbs.GO_HOME: "tired sick busy",
    }
    if (
        verb not in reasons
        or not who.is_pronoun
        or who is people.WE
        or (" is " not in question.source + " " and d.chance(0.5))
    ):
        return question
    reason = d.pick(reasons[verb].split())
    mood = next(mood for mood in adjectives.MOODS if mood.en == reason)
    whose = people.I if who is people.YOU else who
    tense = Tense.PAST if question.source.startswith("Why did") else Tense.PRESENT
    answer = clause(
        whose,
        verbs.BE,
        tense,
        rest=words_after(mood.en, mood.agree(whose.gender, whose.plural), ((verb.lemma, reason),)),
    )
    return after(question, said(f"because {answer.en}", f"parce que {answer.fr}", links=answer.links))


@THEME.frame(1.5)
def when(d: Draw) -> Sentence:
    """When are they leaving? Quand est-ce qu'ils partent ?"""
    verb = d.pick(_MOVES)
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE))
    if verb in (verbs.GET_UP, verbs.GO_TO_BED) and tense is Tense.PROGRESSIVE:
        tense = Tense.PAST
    return _ask(d, "when", "quand", _asked(d), verb, tense)


@THEME.frame(1.5)
def where(d: Draw) -> Sentence:
    """Where does she work? Où est-ce qu'elle travaille ?"""
    who = _asked(d)
    kind = d.between(1, 4)
    if kind == 1:
        return _ask(
            d, "where", "où", who, verbs.GO, d.pick((Tense.PROGRESSIVE, Tense.PAST)), d.pick((("", ""), ("", "")))
        )
    if kind == 2:
        verb = d.pick((verbs.BUY, verbs.FIND, verbs.LOSE, verbs.FORGET))
        noun = d.pick(things.POCKET_THINGS)
        asked = clause(who, verb, Tense.PAST, rest=with_object(verb, the(noun)), ask=True)
        return said(f"where {asked.en}", f"où {asked.fr}", "?", asked.links)
    return _ask(d, "where", "où", who, d.pick(_SETTLED), d.pick((Tense.PRESENT, Tense.USED_TO)))


@THEME.frame(2)
def who(d: Draw) -> Sentence:
    """Who ate the cake? Qui a mangé le gâteau ? Who wants some tea? Qui veut du thé ?"""
    kind = d.between(1, 3)
    if kind == 1:
        noun = d.pick(things.STAPLES + things.DRINKS + things.DISHES)
        phrase = some(noun) if noun.mass else a(noun)
        return sentence(clause(_WHO, verbs.WANT, rest=with_object(verbs.WANT, phrase)), "?")
    choices = (
        (verbs.EAT, things.DISHES + things.STAPLES),
        (verbs.DRINK, things.DRINKS),
        (verbs.BUY, things.SHOP_THINGS + things.STAPLES),
        (verbs.OPEN, things.OPENINGS),
        (verbs.CLOSE, things.OPENINGS),
        (verbs.BREAK, things.TABLEWARE),
        (verbs.FIND, things.POCKET_THINGS),
        (verbs.WRITE, things.WRITING),
        (verbs.CLEAN, things.CLEANED),
        (verbs.REPAIR, things.MACHINES),
    )
    verb, nouns = d.pick(choices)
    text = clause(_WHO, verb, Tense.PAST, rest=with_object(verb, the(d.pick(nouns))))
    return sentence(text, "?")


@THEME.frame(1)
def whom(d: Draw) -> Sentence:
    """Who is she talking to? À qui est-ce qu'elle parle ?"""
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST))
    if d.chance(0.4):
        return _ask(d, "who", "à qui", _asked(d), verbs.TALK_TO, tense)
    verb = d.pick((verbs.LOOK_FOR, verbs.WAIT_FOR, verbs.INVITE, verbs.CALL, verbs.HELP, verbs.MEET))
    return _ask(d, "who", "qui", _asked(d), verb, Tense.PAST if verb is verbs.MEET or tense is Tense.PAST else tense)


@THEME.frame(1)
def does_not_know(d: Draw) -> Sentence:
    """I don't know where he lives. Je ne sais pas où il habite."""
    who = d.pick((people.I, people.I, people.WE, people.THEY))
    other = draws.someone(d) if d.chance(0.4) else d.pick((people.HE, people.SHE, people.YOU))
    word, fr, verb = d.pick(
        (
            ("where", "où", verbs.LIVE),
            ("where", "où", verbs.WORK),
            ("why", "pourquoi", verbs.CRY),
            ("when", "quand", verbs.LEAVE),
        )
    )
    tense = {"where": Tense.PRESENT, "why": Tense.PROGRESSIVE, "when": Tense.PAST}[word]
    inner = clause(other, verb, tense)
    text = clause(
        who,
        _KNOW_THAT,
        polarity=Polarity.NOT,
        rest=words_after(f"{word} {inner.en}", f"{fr} {inner.fr}", ((word, verb.lemma),)),
    )
    return sentence(text)


_KNOW_THAT = make_verb("know/knew/known", "savoir", stative=True)
