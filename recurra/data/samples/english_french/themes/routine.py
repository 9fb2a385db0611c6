"""The day: getting up, washing, resting, with reflexive verbs."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, sentence
from recurra.data.samples.english_french.grammar.clauses import (
    Polarity,
    Rest,
    Tense,
    chained,
    clause,
    imperative,
    infinitive,
    words_after,
)
from recurra.data.samples.english_french.grammar.words import Subject
from recurra.data.samples.english_french.lexicon import people, times, verbs

THEME = Theme("routine")
_DAILY = (
    verbs.GET_UP,
    verbs.WAKE_UP,
    verbs.GO_TO_BED,
    verbs.GET_DRESSED,
    verbs.REST,
    verbs.WALK_OUT,
    verbs.SHAVE,
    verbs.HURRY,
    verbs.HAVE_FUN,
    verbs.WASH_SELF,
)
_WITH_PLACE = {
    "go for a walk": (
        ("in the park", "dans le parc"),
        ("in the forest", "dans la forêt"),
        ("in town", "en ville"),
        ("by the sea", "au bord de la mer"),
    ),
    "have fun": (
        ("at the party", "à la fête"),
        ("at the beach", "à la plage"),
        ("with the children", "avec les enfants"),
    ),
    "rest": (
        ("on the sofa", "sur le canapé"),
        ("in the garden", "dans le jardin"),
        ("after work", "après le travail"),
        ("after lunch", "après le déjeuner"),
    ),
    "get up": (("early", "tôt"), ("late", "tard"), ("very early", "très tôt")),
    "go to bed": (
        ("early", "tôt"),
        ("late", "tard"),
        ("after midnight", "après minuit"),
        ("before midnight", "avant minuit"),
    ),
    "wake up": (("early", "tôt"), ("late", "tard"), ("very early", "très tôt")),
    "get dressed": (("quickly", "vite"),),
}
_DAILY_WITH_PLACE = tuple(verb for verb in _DAILY if verb.lemma in _WITH_PLACE)


def _woman_or(d: Draw, verb_lemma: str) -> Subject:
    """Someone; only men shave."""
    who = draws.subject(d)
    while verb_lemma == "shave" and who.gender == "f":
        who = draws.subject(d)
    return who


@THEME.frame(3)
def daily(d: Draw) -> Sentence:
    """She gets up early every day, elle se lève tôt tous les jours."""
    verb = d.pick(_DAILY_WITH_PLACE)
    who = draws.subject(d)
    en, fr = d.pick(_WITH_PLACE[verb.lemma])
    tense = d.pick((Tense.PRESENT, Tense.PAST, Tense.FUTURE))
    links = ((verb.lemma, en.split()[-1]),)
    if tense is Tense.PRESENT:
        if d.chance(0.4):
            adverb = d.pick(times.OFTEN)
            return sentence(clause(who, verb, tense, rest=words_after(en, fr, links), adverb=adverb))
        when = d.pick((times.HABIT[7], *times.HABIT[10:]))
    else:
        when = d.pick(
            (
                ("", ""),
                *(times.PAST[:1] + times.LAST_DAYS if tense is Tense.PAST else times.FUTURE[:1] + times.NEXT_DAYS),
            )
        )
    if verb is verbs.GET_DRESSED:
        when = times.HABIT[1] if tense is Tense.PRESENT else ("", "")
    polarity = Polarity.NOT if tense is Tense.PAST and d.chance(0.2) else Polarity.YES
    return sentence(
        clause(who, verb, tense, polarity, words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), links))
    )


@THEME.frame(2)
def now(d: Draw) -> Sentence:
    """We are resting, nous nous reposons; did she have fun? est-ce qu'elle s'est amusée ?"""
    verb = d.pick(_DAILY)
    who = _woman_or(d, verb.lemma)
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE))
    if verb is verbs.WAKE_UP or (verb is verbs.HURRY and tense is Tense.FUTURE):
        tense = Tense.PROGRESSIVE if verb is verbs.HURRY else Tense.PAST
    if verb is verbs.WASH_SELF:
        verb, tense = verbs.REST, Tense.PROGRESSIVE
    if d.chance(0.3):
        you = d.pick((people.YOU, people.HE, people.THEY))
        return sentence(clause(you, verb, tense, ask=True), "?")
    polarity = Polarity.NOT if d.chance(0.2) else Polarity.YES
    return sentence(clause(who, verb, tense, polarity))


@THEME.frame(2)
def washing(d: Draw) -> Sentence:
    """She is brushing her teeth, elle se brosse les dents; she washed her hands, elle s'est lavé les mains."""
    who = draws.subject(d)
    verb, part, fr = d.pick(
        (
            (verbs.WASH_SELF, "hands", "les mains"),
            (verbs.WASH_SELF, "feet", "les pieds"),
            (verbs.WASH_SELF, "hair", "les cheveux"),
            (verbs.BRUSH_SELF, "teeth", "les dents"),
            (verbs.BRUSH_SELF, "hair", "les cheveux"),
            (verbs.WASH_SELF, "face", "le visage"),
        )
    )
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE, Tense.PRESENT))
    if part == "face" and who.plural:
        part, fr = "hands", "les mains"
    links = ((verb.lemma, part),)
    when = {
        Tense.PRESENT: d.pick(times.HABIT[:3]),
        Tense.PAST: d.pick((("", ""), *times.PAST[:3], ("this morning", "ce matin"))),
    }.get(tense, ("", ""))
    rest = words_after(f"{who.owner} {part} {when[0]}".strip(), f"{fr} {when[1]}".strip(), links)
    kind = d.between(1, 5)
    if kind == 1:
        return sentence(imperative(verb, words_after(f"your {part}", fr, links)))
    if kind == 2:
        inner = infinitive(verb, words_after(f"{who.owner} {part}", fr, links), who)
        return sentence(clause(who, d.pick((verbs.WANT, verbs.HAVE_TO)), rest=chained(inner)))
    polarity = Polarity.NOT if tense is Tense.PAST and d.chance(0.3) else Polarity.YES
    return sentence(clause(who, verb, tense, polarity, rest, body=True))


