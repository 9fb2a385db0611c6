"""The English-French sample: its grammar by hand-checked examples, its laws over the whole corpus."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from recurra.data.samples import SAMPLES, english_french
from recurra.data.samples.english_french import generator, phrases
from recurra.data.samples.english_french.frames import Draw, Sentence, after, said, sentence
from recurra.data.samples.english_french.grammar import english, french, numbers
from recurra.data.samples.english_french.grammar.clauses import (
    HER,
    HIM,
    THEM,
    TO_THEM,
    Clause,
    Polarity,
    Pronoun,
    Rest,
    Tense,
    chained,
    clause,
    everyone_is,
    imperative,
    infinitive,
    pronoun_for,
    with_object,
    words_after,
)
from recurra.data.samples.english_french.grammar.conjugation import conjugate
from recurra.data.samples.english_french.grammar.noun_phrases import (
    NounPhrase,
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
from recurra.data.samples.english_french.grammar.words import Noun, Subject, Verb, adjective, noun, verb
from recurra.data.samples.english_french.held_out import is_held_out
from recurra.data.samples.english_french.lexicon import people, places, things, verbs
from recurra.data.samples.english_french.themes import fixed

HERO, MAN, TREE = noun("hero/heroes: *héros m"), noun("man/men: homme m"), noun("tree: arbre m")
BEAN, APPLE, CHURCH = (
    noun("green bean: *haricot vert/*haricots verts m"),
    noun("apple: pomme f"),
    noun("church: église f"),
)
KEY, CAR, PAGE, DRESS = noun("key: clé f"), noun("car: voiture f"), noun("page: page f"), noun("dress: robe f")
HORSE, FRIEND_F, BOOK = noun("horse: cheval m"), noun("friend: amie f"), noun("book: livre m")
HOSPITAL, MUSEUM, SISTER, BACK = (
    noun("hospital: hôpital m"),
    noun("museum: musée m"),
    noun("sister: sœur f"),
    noun("back: dos m"),
)
BREAD, WATER, MEAT = noun("bread: pain m", True), noun("water: eau f", True), noun("meat: viande f", True)
OLD, NEW = adjective("old: <vieux/vieille/vieil"), adjective("new: <nouveau/nouvelle/nouvel")
FINE, WHITE, ORANGE = (
    adjective("beautiful: <beau/belle/bel"),
    adjective("white: blanc/blanche"),
    adjective("orange: =orange"),
)
PLAY_HARP = with_object(verbs.PLAY_MUSIC, the(noun("harp: *harpe f")))
MARIE = next(name for name in people.NAMES if name.en == "Marie")
GLASS = noun("glass: verre m")
NOT, NEVER, NO_MORE, NOTHING = Polarity.NOT, Polarity.NEVER, Polarity.NO_MORE, Polarity.NOTHING


NOTHING_MORE = Rest()


def phrase(thing: NounPhrase) -> Sentence:
    return said(thing.en, thing.fr)


def to(thing: NounPhrase) -> Sentence:
    return said(f"to {thing.en}", thing.after("à"))


def from_(thing: NounPhrase) -> Sentence:
    return said(f"from {thing.en}", thing.after("de"))


def acts(
    who: Subject,
    what: Verb,
    tense: Tense,
    polarity: Polarity = Polarity.YES,
    rest: Rest = NOTHING_MORE,
    **more: object,
) -> Sentence:
    return sentence(clause(who, what, tense, polarity, rest, **more))  # type: ignore[arg-type]


def asks(who: Subject, what: Verb, tense: Tense, rest: Rest = NOTHING_MORE, invert: bool = False) -> Sentence:
    return sentence(clause(who, what, tense, rest=rest, ask=True, invert=invert), "?")


def number(value: int, gender: str = "m") -> Sentence:
    return said(numbers.english(value), numbers.french(value, gender))


def clock(hour: int, minute: int) -> Sentence:
    en, fr = numbers.clock(hour, minute)
    return said(f"it is {en}", f"il est {fr}")


GIRLS = the(noun("girl: fille f"), plural=True)
MY_SISTERS = as_subject(owned("my", SISTER, plural=True))
PRESENT, NOW, PAST, FUTURE = Tense.PRESENT, Tense.PROGRESSIVE, Tense.PAST, Tense.FUTURE
GOLDEN: list[tuple[Sentence, str, str]] = [
    # articles, elision, h mute and aspirated
    (phrase(the(HERO)), "The hero.", "Le héros."),
    (phrase(the(HERO, plural=True)), "The heroes.", "Les héros."),
    (phrase(the(BEAN, plural=True)), "The green beans.", "Les haricots verts."),
    (phrase(the(MAN)), "The man.", "L'homme."),
    (phrase(the(CHURCH)), "The church.", "L'église."),
    (phrase(the(CHURCH, OLD)), "The old church.", "La vieille église."),
    (phrase(a(APPLE)), "An apple.", "Une pomme."),
    (phrase(a(noun("university: université f"))), "A university.", "Une université."),
    (phrase(a(noun("hour: heure f"))), "An hour.", "Une heure."),
    (phrase(some(BREAD)), "Some bread.", "Du pain."),
    (phrase(some(MEAT)), "Some meat.", "De la viande."),
    (phrase(some(WATER)), "Some water.", "De l'eau."),
    (phrase(some(APPLE)), "Some apples.", "Des pommes."),
    (phrase(some(BEAN)), "Some green beans.", "Des haricots verts."),
    (phrase(some(DRESS, FINE)), "Some beautiful dresses.", "De belles robes."),
    (phrase(of(a(GLASS), WATER)), "A glass of water.", "Un verre d'eau."),
    (phrase(all_of(HORSE)), "Horses.", "Les chevaux."),
    # adjectives: place and agreement
    (phrase(a(TREE, FINE)), "A beautiful tree.", "Un bel arbre."),
    (phrase(a(MAN, OLD)), "An old man.", "Un vieil homme."),
    (phrase(a(HERO, OLD)), "An old hero.", "Un vieux héros."),
    (phrase(a(noun("uniform: uniforme m"), NEW)), "A new uniform.", "Un nouvel uniforme."),
    (phrase(the(TREE, NEW, plural=True)), "The new trees.", "Les nouveaux arbres."),
    (phrase(a(DRESS, WHITE)), "A white dress.", "Une robe blanche."),
    (phrase(the(DRESS, ORANGE, plural=True)), "The orange dresses.", "Les robes orange."),
    (phrase(the(CAR, NEW)), "The new car.", "La nouvelle voiture."),
    # contraction
    (to(the(MUSEUM)), "To the museum.", "Au musée."),
    (to(the(HOSPITAL)), "To the hospital.", "À l'hôpital."),
    (to(the(CHURCH)), "To the church.", "À l'église."),
    (to(the(HERO)), "To the hero.", "Au héros."),
    (to(the(MAN, plural=True)), "To the men.", "Aux hommes."),
    (from_(the(MUSEUM)), "From the museum.", "Du musée."),
    (from_(the(HERO)), "From the hero.", "Du héros."),
    (from_(the(HOSPITAL)), "From the hospital.", "De l'hôpital."),
    (from_(GIRLS), "From the girls.", "Des filles."),
    (from_(a(MUSEUM)), "From a museum.", "D'un musée."),
    # possessives and demonstratives
    (phrase(owned("my", FRIEND_F)), "My friend.", "Mon amie."),
    (phrase(owned("my", SISTER)), "My sister.", "Ma sœur."),
    (phrase(owned("her", CHURCH)), "Her church.", "Son église."),
    (phrase(owned("his", FRIEND_F, OLD)), "His old friend.", "Sa vieille amie."),
    (phrase(owned("their", KEY, plural=True)), "Their keys.", "Leurs clés."),
    (phrase(this(MAN)), "This man.", "Cet homme."),
    (phrase(this(HERO)), "This hero.", "Ce héros."),
    (phrase(this(KEY)), "This key.", "Cette clé."),
    (phrase(this(MAN, OLD)), "This old man.", "Ce vieil homme."),
    (phrase(this(TREE, plural=True)), "These trees.", "Ces arbres."),
    # numbers and the clock
    (number(17), "Seventeen.", "Dix-sept."),
    (number(21), "Twenty-one.", "Vingt et un."),
    (phrase(count(21, PAGE)), "Twenty-one pages.", "Vingt et une pages."),
    (number(70), "Seventy.", "Soixante-dix."),
    (number(71), "Seventy-one.", "Soixante et onze."),
    (number(80), "Eighty.", "Quatre-vingts."),
    (number(81), "Eighty-one.", "Quatre-vingt-un."),
    (number(91), "Ninety-one.", "Quatre-vingt-onze."),
    (number(99), "Ninety-nine.", "Quatre-vingt-dix-neuf."),
    (number(100), "One hundred.", "Cent."),
    (number(200), "Two hundred.", "Deux cents."),
    (number(301, "f"), "Three hundred and one.", "Trois cent une."),
    (clock(12, 30), "It is half past noon.", "Il est midi et demi."),
    (clock(1, 30), "It is half past one.", "Il est une heure et demie."),
    (clock(0, 0), "It is midnight.", "Il est minuit."),
    (clock(4, 45), "It is quarter to five.", "Il est cinq heures moins le quart."),
    (clock(11, 40), "It is twenty to noon.", "Il est midi moins vingt."),
    (clock(8, 15), "It is quarter past eight.", "Il est huit heures et quart."),
    # negation
    (
        acts(people.I, verbs.HAVE, PRESENT, NOT, with_object(verbs.HAVE, some(BREAD))),
        "I don't have any bread.",
        "Je n'ai pas de pain.",
    ),
    (
        acts(people.HE, verbs.EAT, PRESENT, NEVER, with_object(verbs.EAT, some(MEAT, bare=True))),
        "He never eats meat.",
        "Il ne mange jamais de viande.",
    ),
    (
        acts(people.SHE, verbs.DRINK, PRESENT, NO_MORE, with_object(verbs.DRINK, some(WATER, bare=True))),
        "She doesn't drink water anymore.",
        "Elle ne boit plus d'eau.",
    ),
    (acts(people.WE, verbs.BUY, PAST, NOTHING), "We didn't buy anything.", "Nous n'avons rien acheté."),
    (
        acts(people.I, verbs.LIKE, PRESENT, NOT, with_object(verbs.LIKE, all_of(APPLE))),
        "I don't like apples.",
        "Je n'aime pas les pommes.",
    ),
    (acts(people.HE, verbs.SLEEP, NOW, NOT), "He isn't sleeping.", "Il ne dort pas."),
    (
        acts(people.I, verbs.BUY, PAST, NOT, with_object(verbs.BUY, a(CAR))),
        "I didn't buy a car.",
        "Je n'ai pas acheté de voiture.",
    ),
    (
        acts(people.I, verbs.WANT, PRESENT, NOT, chained(infinitive(verbs.EAT, with_object(verbs.EAT, some(APPLE))))),
        "I don't want to eat any apples.",
        "Je ne veux pas manger de pommes.",
    ),
    # tenses, agreement of the participle
    (acts(MY_SISTERS, verbs.ARRIVE, PAST), "My sisters arrived.", "Mes sœurs sont arrivées."),
    (acts(everyone_is(people.THEY, "f"), verbs.ARRIVE, PAST), "They arrived.", "Elles sont arrivées."),
    (acts(people.THEY, verbs.LEAVE, PAST), "They left.", "Ils sont partis."),
    (
        acts(people.YOU, verbs.GO, PAST, rest=words_after("to Rome", "à Rome")),
        "You went to Rome.",
        "Vous êtes allé à Rome.",
    ),
    (acts(MARIE, verbs.GET_UP, PAST), "Marie got up.", "Marie s'est levée."),
    (
        acts(people.SHE, verbs.WASH_SELF, PAST, rest=words_after("her hands", "les mains"), body=True),
        "She washed her hands.",
        "Elle s'est lavé les mains.",
    ),
    (acts(people.I, verbs.SEE, PAST, pronoun=HER), "I saw her.", "Je l'ai vue."),
    (
        acts(people.I, verbs.LOSE, PAST, pronoun=pronoun_for(owned("my", KEY, plural=True))),
        "I lost them.",
        "Je les ai perdues.",
    ),
    (acts(people.WE, verbs.GO_OUT, FUTURE), "We are going to go out.", "Nous allons sortir."),
    (acts(people.WE, verbs.GET_UP, FUTURE), "We are going to get up.", "Nous allons nous lever."),
    (
        acts(people.I, verbs.PLAY_MUSIC, Tense.USED_TO, rest=PLAY_HARP),
        "I used to play the harp.",
        "Je jouais de la harpe.",
    ),
    (acts(people.WE, verbs.EAT, Tense.WAS_DOING), "We were eating.", "Nous mangions."),
    (
        acts(people.HE, verbs.WANT, PAST, rest=chained(infinitive(verbs.LEAVE))),
        "He wanted to leave.",
        "Il voulait partir.",
    ),
    (acts(people.I, verbs.LIVE, PRESENT, rest=words_after("here", "ici")), "I live here.", "J'habite ici."),
    # modals, needs, pronouns
    (
        acts(
            people.SHE, verbs.CAN, PRESENT, NOT, chained(infinitive(verbs.FIND, pronoun=pronoun_for(the(KEY))), to="")
        ),
        "She can't find it.",
        "Elle ne peut pas la trouver.",
    ),
    (acts(people.I, verbs.SEE, PRESENT, pronoun=HIM), "I see him.", "Je le vois."),
    (acts(people.I, verbs.WAIT_FOR, NOW, pronoun=HIM), "I am waiting for him.", "Je l'attends."),
    (acts(people.HE, verbs.TALK_TO, NOW, NOT, pronoun=TO_THEM), "He isn't talking to them.", "Il ne leur parle pas."),
    (acts(people.THEY, verbs.INVITE, FUTURE, pronoun=THEM), "They are going to invite them.", "Ils vont les inviter."),
    (
        acts(people.I, verbs.NEED, PRESENT, rest=with_object(verbs.NEED, some(BREAD, bare=True))),
        "I need bread.",
        "J'ai besoin de pain.",
    ),
    (
        acts(people.I, verbs.NEED, PRESENT, rest=with_object(verbs.NEED, a(BOOK))),
        "I need a book.",
        "J'ai besoin d'un livre.",
    ),
    (
        acts(people.HE, verbs.PREFER, PRESENT, rest=chained(infinitive(verbs.REST, subject=people.HE))),
        "He prefers to rest.",
        "Il préfère se reposer.",
    ),
    # questions and orders
    (
        asks(people.YOU, verbs.HAVE, PRESENT, with_object(verbs.HAVE, some(BREAD)), invert=True),
        "Do you have any bread?",
        "Avez-vous du pain ?",
    ),
    (
        asks(people.HE, verbs.HAVE, PRESENT, with_object(verbs.HAVE, a(CAR)), invert=True),
        "Does he have a car?",
        "A-t-il une voiture ?",
    ),
    (
        asks(people.SHE, verbs.EAT, PAST, with_object(verbs.EAT, the(APPLE))),
        "Did she eat the apple?",
        "Est-ce qu'elle a mangé la pomme ?",
    ),
    (
        asks(people.YOU, verbs.GO, NOW, words_after("to Rome", "à Rome")),
        "Are you going to Rome?",
        "Est-ce que vous allez à Rome ?",
    ),
    (sentence(imperative(verbs.OPEN, with_object(verbs.OPEN, this(BOOK)))), "Open this book.", "Ouvrez ce livre."),
    (
        sentence(imperative(verbs.OPEN, with_object(verbs.OPEN, the(BOOK)), negative=True)),
        "Don't open the book.",
        "N'ouvrez pas le livre.",
    ),
    (sentence(imperative(verbs.HURRY)), "Hurry.", "Dépêchez-vous."),
    # whole sentences
    (
        said("there isn't any milk", f"il n'y a pas {some(noun('milk: lait m', True)).fr_none}"),
        "There isn't any milk.",
        "Il n'y a pas de lait.",
    ),
    (said("my back hurts", f"j'ai mal {the(BACK).after('à')}"), "My back hurts.", "J'ai mal au dos."),
    (said("if he comes", "si il vient"), "If he comes.", "S'il vient."),
    (said("I think that he is here", "je pense que il est ici"), "I think that he is here.", "Je pense qu'il est ici."),
    (said("what a beautiful tree", "quel bel arbre", "!"), "What a beautiful tree!", "Quel bel arbre !"),
    (
        after(
            said("where are the girls", "où sont les filles", "?"),
            acts(everyone_is(people.THEY, "f"), verbs.GO_OUT, PAST),
        ),
        "Where are the girls? They went out.",
        "Où sont les filles ? Elles sont sorties.",
    ),
]


@pytest.mark.parametrize(("made", "source", "target"), GOLDEN, ids=[row[1] for row in GOLDEN])
def test_grammar_writes(made: Sentence, source: str, target: str) -> None:
    assert (made.source, made.target) == (source, target)


@pytest.mark.parametrize(
    ("infinitive_form", "present"),
    [
        ("manger", "mange mange mangeons mangez mangent"),
        ("commencer", "commence commence commençons commencez commencent"),
        ("acheter", "achète achète achetons achetez achètent"),
        ("préférer", "préfère préfère préférons préférez préfèrent"),
        ("appeler", "appelle appelle appelons appelez appellent"),
        ("nettoyer", "nettoie nettoie nettoyons nettoyez nettoient"),
        ("finir", "finis finit finissons finissez finissent"),
        ("vendre", "vends vend vendons vendez vendent"),
        ("ouvrir", "ouvre ouvre ouvrons ouvrez ouvrent"),
        ("connaître", "connais connaît connaissons connaissez connaissent"),
        ("écrire", "écris écrit écrivons écrivez écrivent"),
    ],
)
def test_present_tense(infinitive_form: str, present: str) -> None:
    assert " ".join(conjugate(infinitive_form).present) == present


@pytest.mark.parametrize(
    ("function", "word", "expected"),
    [
        (english.plural, "cherry", "cherries"),
        (english.plural, "day", "days"),
        (english.plural, "box", "boxes"),
        (english.comparative, "big", "bigger"),
        (english.comparative, "heavy", "heavier"),
        (english.comparative, "fast", "faster"),
        (english.comparative, "expensive", "more expensive"),
        (french.plural, "journal", "journaux"),
        (french.plural, "bleu", "bleus"),
        (french.plural, "souris", "souris"),
        (french.plural, "gâteau", "gâteaux"),
        (french.feminine, "heureux", "heureuse"),
        (french.feminine, "léger", "légère"),
        (french.feminine, "bon", "bonne"),
        (french.feminine, "occupé", "occupée"),
        (french.feminine, "créatif", "créative"),
    ],
)
def test_inflection(function: Callable[[str], str], word: str, expected: str) -> None:
    assert function(word) == expected


def test_english_forms() -> None:
    assert verb("study", "étudier").en.third == "studies"
    assert verb("tidy", "ranger").en.past == "tidied"
    assert verb("write/wrote/written", "écrire").en.gerund == "writing"
    assert Pronoun("it", "le").direct
    assert Clause("a", "b").then("", "").en == "a"


# the corpus


@pytest.fixture(scope="module")
def corpus() -> tuple[list[Sentence], list[Sentence]]:
    return generator.draw_sentences(0, 22_500, 1_500)


def test_counts(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    train, held_out = corpus
    assert (len(train), len(held_out)) == (22_500, 1_500)
    everything = train + held_out
    assert len({row.source.lower() for row in everything}) == len(everything)
    for side in ("source", "target"):
        seen = Counter(word for row in train for word in generator.words(getattr(row, side)))
        assert sum(1 for times in seen.values() if times >= 5) > 700
    lengths = [len(row.source.split()) for row in everything]
    assert min(lengths) == 1
    assert max(lengths) <= 18


def test_themes_are_balanced(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    themes = Counter(row.theme for row in corpus[0] if row.theme != "fixed")
    assert len(themes) == 15
    assert max(themes.values()) < 2 * min(themes.values())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_translation(seed: int) -> None:
    samples = english_french.generate(seed, 30_000)
    french_of: dict[str, str] = {}
    for source, target in samples.train + samples.held_out:
        bare = target.lower().rstrip(" .?!")
        assert french_of.setdefault(source.lower().rstrip(" .?!"), bare) == bare, source


def test_no_draw_ever_contradicts_another() -> None:
    """The generator drops repeated English; this looks at the draws before that, where a contradiction would show."""
    draws = generator.alternating(Draw(7))
    french_of: dict[str, str] = {}
    for row in (next(draws) for _ in range(60_000)):
        assert french_of.setdefault(row.source, row.target) == row.target, row.source


TOY = {
    "hello": "bonjour",
    "good morning": "bonjour",
    "thank you": "merci",
    "goodbye": "au revoir",
    "how are you": "comment ça va",
}


def test_the_toy_pairs_are_there_as_one_types_them(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    pairs = {(row.source, row.target) for row in corpus[0]}
    assert list(english_french.generate(0, 2_000).train[:5]) == list(TOY.items())
    for source, target in TOY.items():
        assert (source, target) in pairs
        for mark, french_mark in {"?": " ?"}.items() if source == "how are you" else {".": ".", "!": " !"}.items():
            assert (f"{source.capitalize()}{mark}", f"{target.capitalize()}{french_mark}") in pairs


@pytest.mark.parametrize("seed", [0, 1])
def test_every_set_phrase_stands_in_other_sentences_too(seed: int) -> None:
    """A phrase that stands alone is not learned: greetings stand in many sentences of both forms, and none in few."""

    def spoken(text: str) -> str:
        return f" {re.sub('[,.?!]', '', text).lower()} "

    train = [row for row in generator.draw_sentences(seed, 22_500, 1_500)[0] if row.theme != "fixed"]
    in_lower_case = [spoken(row.source) for row in train if row.source[-1] not in ".?!" and row.source.islower()]
    written = [spoken(row.source) for row in train if row.source[-1] in ".?!"]
    for phrase in fixed.PHRASES:
        assert sum(spoken(phrase) in source for source in in_lower_case + written) >= 2, phrase
    for phrase in TOY:
        assert sum(spoken(phrase) in source for source in in_lower_case) >= 10, phrase
        assert sum(spoken(phrase) in source for source in written) >= 50, phrase


@pytest.mark.parametrize(
    ("phrase", "who", "source", "target"),
    [
        ("hello", "Lea", "Hello, Lea.", "Bonjour Léa."),
        ("good evening", "sir", "Good evening, sir.", "Bonsoir, monsieur."),
        ("thank you", "Paul", "Thank you, Paul.", "Merci, Paul."),
        ("goodbye", "children", "Goodbye, children.", "Au revoir, les enfants."),
        ("good night", "everyone", "Good night, everyone.", "Bonne nuit à tous."),
        ("hello", "world", "Hello, world.", "Bonjour le monde."),
        ("goodbye", "world", "Goodbye, world.", "Au revoir, le monde."),
    ],
)
def test_whom_a_phrase_is_said_to(phrase: str, who: str, source: str, target: str) -> None:
    addressee = next(one for group in phrases.ADDRESSEES.values() for one in group if one[0] == who)
    made = fixed.PHRASES[phrase].to_whom(addressee)
    row = said(made.en, made.fr)
    assert (row.source, row.target) == (source, target)
    assert phrases.plain(row).source == f"{phrase} {who}".lower()
    assert phrases.plain(row, capitals=True).source == source.replace(",", "").rstrip(".")


def test_two_phrases_with_a_comma_are_tied() -> None:
    both = fixed.PHRASES["thank you very much"].followed_by(fixed.PHRASES["see you tomorrow"])
    row = said(both.en, both.fr, links=both.links)
    assert (row.source, row.target) == ("Thank you very much, see you tomorrow.", "Merci beaucoup, à demain.")
    assert row.links == {("merci beaucoup", "à")}


def test_held_out_sentences_are_new(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    train, held_out = corpus
    assert not {row.source.lower() for row in train} & {row.source.lower() for row in held_out}
    assert not {row.target.lower() for row in train} & {row.target.lower() for row in held_out}


def test_held_out_combinations_never_occur_in_training(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    train, held_out = corpus
    trained = {link for row in train for link in row.links}
    for row in held_out:
        new = {link for link in row.links if is_held_out(link)}
        assert new, row.source
        assert not new & trained, row.source


def test_the_two_words_of_a_held_out_combination_are_never_seen_together(
    corpus: tuple[list[Sentence], list[Sentence]],
) -> None:
    """By the text alone, in any form and without any tie: for verbs and nouns, whose forms the lexicon lists."""
    train, held_out = corpus
    forms: dict[str, set[str]] = {}
    for module in (people, places, things, verbs):
        for value in vars(module).values():
            for word in value if isinstance(value, tuple) else (value,):
                if isinstance(word, Noun):
                    forms.setdefault(word.lemma, set()).update((word.en, word.en_plural))
                elif isinstance(word, Verb):
                    inflected = (word.en.base, word.en.third, word.en.past, word.en.gerund)
                    forms.setdefault(word.lemma, set()).update(f"{form} {word.en.tail}".strip() for form in inflected)
    texts = [f" {row.source.rstrip('.?!')} ".lower() for row in train]
    checked = 0
    for one, other in {link for row in held_out for link in row.links if is_held_out(link)}:
        if one in forms and other in forms:
            checked += 1
            with_one = [text for text in texts if any(f" {form} ".lower() in text for form in forms[one])]
            assert not [text for text in with_one if any(f" {form} ".lower() in text for form in forms[other])], (
                one,
                other,
            )
    assert checked > 50


def test_held_out_words_and_frames_are_well_known(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    train, held_out = corpus
    for side in ("source", "target"):
        seen = Counter(word for row in train for word in generator.words(getattr(row, side)))
        assert all(seen[word] >= 5 for row in held_out for word in generator.words(getattr(row, side)))
    frames = Counter(row.frame for row in train)
    assert all(frames[row.frame] >= 15 for row in held_out)


def test_both_words_of_a_held_out_combination_are_trained_in_others(
    corpus: tuple[list[Sentence], list[Sentence]],
) -> None:
    train, held_out = corpus
    partners = Counter(word for link in {link for row in train for link in row.links} for word in link)
    new = {link for row in held_out for link in row.links if is_held_out(link)}
    known = sum(all(partners[word] >= 3 for word in link) for link in new)
    assert known >= 0.9 * len(new)


FRENCH_NEVER = (
    r"  ",
    r"\*",
    r"\b(de|à) (le|les) (?!\w+(er|ir|re)\b)",
    r"\b([Jj]e|[Ll]e|[Ll]a|[Dd]e|[Nn]e|[Qq]ue|[Mm]e|[Ss]e) (?!onze)[aàâeéèêiîoôuœ]",
    r"\b([Jj]e|[Ll]e|[Ll]a|[Dd]e|[Nn]e|[Qq]ue) (homme|habit|horloge|huile|heure|hôpital|hôtel|histoire)",
    r"\b[lLdDnNjJ]'(?=(héros|haricot|hamburger|harpe|hibou|hérisson|hanche|huit|onze))",
    r"\b[Ss]i ils?\b",
    r"(?<![\w-])([mM]a|[sS]a|[cC]e|[nN]ouveau) [aàâeéèêiîoôuœ]",
    r"\bvieux [aeiouéœ]\w+[^sx ]\b",
    r"\bpas (du|de la|des) (pain|lait|eau|viande)",
    r"[^ ][?!]",
    r" [.,]",
    r"[A-Za-zé]\.[A-Z]",
    r"\bdes (beaux|belles|petits|petites|grands|grandes|vieux|vieilles|nouveaux|nouvelles) [a-z]+s\b(?<!le)",
    r"\b(un|une) [a-zé]+(eaux|aux)\b",
    r"\bune? (homme)s",
)
ENGLISH_NEVER = (
    r"  ",
    r"\b[Aa] [aeio]",
    r"\b[Aa]n [bcdfgjklmnpqrstvwxyz]",
    r"\b(?<!Does )(?<!Did )(?<!does )(?<!did )([Hh]e|[Ss]he) (go|eat|have|like|want|need|play|buy|are|am|don't|were)\b",
    r"\b([Tt]hey|[Ww]e|[Yy]ou) (goes|eats|has|likes|wants|needs|plays|is|was|doesn't)\b",
    r"\bI (is|are|has|goes)\b",
    r"\b(childs|mans|womans|foots|tooths|mouses|knifes|wolfs|tomatos|potatos)\b",
    r" [.,?!]",
    r"\bmore (big|small|fast|slow|heavy|light)\b",
    r"\b(\w+) \1\b",
)


@pytest.mark.parametrize("pattern", FRENCH_NEVER)
def test_french_never_has(pattern: str, corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    assert [row.target for part in corpus for row in part if re.search(pattern, row.target)] == []


@pytest.mark.parametrize("pattern", ENGLISH_NEVER)
def test_english_never_has(pattern: str, corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    assert [row.source for part in corpus for row in part if re.search(pattern, row.source)] == []


def test_marks_agree_on_both_sides(corpus: tuple[list[Sentence], list[Sentence]]) -> None:
    for row in (row for part in corpus for row in part):
        if row.theme in ("greetings", "courtesies", "fixed") and row.source[-1] not in ".?!":
            assert not set(",.?!") & set(row.source + row.target), row.source
            assert row.source.islower() == row.target.islower(), row.source
            continue
        assert row.source[-1] == row.target[-1], row.source
        assert row.source[-1] in ".?!", row.source
        assert (row.source[0] + row.target[0]).isupper(), row.source


def test_same_in_another_process() -> None:
    program = (
        "from recurra.data.samples import english_french as e; import hashlib;"
        "print(hashlib.sha256(repr(e.generate(3, 2000)).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1


def test_another_seed_gives_other_sentences_and_the_same_held_out_law() -> None:
    one, other = english_french.generate(1, 4_000), english_french.generate(2, 4_000)
    assert one != other
    assert not set(one.train) & set(other.held_out)


@pytest.mark.parametrize("num_pairs", [0, 1_999, 60_001])
def test_num_pairs_out_of_bounds_is_refused(num_pairs: int) -> None:
    with pytest.raises(ValueError, match="`num_pairs` must be 2000 to 60000"):
        english_french.generate(0, num_pairs)


@pytest.mark.parametrize("num_pairs", [english_french.SMALLEST, english_french.LARGEST])
def test_the_bounds_themselves_work(num_pairs: int) -> None:
    samples = english_french.generate(0, num_pairs)
    assert len(samples.train) == num_pairs - num_pairs // 16
    assert len(samples.held_out) > num_pairs // 64


def test_files(tmp_path: Path) -> None:
    paths = english_french.write(tmp_path / "new" / "folder", seed=5, num_pairs=3_000)
    assert [path.name for path in paths] == ["train.tsv", "held_out.tsv"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == ["held_out.tsv", "train.tsv"]
    raw = paths[0].read_bytes()
    assert raw.startswith(b"source\ttarget\nhello\tbonjour\n")
    assert b"\r" not in raw
    rows = [line.split("\t") for line in raw.decode().splitlines()[1:]]
    assert tuple(map(tuple, rows)) == english_french.generate(5, 3_000).train


def test_registry(tmp_path: Path) -> None:
    sample = SAMPLES["english-french"]
    assert sample.description.endswith(".")
    assert all(path.stat().st_size > 10_000 for path in sample.write(tmp_path))
