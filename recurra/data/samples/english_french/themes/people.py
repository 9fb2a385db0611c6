"""Who people are: age, job, nationality, language, character, family."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, after, said, sentence
from recurra.data.samples.english_french.grammar import english, numbers
from recurra.data.samples.english_french.grammar.clauses import (
    HER,
    HIM,
    THEM,
    TO_HER,
    TO_HIM,
    TO_THEM,
    Polarity,
    Tense,
    clause,
    everyone_is,
    with_object,
    words_after,
)
from recurra.data.samples.english_french.grammar.conjugation import IL, ILS
from recurra.data.samples.english_french.grammar.noun_phrases import a, count, owned, the, this
from recurra.data.samples.english_french.grammar.words import Subject
from recurra.data.samples.english_french.grammar.words import verb as make_verb
from recurra.data.samples.english_french.lexicon import adjectives, people, places, things, times, verbs

THEME = Theme("people")


def _a_job(who: Subject, job: str) -> str:
    if who.person == ILS or who is people.WE:
        return {"police officer": "police officers"}.get(job) or english.plural(job)
    return f"a {job}"


@THEME.frame(2.5)
def job(d: Draw) -> Sentence:
    """She is a nurse, elle est infirmière."""
    who = draws.subject(d)
    while who.lemma in {noun.lemma for noun in people.PERSONS + people.AROUND}:
        who = draws.subject(d)
    work = d.pick(people.JOBS)
    rest = words_after(_a_job(who, work.en), work.agree(who.gender, who.plural), ((work.lemma, who.lemma or who.en),))
    kind = d.between(1, 6)
    if kind == 1:
        you = d.pick((people.YOU, people.HE, people.SHE))
        ask = words_after(f"a {work.en}", work.agree(you.gender, False), ((work.lemma, you.en),))
        return sentence(clause(you, verbs.BE, rest=ask, ask=True, invert=True), "?")
    tense, polarity = d.pick(
        (
            (Tense.PRESENT, Polarity.YES),
            (Tense.PRESENT, Polarity.YES),
            (Tense.PRESENT, Polarity.NOT),
            (Tense.PAST, Polarity.YES),
            (Tense.PRESENT, Polarity.NO_MORE),
        )
    )
    return sentence(clause(who, verbs.BE, tense, polarity, rest))


@THEME.frame(1.5)
def nationality(d: Draw) -> Sentence:
    who = draws.subject(d)
    origin = d.pick(people.NATIONALITIES)
    rest = words_after(origin.en, origin.agree(who.gender, who.plural), ((origin.lemma, who.lemma or who.en),))
    kind = d.between(1, 4)
    if kind == 1:
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        ask = words_after(origin.en, origin.agree(you.gender, you.plural), ((origin.lemma, you.en),))
        return sentence(clause(you, verbs.BE, rest=ask, ask=True, invert=True), "?")
    return sentence(clause(who, verbs.BE, polarity=Polarity.NOT if kind == 2 else Polarity.YES, rest=rest))


@THEME.frame(2.5)
def character(d: Draw) -> Sentence:
    who = draws.someone(d) if d.chance(0.6) else draws.pronoun(d)
    quality = d.pick(adjectives.CHARACTERS)
    form = quality.agree(who.gender, who.plural)
    degree = d.pick((("", ""), ("", ""), ("very", "très"), ("too", "trop"), ("really", "vraiment")))
    if degree[0] == "too" and quality.en in ("brave", "famous", "creative", "elegant", "intelligent", "tall"):
        degree = ("", "")
    links = ((quality.lemma, who.lemma or who.en),)
    rest = words_after(f"{degree[0]} {quality.en}".strip(), f"{degree[1]} {form}".strip(), links)
    polarity = Polarity.NOT if d.chance(0.2) and degree[0] not in ("really", "too") else Polarity.YES
    if not degree[0] and who is not people.I and d.chance(0.2):
        return sentence(clause(who, verbs.BE, rest=rest, ask=True, invert=who.is_pronoun and who is not people.I), "?")
    return sentence(clause(who, verbs.BE, Tense.PAST if d.chance(0.15) else Tense.PRESENT, polarity, rest))


@THEME.frame(1)
def person(d: Draw) -> Sentence:
    """He is an old man, c'est un vieil homme."""
    noun = d.pick(people.PERSONS)
    quality = d.pick(adjectives.PERSON_BEFORE_NOUN)
    while (noun.en in ("baby", "child", "boy", "girl", "king", "queen", "man", "woman")) and quality.en in (
        "young",
        "famous",
    ):
        noun = d.pick(people.PERSONS)
    phrase = a(noun, quality)
    kind = d.between(1, 3)
    if kind == 1:
        pronoun = "she" if noun.gender == "f" else "he"
        return said(f"{pronoun} is {phrase.en}", f"c'est {phrase.fr}", links=phrase.links)
    if kind == 2:
        return said(f"who is this {phrase.en.split(' ', 1)[1]}", f"qui est {this(noun, quality).fr}", "?", phrase.links)
    who = draws.subject(d)
    verb = d.pick((verbs.SEE, verbs.MEET))
    return sentence(clause(who, verb, Tense.PAST, rest=with_object(_SAW if verb is verbs.SEE else verb, phrase)))


