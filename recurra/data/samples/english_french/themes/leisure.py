"""Sports, games, music, films, friends and going out."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.actions import Action, add_actions, wish
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, said, sentence
from recurra.data.samples.english_french.grammar.clauses import (
    Polarity,
    Rest,
    Tense,
    chained,
    clause,
    infinitive,
    with_object,
    words_after,
)
from recurra.data.samples.english_french.grammar.noun_phrases import as_subject, the, this
from recurra.data.samples.english_french.grammar.words import Verb
from recurra.data.samples.english_french.lexicon import adjectives, people, things, times, verbs

THEME = Theme("leisure")
_SINGLES = things.SHOWS
_HEARD = things.HEARD
# English name, French after à
_GAMES = (
    ("football", "au football"),
    ("tennis", "au tennis"),
    ("basketball", "au basket"),
    ("rugby", "au rugby"),
    ("volleyball", "au volley"),
    ("handball", "au handball"),
    ("golf", "au golf"),
    ("badminton", "au badminton"),
    ("chess", "aux échecs"),
    ("cards", "aux cartes"),
)
_PLURAL_OWNERS = {"my": "mes", "your": "vos", "his": "ses", "her": "ses", "our": "nos", "their": "leurs"}
_HOBBIES: tuple[tuple[Verb, str, str, str], ...] = (
    (verbs.SWIM, "", "", "swim"),
    (verbs.RUN, "", "", "run"),
    (verbs.DANCE, "", "", "dance"),
    (verbs.SING, "", "", "sing"),
    (verbs.TRAVEL, "", "", "travel"),
    (verbs.READ, "", "", "read"),
    (verbs.DRAW, "", "", "draw"),
    (verbs.COOK, "", "", "cook"),
    (verbs.WALK, "in the mountains", "en montagne", "mountains"),
    (verbs.WALK, "in the forest", "dans la forêt", "forest"),
    (verbs.SWIM, "in the sea", "dans la mer", "sea"),
    (verbs.DANCE, "with my friends", "avec mes amis", "friends"),
    (verbs.WATCH, "television", "la télévision", "television"),
    (verbs.LISTEN, "music", "de la musique", "music"),
)

_LENT = tuple(noun for noun in things.INSTRUMENTS if noun.en not in ("piano", "harp"))

add_actions(
    THEME,
    (
        Action(
            verbs.WATCH,
            _SINGLES[:4],
            "aath",
            "gpf",
            adjectives.STORY_QUALITIES,
            (("at home", "à la maison"), ("on television", "à la télévision")),
            named="l",
        ),
        Action(verbs.SEE, _SINGLES[:2] + _SINGLES[4:], "ath", "p", adjectives.STORY_QUALITIES),
        Action(verbs.LISTEN, _HEARD, "tah", "gpf", adjectives.STORY_QUALITIES[4:5] + adjectives.LOOKS[2:3]),
        Action(verbs.SING, _HEARD[:1], "ath", "gpf", adjectives.STORY_QUALITIES + adjectives.LOOKS),
        Action(verbs.BUY, things.INSTRUMENTS, "a", "gpf", adjectives.LOOKS),
        Action(verbs.SELL, things.INSTRUMENTS, "mt", "pf"),
        Action(verbs.DRAW, things.ANIMALS[:16] + things.NATURE[:4], "aan", "gpf", adjectives.SIZES),
        Action(verbs.BORROW, things.READING[:3] + _LENT + things.SHOP_THINGS[15:], "ath", "pf", ()),
        Action(verbs.LIKE, (*_SINGLES[:5], *_HEARD[:2], *things.READING[:1], *things.READING[4:7]), "h", "h"),
        Action(verbs.KNOW, (*_HEARD[:2], *things.READING[:1], *things.READING[4:7]), "h", "h"),
    ),
    weight=1.0,
)


@THEME.frame(3)
def plays(d: Draw) -> Sentence:
    """She plays tennis, elle joue au tennis; he plays the harp, il joue de la harpe."""
    who = draws.subject(d)
    if d.chance(0.5):
        en, fr = d.pick(_GAMES)
        verb, rest = verbs.PLAY_GAME, Rest(en, fr, en, fr, (("play", en),))
    else:
        instrument = the(d.pick(things.INSTRUMENTS))
        verb, rest = verbs.PLAY_MUSIC, with_object(verbs.PLAY_MUSIC, instrument)
    kind = d.between(1, 6)
    if kind == 1:
        return wish(d, who, infinitive(verb, rest))
    if kind == 2:
        you = d.pick((people.YOU, people.HE, people.SHE, people.THEY))
        return sentence(clause(you, verb, rest=rest, ask=True), "?")
    tense = d.pick((Tense.PRESENT, Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE, Tense.USED_TO))
    when, adverb = draws.when(d, tense), ("", "")
    if tense is Tense.PRESENT and d.chance(0.4):
        when, adverb = ("", ""), d.pick(times.OFTEN)
    polarity = Polarity.YES
    if tense is Tense.PRESENT and d.chance(0.3):
        polarity, when, adverb = draws.no(d), ("", ""), ("", "")
    rest = Rest(
        f"{rest.en} {when[0]}".strip(),
        f"{rest.fr} {when[1]}".strip(),
        f"{rest.en} {when[0]}".strip(),
        f"{rest.fr} {when[1]}".strip(),
        rest.links,
    )
    return sentence(clause(who, verb, tense, polarity, rest, adverb=adverb))


@THEME.frame(2.5)
def likes_doing(d: Draw) -> Sentence:
    """I like to swim, j'aime nager."""
    who = draws.subject(d)
    verb, en, fr, lemma = d.pick(_HOBBIES)
    if lemma == "friends":
        en = f"with {who.owner} friends"
        fr = f"avec {_PLURAL_OWNERS[who.owner]} amis"
    inner = infinitive(verb, words_after(en, fr, ((verb.lemma, lemma),) if lemma != verb.lemma else ()))
    like = d.pick((verbs.LIKE, verbs.LIKE, verbs.LOVE, verbs.HATE, verbs.PREFER))
    kind = d.between(1, 6)
    links = ((like.lemma, verb.lemma),)
    rest = chained(inner)
    rest = Rest(rest.en, rest.fr, rest.en_any, rest.fr_none, rest.links + links)
    if kind == 1:
        you = people.YOU if "my" not in en and lemma != "friends" else people.THEY
        if lemma == "friends":
            return sentence(clause(who, like, rest=rest))
        return sentence(clause(you, verbs.LIKE, rest=rest, ask=True), "?")
    polarity = Polarity.NOT if kind == 2 and like is verbs.LIKE else Polarity.YES
    return sentence(clause(who, like, Tense.PRESENT, polarity, rest))


