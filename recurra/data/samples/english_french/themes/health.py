"""Feelings, needs of the body, pain."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, after, said, sentence
from recurra.data.samples.english_french.grammar.clauses import Polarity, Tense, clause, words_after
from recurra.data.samples.english_french.grammar.noun_phrases import as_subject, owned, the
from recurra.data.samples.english_french.grammar.words import Subject, Verb
from recurra.data.samples.english_french.grammar.words import verb as make_verb
from recurra.data.samples.english_french.lexicon import adjectives, people, things, times, verbs

THEME = Theme("health")
# English be + adjective, French avoir + noun; the last says whether très goes with it
_AVOIR = (
    ("hungry", "faim", True),
    ("thirsty", "soif", True),
    ("cold", "froid", True),
    ("hot", "chaud", True),
    ("sleepy", "sommeil", True),
    ("afraid", "peur", True),
    ("right", "raison", False),
    ("wrong", "tort", False),
)
_HAVE_FR = Verb(verbs.BE.en, verbs.HAVE.fr, stative=True)
_NEWS = ("tired", "happy", "sad", "sick", "worried", "busy", "calm", "hungry", "cold")
_OWN = {"my": people.I, "your": people.YOU, "his": people.HE, "her": people.SHE, "their": people.THEY}


def _feeling(d: Draw, who: Subject) -> tuple[Verb, str, str, str]:
    """Verb, English, French, lemma."""
    if d.chance(0.35):
        en, fr, degree = d.pick(_AVOIR)
        if degree and d.chance(0.3):
            return _HAVE_FR, f"very {en}", f"très {fr}", en
        return _HAVE_FR, en, fr, en
    mood = d.pick(adjectives.MOODS)
    form = mood.agree(who.gender, who.plural)
    degree_en, degree_fr = d.pick((("", ""), ("", ""), ("very", "très"), ("too", "trop"), ("a little", "un peu")))
    if mood.en in ("ready", "alone", "satisfied", "furious", "surprised", "proud", "happy", "calm") and degree_en in (
        "too",
        "a little",
    ):
        degree_en = degree_fr = ""
    if mood.en in ("ready", "alone", "furious"):
        degree_en = degree_fr = ""
    return verbs.BE, f"{degree_en} {mood.en}".strip(), f"{degree_fr} {form}".strip(), mood.lemma


@THEME.frame(4)
def feels(d: Draw) -> Sentence:
    """She is hungry, elle a faim; they are tired, ils sont fatigués."""
    who = draws.subject(d)
    verb, en, fr, lemma = _feeling(d, who)
    tense = d.pick((Tense.PRESENT, Tense.PRESENT, Tense.PAST))
    polarity = d.pick((Polarity.YES, Polarity.YES, Polarity.YES, Polarity.NOT))
    if polarity is Polarity.NOT and en.startswith(("a little", "too")):
        polarity = Polarity.YES
    when = (
        d.pick((("", ""), ("", ""), ("today", "aujourd'hui"), ("this morning", "ce matin")))
        if tense is Tense.PRESENT
        else d.pick((("", ""), ("yesterday", "hier"), ("last night", "hier soir")))
    )
    links = ((lemma, who.lemma or who.en),)
    return sentence(
        clause(who, verb, tense, polarity, words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), links))
    )


@THEME.frame(1.5)
def asks(d: Draw) -> Sentence:
    who = d.pick((people.YOU, people.YOU, people.HE, people.SHE, people.THEY))
    if d.chance(0.3):
        who = draws.someone(d)
    verb, en, fr, lemma = _feeling(d, who)
    while en.startswith(("too", "a little")):
        verb, en, fr, lemma = _feeling(d, who)
    return sentence(
        clause(who, verb, rest=words_after(en, fr, ((lemma, who.lemma or who.en),)), ask=True, invert=who.is_pronoun),
        "?",
    )


@THEME.frame(2)
def hurts(d: Draw) -> Sentence:
    """My back hurts, j'ai mal au dos; her feet hurt, elle a mal aux pieds."""
    part = d.pick(things.BODY)
    plural = part.en in ("foot", "eye", "tooth", "leg", "knee") and d.chance(0.7)
    if part.en in ("eye", "tooth"):
        plural = True
    if d.chance(0.35):
        owner = d.pick(
            people.NAMES + tuple(as_subject(owned(d.pick(draws.OWNERS[:4]), noun)) for noun in people.FAMILY[:6])
        )
        en_owner, who = f"{owner.en}'s", owner
    else:
        en_owner = d.pick(tuple(_OWN)[:4])
        who = _OWN[en_owner]
    phrase = the(part, plural=plural)
    en = f"{en_owner} {phrase.en.removeprefix('the ')}"
    when = d.pick((("", ""), ("", ""), ("today", "aujourd'hui"), ("this morning", "ce matin")))
    have = verbs.HAVE.fr.present[who.person]
    links = (("hurt", part.lemma),)
    return said(
        f"{en} hurt{'' if plural else 's'} {when[0]}".strip(),
        f"{who.fr} {have} mal {phrase.after('à')} {when[1]}".strip(),
        links=links,
    )