_YOUNG = ("child", "boy", "girl", "son", "daughter")
_OLDER = ("mother", "father", "parent", "uncle", "aunt")
_SAW = make_verb("see/saw/seen", "voir")


@THEME.frame(1.5)
def age(d: Draw) -> Sentence:
    """My sister is twenty-one years old, ma sœur a vingt et un ans."""
    who = draws.someone(d) if d.chance(0.6) else draws.pronoun(d)
    while who.lemma in ("grandfather", "grandmother", "grandparent") or (
        " " in who.en and who.lemma in {n.en for n in people.PERSONS}
    ):
        who = draws.someone(d)
    while who.is_pronoun and who.plural:
        who = draws.pronoun(d)
    years = d.between(2, 30) if who.lemma in _YOUNG else d.between(35, 99) if who.lemma in _OLDER else d.between(18, 85)
    number = numbers.english(years)
    be = verbs.BE.en.third if who.person == IL else "am" if who is people.I else "are"
    have = verbs.HAVE.fr.present[who.person]
    return said(
        f"{who.en} {be} {number} years old", f"{who.fr} {have} {numbers.french(years)} ans", links=((number, "years"),)
    )


@THEME.frame(0.8)
def ask_age(d: Draw) -> Sentence:
    who = draws.someone(d)
    if who.person == ILS:
        return said(f"how old are {who.en}", f"quel âge ont {who.fr}", "?", (("old", who.lemma),))
    return said(f"how old is {who.en}", f"quel âge a {who.fr}", "?", (("old", who.lemma),))


@THEME.frame(2)
def speaks(d: Draw) -> Sentence:
    who = draws.subject(d)
    language = d.pick(things.LANGUAGES)
    links = (("speak", language.lemma),)
    kind = d.between(1, 5)
    if kind == 1:
        you = d.pick((people.HE, people.SHE, people.THEY))
        return sentence(
            clause(you, verbs.SPEAK, rest=words_after(language.en, language.fr, links), ask=True, invert=True), "?"
        )
    if kind == 2:
        return sentence(
            clause(who, verbs.SPEAK, polarity=Polarity.NOT, rest=words_after(language.en, language.fr, links))
        )
    if kind == 3:
        en, fr = d.pick(
            (
                (f"{language.en} very well", f"très bien {language.fr}"),
                (f"{language.en} a little", f"un peu {language.fr}"),
                (f"{language.en} at home", f"{language.fr} à la maison"),
            )
        )
        return sentence(clause(who, verbs.SPEAK, rest=words_after(en, fr, links)))
    other = d.pick(things.LANGUAGES)
    while other is language:
        other = d.pick(things.LANGUAGES)
    rest = words_after(
        f"{language.en} and {other.en}",
        f"{language.fr} et {other.fr}",
        (("speak", language.lemma), ("speak", other.lemma), (language.lemma, other.lemma)),
    )
    return sentence(clause(who, verbs.SPEAK, rest=rest))


@THEME.frame(1.5)
def has_family(d: Draw) -> Sentence:
    """I have two brothers, j'ai deux frères."""
    who = draws.subject(d)
    noun = d.pick(
        [
            noun
            for noun in people.FAMILY
            if noun.en in ["brother", "sister", "son", "daughter", "cousin", "uncle", "aunt"]
        ]
        + [people.RELATIVES[2]]
    )
    phrase = count(d.between(2, 5), noun) if d.chance(0.7) else a(noun)
    if who.lemma == noun.lemma or who.lemma.startswith("grand") or who.lemma in people.CHILDREN:
        who = people.I
    kind = d.between(1, 4)
    if kind == 1 and phrase.fr != phrase.fr_none:
        return sentence(clause(who, verbs.HAVE, polarity=Polarity.NOT, rest=with_object(verbs.HAVE, phrase)))
    if kind == 2:
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verbs.HAVE, rest=with_object(verbs.HAVE, phrase), ask=True, invert=True), "?")
    return sentence(clause(who, verbs.HAVE, rest=with_object(verbs.HAVE, phrase)))


@THEME.frame(0.8)
def name_is(d: Draw) -> Sentence:
    relative = draws.relative(d)
    name = d.pick(people.NAMES)
    while relative.plural or relative.gender != name.gender:
        relative, name = draws.relative(d), d.pick(people.NAMES)
    kind = d.between(1, 2)
    if kind == 1:
        return said(
            f"{relative.en}'s name is {name.en}",
            f"{relative.fr} s'appelle {name.fr}",
            links=((relative.head, name.lemma),),
        )
    friend = draws.named_friend(d)
    return said(f"this is {friend.en}", f"c'est {friend.fr}")


_MET = (verbs.CALL, verbs.INVITE, verbs.MEET, verbs.HELP, verbs.WAIT_FOR, verbs.THANK, verbs.LOOK_FOR)