@THEME.frame(1.5)
def doing(d: Draw) -> Sentence:
    who = draws.subject(d)
    verb, en, fr, lemma = d.pick(_HOBBIES[:11])
    tense = d.pick((Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE, Tense.USED_TO))
    if verb is verbs.TRAVEL and tense is Tense.PROGRESSIVE:
        tense = Tense.USED_TO
    when = draws.when(d, tense) if not en else ("", "")
    links = ((verb.lemma, lemma),) if lemma != verb.lemma else ()
    return sentence(
        clause(who, verb, tense, rest=words_after(f"{en} {when[0]}".strip(), f"{fr} {when[1]}".strip(), links))
    )


@THEME.frame(1.5)
def opinion(d: Draw) -> Sentence:
    """This movie is boring, ce film est ennuyeux."""
    noun = d.pick((*_SINGLES, *_HEARD[:3], *things.READING[:3], *things.READING[4:8]))
    if noun.en in ("match", "concert"):
        quality = d.pick(adjectives.STORY_QUALITIES[:3] + adjectives.STORY_QUALITIES[5:6])
    else:
        quality = d.pick(adjectives.STORY_QUALITIES[:7])
    plural = d.chance(0.25)
    phrase = d.pick((the, this))(noun, plural=plural)
    degree = d.pick((("", ""), ("very", "très"), ("too", "trop"), ("really", "vraiment")))
    if degree[0] == "too" and quality.en not in ("long", "short", "sad"):
        degree = ("", "")
    rest = words_after(
        f"{degree[0]} {quality.en}".strip(),
        f"{degree[1]} {quality.agree(noun.gender, plural)}".strip(),
        ((quality.lemma, noun.lemma),),
    )
    who = as_subject(phrase)
    if not degree[0] and d.chance(0.25):
        return sentence(clause(who, verbs.BE, rest=rest, ask=True), "?")
    if noun.en in ("concert", "match"):
        return sentence(clause(who, verbs.BE, Tense.PAST, rest=rest))
    return sentence(clause(who, verbs.BE, rest=rest))


@THEME.frame(1.5)
def thinks(d: Draw) -> Sentence:
    """I think that this book is interesting, je pense que ce livre est intéressant."""
    who = d.pick((people.I, people.I, people.WE, people.HE, people.SHE, *people.NAMES[:4]))
    noun = d.pick((*_SINGLES[:4], *_HEARD[:2], *things.READING[:1], *things.READING[4:8]))
    quality = d.pick(adjectives.STORY_QUALITIES[:7])
    if noun.en == "match":
        quality = adjectives.STORY_QUALITIES[0]
    phrase = this(noun)
    inner = clause(
        as_subject(phrase),
        verbs.BE,
        rest=words_after(quality.en, quality.agree(noun.gender, False), ((quality.lemma, noun.lemma),)),
    )
    return sentence(clause(who, verbs.THINK, rest=words_after(f"that {inner.en}", f"que {inner.fr}", inner.links)))