@THEME.frame(2)
def must(d: Draw) -> Sentence:
    """We have to get up early, nous devons nous lever tôt."""
    verb = d.pick(_DAILY_WITH_PLACE)
    who = draws.subject(d)
    en, fr = d.pick(_WITH_PLACE[verb.lemma])
    links = ((verb.lemma, en.split()[-1]),)
    when = d.pick((("", ""), times.FUTURE[0], times.FUTURE[1], *times.NEXT_DAYS))
    if verb is verbs.GET_DRESSED:
        when = ("", "")
    inner: Rest = infinitive(verb, words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), links), who)
    modal = d.pick((verbs.WANT, verbs.HAVE_TO, verbs.CAN, verbs.LIKE, verbs.PREFER))
    if verb is verbs.HAVE_FUN or verb is verbs.GET_DRESSED:
        modal = verbs.WANT if verb is verbs.HAVE_FUN else verbs.HAVE_TO
    if modal in (verbs.LIKE, verbs.PREFER):
        inner = infinitive(verb, words_after(en, fr, links), who)
    negative = modal in (verbs.WANT, verbs.CAN, verbs.LIKE) and d.chance(0.35)
    rest = chained(inner, to="" if modal is verbs.CAN else "to")
    return sentence(clause(who, modal, polarity=Polarity.NOT if negative else Polarity.YES, rest=rest))


@THEME.frame(1.5)
def simple(d: Draw) -> Sentence:
    """He is sleeping, il dort; she never smokes, elle ne fume jamais."""
    who = draws.subject(d)
    verb = d.pick(
        (verbs.SLEEP, verbs.WORK, verbs.SMILE, verbs.CRY, verbs.SMOKE, verbs.WALK, verbs.COOK, verbs.SING, verbs.DANCE)
    )
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.PRESENT, Tense.PRESENT, Tense.WAS_DOING))
    if verb is verbs.WALK and tense is Tense.PAST:
        tense = Tense.PROGRESSIVE
    if tense is Tense.PRESENT:
        polarity = d.pick((Polarity.NEVER, Polarity.NO_MORE, Polarity.NOT))
        if verb is not verbs.SLEEP and d.chance(0.35):
            return sentence(clause(who, verb, tense, adverb=d.pick(times.OFTEN)))
        if d.chance(0.6):
            much = (("a lot", "beaucoup"),)
            how = d.pick(
                (*much, ("well", "bien"), ("badly", "mal")) if verb in (verbs.SLEEP, verbs.SING, verbs.DANCE) else much
            )
            polarity = d.pick((Polarity.YES, Polarity.YES, Polarity.NOT)) if how[0] != "badly" else Polarity.YES
            return sentence(clause(who, verb, tense, polarity, words_after(*how, ((verb.lemma, how[0]),))))
        return sentence(clause(who, verb, tense, polarity))
    when = draws.when(d, tense) if tense is not Tense.WAS_DOING else ("", "")
    polarity = Polarity.NOT if d.chance(0.2) else Polarity.YES
    return sentence(clause(who, verb, tense, polarity, words_after(*when)))


@THEME.frame(1)
def during(d: Draw) -> Sentence:
    """I was sleeping when you arrived, je dormais quand vous êtes arrivé."""
    who = draws.subject(d)
    verb, en, fr = d.pick(
        (
            (verbs.SLEEP, "", ""),
            (verbs.WORK, "", ""),
            (verbs.DINE, "", ""),
            (verbs.READ, "a book", "un livre"),
            (verbs.WATCH, "a movie", "un film"),
            (verbs.WRITE, "a letter", "une lettre"),
            (verbs.COOK, "", ""),
            (verbs.REST, "", ""),
            (verbs.GET_DRESSED, "", ""),
            (verbs.WAIT_FOR, "the bus", "le bus"),
        )
    )
    main = clause(who, verb, Tense.WAS_DOING, rest=words_after(en, fr))
    other = d.pick([person for person in (*people.PRONOUNS, *people.NAMES) if person is not who])
    event = d.pick((verbs.ARRIVE, verbs.COME_BACK, verbs.LEAVE, verbs.GO_HOME, verbs.GO_OUT))
    if other.en == who.en or (
        other.is_pronoun and who.is_pronoun and other.person == who.person and other.gender == who.gender
    ):
        other = people.SHE if who is not people.SHE else people.HE
    second = clause(other, event, Tense.PAST)
    return sentence(main.then(f"when {second.en}", f"quand {second.fr}", ((verb.lemma, event.lemma),)))