@THEME.frame(2.5)
def toward(d: Draw) -> Sentence:
    """I called my sister yesterday, j'ai appelé ma sœur hier; or a pronoun: je l'ai appelée."""
    who = draws.subject(d)
    verb = d.pick(_MET)
    tense = d.pick((Tense.PAST, Tense.PAST, Tense.FUTURE)) if verb is not verbs.WAIT_FOR else Tense.PROGRESSIVE
    if verb is verbs.LOOK_FOR:
        tense = Tense.PROGRESSIVE
    en, fr = draws.when(d, tense) if verb not in (verbs.WAIT_FOR, verbs.LOOK_FOR) else ("", "")
    polarity = Polarity.NOT if d.chance(0.15) else Polarity.YES
    if d.chance(0.45):
        who = draws.pronoun(d)
        whom = d.pick(
            [
                other
                for other in (HIM, HER, THEM)
                if (who.fr, other.fr) not in (("il", "le"), ("elle", "la"), ("ils", "les"))
            ]
        )
        return sentence(clause(who, verb, tense, polarity, words_after(en, fr), pronoun=whom))
    other = draws.other_relative(d, who)
    rest = words_after(f"{other.en} {en}".strip(), f"{other.fr} {fr}".strip(), ((verb.lemma, other.head),))
    return sentence(clause(who, verb, tense, polarity, rest))


@THEME.frame(1)
def talks_to(d: Draw) -> Sentence:
    who = draws.subject(d)
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE))
    if d.chance(0.4):
        to = d.pick((TO_HIM, TO_HER, TO_THEM))
        polarity = Polarity.NOT if d.chance(0.3) else Polarity.YES
        return sentence(clause(who, verbs.TALK_TO, tense, polarity, pronoun=to))
    noun = d.pick(people.PERSONS)
    phrase = the(noun) if d.chance(0.5) else owned(who.owner, d.pick(people.FAMILY[:2] + people.AROUND))
    if phrase.head == who.lemma:
        who = people.I
        phrase = the(noun)
    return sentence(clause(who, verbs.TALK_TO, tense, rest=with_object(verbs.TALK_TO, phrase)))


@THEME.frame(0.9)
def knows(d: Draw) -> Sentence:
    """Do you know my sister? Yes, I know her well."""
    phrase = draws.relative(d, d.pick(("my", "his", "her", "their", "our")))
    first = sentence(clause(people.YOU, verbs.KNOW, rest=with_object(verbs.KNOW, phrase), ask=True, invert=True), "?")
    pronoun = HER if phrase.gender == "f" and not phrase.plural else THEM if phrase.plural else HIM
    if d.chance(0.4):
        return first
    if d.chance(0.5):
        reply = clause(people.I, verbs.KNOW, polarity=Polarity.NOT, pronoun=pronoun)
        return after(first, said(f"no, {reply.en}", f"non, {reply.fr}"))
    reply = clause(people.I, verbs.KNOW, pronoun=pronoun)
    return after(first, said(f"yes, {reply.en} well", f"oui, {reply.fr} bien"))


@THEME.frame(1.2)
def they_named(d: Draw) -> Sentence:
    """Where are the girls? They left yesterday. Où sont les filles ? Elles sont parties hier."""
    noun = d.pick(people.FAMILY[2:6] + people.PERSONS[3:5] + people.PERSONS[1:2] + people.PERSONS[14:15])
    phrase = owned(d.pick(draws.OWNERS), noun, plural=True) if noun in people.FAMILY else the(noun, plural=True)
    who = everyone_is(people.THEY, noun.gender)
    first = said(f"where are {phrase.en}", f"où sont {phrase.fr}", "?")
    verb = d.pick((verbs.LEAVE, verbs.GO_OUT, verbs.GO_HOME, verbs.STAY))
    en, fr = d.pick(
        (
            ("", ""),
            ("yesterday", "hier"),
            ("this morning", "ce matin"),
            ("an hour ago", "il y a une heure"),
            ("last night", "hier soir"),
        )
    )
    if verb is verbs.STAY:
        en, fr = d.pick(
            (
                ("at home", "à la maison"),
                ("in the garden", "dans le jardin"),
                ("in the car", "dans la voiture"),
                ("at the hotel", "à l'hôtel"),
            )
        )
    second = clause(who, verb, Tense.PAST, rest=words_after(en, fr, ((verb.lemma, noun.lemma),)))
    return after(first, sentence(second))


@THEME.frame(0.8)
def born(d: Draw) -> Sentence:
    """She was born in Rome in May, elle est née à Rome en mai."""
    who = draws.subject(d)
    was = "was" if who.person == IL or who is people.I else "were"
    be = verbs.BE.fr.present[who.person]
    form = "né" + ("e" if who.gender == "f" else "") + ("s" if who.plural else "")
    en, fr = d.pick(places.CITIES)
    month = d.pick(times.MONTHS)
    where = d.pick(((f"in {en}", f"à {fr}", en), (f"in {month[0]}", f"en {month[1]}", month[0])))
    return said(f"{who.en} {was} born {where[0]}", f"{who.fr} {be} {form} {where[1]}", links=(("born", where[2]),))