@THEME.frame(1)
def nothing(d: Draw) -> Sentence:
    """He didn't buy anything, il n'a rien acheté."""
    who = draws.subject(d)
    verb = d.pick(
        (
            verbs.BUY,
            verbs.EAT,
            verbs.DRINK,
            verbs.SEE,
            verbs.HEAR,
            verbs.UNDERSTAND,
            verbs.FIND,
            verbs.FORGET,
            verbs.WRITE,
            verbs.ORDER,
            verbs.LOSE,
            verbs.CHOOSE,
            verbs.READ,
            verbs.SELL,
        )
    )
    tense = d.pick((Tense.PAST, Tense.PAST, Tense.FUTURE))
    if verb in (verbs.SEE, verbs.HEAR, verbs.UNDERSTAND, verbs.FORGET, verbs.LOSE, verbs.FIND):
        tense = Tense.PAST
    active = Verb(verb.en, verb.fr)  # understood something once, at one moment: a passé composé
    when = d.pick((("", ""), *(times.PAST[:7] if tense is Tense.PAST else times.FUTURE[:5])))
    return sentence(
        clause(
            who,
            active,
            tense,
            Polarity.NOTHING,
            words_after(when[0], when[1], ((verb.lemma, when[0]),) if when[0] else ()),
        )
    )


@THEME.frame(1)
def going_out(d: Draw) -> Sentence:
    """When it rains, we stay at home; if the weather is nice, I am going to swim."""
    who = draws.pronoun(d)
    opening = d.pick(
        (
            ("if it rains tomorrow", "s'il pleut demain"),
            ("if the weather is nice tomorrow", "s'il fait beau demain"),
            ("if it is cold tomorrow", "s'il fait froid demain"),
            ("if it is hot tomorrow", "s'il fait chaud demain"),
            ("if it snows tomorrow", "s'il neige demain"),
        )
    )
    verb, rest = d.pick(
        (
            (verbs.STAY, words_after("at home", "à la maison")),
            (verbs.SWIM, words_after("in the lake", "dans le lac")),
            (verbs.WATCH, words_after("a movie", "un film")),
            (verbs.READ, words_after("a book", "un livre")),
            (verbs.WALK_OUT, words_after("in the park", "dans le parc")),
            (verbs.PLAY_GAME, words_after("chess", "aux échecs")),
            (verbs.PLAY_GAME, words_after("football", "au football")),
            (verbs.GO_OUT, words_after("with my friends", "avec mes amis")),
            (verbs.COOK, words_after("", "")),
            (verbs.SLEEP, words_after("", "")),
        )
    )
    nice = opening[0].split()[1:3] != ["it", "rains"] and "cold" not in opening[0] and "snows" not in opening[0]
    if (verb in (verbs.SWIM, verbs.WALK_OUT, verbs.GO_OUT) and not nice) or (rest.en == "football" and not nice):
        verb, rest = verbs.STAY, words_after("at home", "à la maison")
    if rest.en == "with my friends" and who is not people.I:
        rest = words_after("", "")
    main = clause(who, verb, Tense.FUTURE, rest=rest)
    return said(f"{opening[0]}, {main.en}", f"{opening[1]}, {main.fr}", links=((opening[0].split()[-2], verb.lemma),))


@THEME.frame(1.2)
def childhood(d: Draw) -> Sentence:
    """When I was a child, I used to play football; quand j'étais enfant, je jouais au football."""
    who = d.pick((people.I, people.I, people.HE, people.SHE, people.WE, people.THEY, people.YOU))
    if d.chance(0.5):
        en, fr = d.pick(_GAMES)
        verb, rest = verbs.PLAY_GAME, words_after(en, fr, (("play", en),))
    elif d.chance(0.5):
        verb, rest = verbs.PLAY_MUSIC, with_object(verbs.PLAY_MUSIC, the(d.pick(things.INSTRUMENTS)))
    else:
        verb, en, fr, _ = d.pick(_HOBBIES[:8])
        rest = words_after(en, fr, ())
    adverb = ("", "")
    state_en = "a child" if not who.plural else "children"
    state_fr = "enfants" if who.plural else "enfant"
    then = clause(who, verbs.BE, Tense.PAST, rest=words_after(state_en, state_fr))
    main = clause(who, verb, Tense.USED_TO, rest=rest, adverb=adverb)
    return said(f"when {then.en}, {main.en}", f"quand {then.fr}, {main.fr}", links=main.links)