@THEME.frame(0.8)
def broke(d: Draw) -> Sentence:
    """She broke her leg, elle s'est cassé la jambe: no agreement, for a part of the body follows."""
    who = draws.subject(d)
    while who.plural:
        who = draws.subject(d)
    part = d.pick([noun for noun in things.BODY if noun.en in ["arm", "leg", "finger", "ankle", "shoulder"]])
    phrase = the(part)
    rest = words_after(f"{who.owner} {part.en}", phrase.fr, (("break", part.lemma),))
    when = d.pick((("", ""), *times.PAST[:6]))
    text = clause(
        who,
        _BREAK,
        Tense.PAST,
        rest=words_after(f"{rest.en} {when[0]}".strip(), f"{rest.fr} {when[1]}".strip(), rest.links),
        body=True,
    )
    return sentence(text)


_BREAK = make_verb("break/broke/broken", "se casser")
_HAVE_AILMENTS = (
    ("a fever", "de la fièvre", "de fièvre"),
    ("a headache", "mal à la tête", ""),
    ("a cold", "un rhume", "de rhume"),
    ("the flu", "la grippe", "la grippe"),
    ("time", "le temps", "le temps"),
    ("an appointment", "un rendez-vous", "de rendez-vous"),
)


@THEME.frame(1)
def has(d: Draw) -> Sentence:
    who = draws.subject(d)
    en, fr, none = d.pick(_HAVE_AILMENTS)
    tense = Tense.PRESENT
    if (none and d.chance(0.35)) or en == "time":
        text = clause(who, verbs.HAVE, tense, Polarity.NOT, words_after(en, none, (("have", en),)))
        return sentence(text)
    when = d.pick((("", ""), ("today", "aujourd'hui"), ("this morning", "ce matin")))
    return sentence(
        clause(
            who,
            verbs.HAVE,
            tense,
            rest=words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), (("have", en),)),
        )
    )


@THEME.frame(1)
def medicine(d: Draw) -> Sentence:
    who = draws.subject(d)
    verb, en, fr = d.pick(
        (
            (verbs.GO, "to the doctor's", "chez le médecin"),
            (verbs.GO, "to the dentist's", "chez le dentiste"),
            (verbs.GO, "to the hospital", "à l'hôpital"),
            (verbs.GO, "to the pharmacy", "à la pharmacie"),
            (verbs.TAKE, "a pill", "un comprimé"),
            (verbs.STAY, "in bed", "au lit"),
            (verbs.CALL, "the doctor", "le médecin"),
        )
    )
    tense = d.pick((Tense.PAST, Tense.FUTURE))
    if verb is verbs.GO and tense is Tense.FUTURE:
        tense = Tense.PROGRESSIVE
    moments = times.PAST[:4] if tense is Tense.PAST else times.FUTURE[:5]
    when = d.pick((("", ""), *moments))
    return sentence(
        clause(
            who,
            verb,
            tense,
            rest=words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), ((verb.lemma, en.split()[-1]),)),
        )
    )


@THEME.frame(1.5)
def because(d: Draw) -> Sentence:
    """I am going to bed because I am tired, je me couche parce que je suis fatigué."""
    who = draws.pronoun(d)
    pairs = (
        (verbs.STAY, ("at home", "à la maison"), ("sick", "tired", "busy")),
        (verbs.GO_HOME, ("", ""), ("tired", "sick", "hungry", "sleepy", "cold")),
        (verbs.CRY, ("", ""), ("sad", "tired", "disappointed", "afraid", "alone")),
        (verbs.SMILE, ("", ""), ("happy", "proud", "satisfied")),
        (verbs.REST, ("", ""), ("tired", "sick", "hot")),
        (verbs.EAT, ("", ""), ("hungry",)),
        (verbs.DRINK, ("", ""), ("thirsty", "hot")),
        (verbs.SLEEP, ("", ""), ("tired", "sick", "sleepy")),
        (verbs.LEAVE, ("", ""), ("tired", "furious", "disappointed", "afraid", "jealous")),
        (verbs.DANCE, ("", ""), ("happy",)),
    )
    verb, (en, fr), reasons = d.pick(pairs)
    reason = d.pick(reasons)
    main = clause(who, verb, Tense.PROGRESSIVE, rest=words_after(en, fr))
    by_name = {en: fr for en, fr, _ in _AVOIR}
    if reason in by_name:
        why = clause(who, _HAVE_FR, rest=words_after(reason, by_name[reason]))
    else:
        mood = next(mood for mood in adjectives.MOODS if mood.en == reason)
        why = clause(who, verbs.BE, rest=words_after(reason, mood.agree(who.gender, who.plural)))
    return said(f"{main.en} because {why.en}", f"{main.fr} parce que {why.fr}", links=((verb.lemma, reason),))


@THEME.frame(0.8)
def looks_after(d: Draw) -> Sentence:
    """How is your mother? She is tired. Comment va votre mère ? Elle est fatiguée."""
    relative = draws.relative(d, d.pick(("your", "his", "her", "their")))
    are, va = ("are", "vont") if relative.plural else ("is", "va")
    first = said(f"how {are} {relative.en}", f"comment {va} {relative.fr}", "?", (("how", relative.head),))
    if d.chance(0.3):
        return first
    who = people.THEY if relative.plural else people.SHE if relative.gender == "f" else people.HE
    if relative.plural and relative.gender == "f":
        return first
    verb, en, fr, lemma = _feeling(d, who)
    while en.startswith("too") or lemma not in _NEWS:
        verb, en, fr, lemma = _feeling(d, who)
    return after(first, sentence(clause(who, verb, rest=words_after(en, fr, ((lemma, relative.head),)))))
