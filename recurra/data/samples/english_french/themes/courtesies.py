"""Thanks, wishes, excuses and requests: what one says to be kind, and the short answers."""

from recurra.data.samples.english_french import draws
from recurra.data.samples.english_french.frames import Draw, Sentence, Theme, after, said, sentence
from recurra.data.samples.english_french.grammar import french
from recurra.data.samples.english_french.grammar.clauses import Polarity, Tense, clause, words_after
from recurra.data.samples.english_french.grammar.conjugation import IL
from recurra.data.samples.english_french.grammar.noun_phrases import owned, the, this
from recurra.data.samples.english_french.grammar.words import nouns
from recurra.data.samples.english_french.lexicon import adjectives, people, places, things, times, verbs
from recurra.data.samples.english_french.phrases import Phrase, in_any_form
from recurra.data.samples.english_french.themes.fixed import PHRASES

THEME = Theme("courtesies")


def _phrases(*names: str) -> tuple[Phrase, ...]:
    return tuple(PHRASES[name] for name in names)


_THANKS = _phrases("thank you", "thank you", "thank you very much", "thanks", "thanks a lot")
_FAVORS = nouns(
    """help: aide f, letter: lettre f, message: message m, answer: réponse f, invitation: invitation f,
    visit: visite f, call: appel m, work: travail m, kindness: gentillesse f, patience: patience f, email: e-mail m,
    postcard: carte postale f, question: question f, gift: cadeau m"""
)


@THEME.frame(2.5)
def thanks_for(d: Draw) -> Sentence:
    """Thank you for the bread. Merci pour le pain. Thanks a lot for your help, Marie."""
    thanks = d.pick(_THANKS)
    if d.chance(0.08):
        text = Phrase(f"{thanks.en} for everything", f"{thanks.fr} pour tout", ".!", "ncp")
        return text.maybe_to(d).typed(d)
    if d.chance(0.5):
        phrase = owned("your", d.pick(_FAVORS[:1] if d.chance(0.25) else _FAVORS))
    else:
        noun = d.pick(things.STAPLES + things.DISHES + things.GIFTS + things.DRINKS + things.READING[:1])
        phrase = the(noun, plural=not noun.mass and d.chance(0.3))
    links = (*phrase.links, ("thank", phrase.head))
    text = Phrase(f"{thanks.en} for {phrase.en}", f"{thanks.fr} pour {phrase.fr}", ".!", "ncp", links)
    return text.maybe_to(d, 0.35).typed(d)


_KIND = _phrases(
    *("thank you", "thank you", "thank you very much", "thanks", "thanks a lot", "please", "you're welcome"),
    *("congratulations", "welcome", "good luck", "cheers", "cheers", "enjoy your meal", "bless you", "get well soon"),
    *("nice to meet you", "with pleasure", "no problem", "take care", "have a good trip", "excuse me", "I'm sorry"),
)


@THEME.frame(1.5)
def kind(d: Draw) -> Sentence:
    """Thank you, sir. Merci, monsieur. Enjoy your meal, everyone! Bon appétit à tous !"""
    return d.pick(_KIND).to(d).typed(d)


_GOOD = (
    ("nice day", "bonne journée"),
    ("good day", "bonne journée"),
    ("nice evening", "bonne soirée"),
    ("good evening", "bonne soirée"),
    ("nice weekend", "bon week-end"),
    ("good weekend", "bon week-end"),
    ("nice afternoon", "bon après-midi"),
    ("good week", "bonne semaine"),
    ("good trip", "bon voyage"),
    ("nice trip", "bon voyage"),
    ("good flight", "bon vol"),
    ("nice holiday", "bonnes vacances"),
    ("nice Sunday", "bon dimanche"),
    ("nice walk", "bonne promenade"),
)
_HAPPY = (
    ("happy birthday", "joyeux anniversaire"),
    ("happy birthday", "joyeux anniversaire"),
    ("Merry Christmas", "joyeux Noël"),
    ("Merry Christmas", "joyeux Noël"),
    ("happy New Year", "bonne année"),
    ("happy New Year", "bonne année"),
    ("happy Easter", "joyeuses Pâques"),
    ("happy holidays", "bonnes fêtes"),
)


@THEME.frame(3)
def wish(d: Draw) -> Sentence:
    """Have a nice day, Paul! Bonne journée, Paul ! Happy birthday to your sister! Joyeux anniversaire à votre sœur !"""
    if d.chance(0.5):
        en, fr = d.pick(_GOOD)
        text = Phrase(f"have a {en}", fr, "!.", "ncpe")
        if d.chance(0.3):
            first = d.pick(_phrases("thank you", "goodbye", "thanks", "bye", "see you soon", "see you tomorrow"))
            return first.followed_by(text).typed(d)
        return text.maybe_to(d, 0.75).typed(d)
    en, fr = d.pick(_HAPPY)
    text = Phrase(en, fr, "!", "ncpe" if en != "happy birthday" else "ncp")
    if d.chance(0.35):
        whom = draws.relative(d, d.pick(("your", "your", "my", "his", "her")))
        links = ((fr, whom.head),)
        return Phrase(f"{en} to {whom.en}", f"{fr} {french.contract('à', whom.fr)}", "!", links=links).typed(d)
    return text.maybe_to(d, 0.85).typed(d)


_TASKS = nouns(
    """exam: examen m, match: match m, concert: concert m, project: projet m, test: test m, interview: entretien m,
    lesson: leçon f, trip: voyage m, report: rapport m"""
)
_SUCCESSES = nouns(
    """wedding: mariage m, success: succès m, exam: examen m, victory: victoire f, book: livre m, house: maison f,
    answer: réponse f, work: travail m, project: projet m"""
)


@THEME.frame(1)
def luck(d: Draw) -> Sentence:
    """Good luck with the exam! Bonne chance pour l'examen ! Congratulations on your victory!"""
    if d.chance(0.5):
        task = d.pick(_TASKS)
        phrase = the(task) if d.chance(0.5) else owned("your", task)
        en, fr, links = f"good luck with {phrase.en}", f"bonne chance pour {phrase.fr}", (("good luck", phrase.head),)
    else:
        phrase = owned("your", d.pick(_SUCCESSES))
        en, fr = f"congratulations on {phrase.en}", f"félicitations pour {phrase.fr}"
        links = (("congratulations", phrase.head),)
    return Phrase(en, fr, "!.", "ncp", links).maybe_to(d, 0.4).typed(d)


@THEME.frame(1)
def welcome(d: Draw) -> Sentence:
    """Welcome to Paris, Marie! Bienvenue à Paris, Marie ! Welcome to the museum. Bienvenue au musée."""
    kind = d.between(1, 3)
    if kind == 1:
        en, fr = d.pick(places.CITIES)
        where = (en, f"à {fr}", en)
    elif kind == 2:
        en, fr, _ = d.pick(places.COUNTRIES)
        where = (en, fr, en)
    else:
        phrase = the(d.pick(places.GOALS))
        where = (phrase.en, phrase.after("à"), phrase.head)
    links = (("welcome", where[2]),)
    text = Phrase(f"welcome to {where[0]}", f"bienvenue {where[1]}", "!.", "ncp", links)
    return text.maybe_to(d, 0.4).typed(d, proper=True)


# those of the greetings are said to people there
_ADDRESSED = tuple(
    phrase
    for phrase in PHRASES.values()
    if phrase.said_to
    and not phrase.en.startswith(("hello", "hi", "good", "bye", "thank", "see you", "have a", "how are"))
)


@THEME.frame(9)
def addressed(d: Draw) -> Sentence:
    """Any set phrase, said to someone: be careful, Paul! Faites attention, Paul !"""
    return d.pick(_ADDRESSED).to(d).typed(d)


_YES = _phrases(
    *("please", "of course", "with pleasure", "thank you", "I understand", "I agree", "me too", "that's right"),
    *("I'm fine, thank you", "it's my turn", "good idea", "let's go", "that's all", "as usual", "come in"),
)
_NO = _phrases(
    *("thank you", "thank you", "not yet", "never", "I don't know", "I don't understand", "me neither", "I'm lost"),
    *("thank you very much", "I have no idea", "it's my turn", "it doesn't matter", "I'm sorry"),
)
_MAYBE = _phrases("I don't know", "it depends", "I have no idea", "not yet", "it doesn't matter")


@THEME.frame(3)
def answer(d: Draw) -> Sentence:
    """Yes, please. Oui, s'il vous plaît. No, not yet, Paul. Non, pas encore, Paul."""
    first, seconds = d.pick(((PHRASES["yes"], _YES), (PHRASES["no"], _NO), (PHRASES["maybe"], _MAYBE)))
    then = d.pick(seconds).maybe_to(d, 0.4)
    return first.followed_by(then).typed(d) if d.chance(0.75) else first.then(d, then)


_EXCUSES = _phrases("I'm sorry", "I'm sorry", "excuse me", "excuse me", "sorry")
_TROUBLES = _phrases(
    *("I don't understand", "I don't know", "I have no idea", "I'm lost", "can you repeat, please", "can you help me"),
    *("can you speak more slowly", "what does this word mean", "how do you say this in French", "how do you spell it"),
    *("what time is it", "what day is it today", "how much is it", "where are the toilets", "do you speak English"),
    *("do you speak French", "it's my turn", "what is this", "what is your name"),
    *("who is it", "what's going on", "wait a minute, please", "how old are you", "where do you come from"),
)


@THEME.frame(3)
def excuse(d: Draw) -> Sentence:
    """Excuse me, what time is it? Excusez-moi, quelle heure est-il ? I'm sorry, sir, I don't understand."""
    first, then = d.pick(_EXCUSES), d.pick(_TROUBLES)
    return first.maybe_to(d, 0.3).followed_by(then).typed(d) if d.chance(0.7) else first.maybe_to(d).then(d, then)


_IN_A_ROW = tuple(
    (PHRASES[first], PHRASES[then])
    for first, _, then in (
        row.strip().partition(" > ")
        for row in """
        come in > sit down, please
        welcome > come in
        welcome > sit down, please
        please > come in
        please > follow me
        please > listen to me
        please > look at me
        please > hurry up
        please > stop
        please > call me tomorrow
        stop > be careful
        stop > it's my turn
        stop > that's all
        look at me > it's my turn
        let's go > hurry up
        let's go > follow me
        good idea > let's go
        I agree > let's go
        it doesn't matter > let's go
        that's all > let's go
        that's all > thank you
        that's right > thank you very much
        I'm sorry > wait a minute, please
        excuse me > follow me
        here you are > help yourself
        here you are > enjoy your meal
        help yourself > enjoy your meal
        cheers > enjoy your meal
        listen to me > it's my turn
        be careful > look at me
        what a surprise > come in
        what a surprise > how beautiful
        what a surprise > thank you very much
        how beautiful > thank you
        what a pity > it doesn't matter
        what a pity > I don't know
        I'm lost > show me the way
        I'm lost > can you help me
        help > I'm lost
        help > follow me
        help > hurry up
        show me the way > I'm lost
        I understand > thank you
        I understand > it doesn't matter
        I don't know > it depends
        it depends > I have no idea
        not yet > wait a minute, please
        never > I'm sorry
        as usual > I don't understand
        bless you > take care
        get well soon > take care
        happy birthday > I love you
        I miss you > call me tomorrow
        I love you > I miss you
        the bill, please > thank you
        you too > thank you
        with pleasure > thank you
        who is it > come in
        what is this > what a surprise
        what's going on > I don't understand
        ladies and gentlemen > welcome
        ladies and gentlemen > good evening
        ladies and gentlemen > thank you very much
        ladies and gentlemen > sit down, please
        ladies and gentlemen > enjoy your meal
        ladies and gentlemen > goodbye
        ladies and gentlemen > happy New Year
        """.strip().splitlines()
    )
)


@THEME.frame(4)
def two_in_a_row(d: Draw) -> Sentence:
    """Welcome, Marie! Come in! Bienvenue, Marie ! Entrez ! Good idea, let's go."""
    first, then = d.pick(_IN_A_ROW)
    if d.chance(0.35):
        first = first.maybe_to(d, 1.0)
    elif first.said_to and d.chance(0.4):
        then = then.maybe_to(d, 1.0)
    if first.marks == "?" or (first.en != "ladies and gentlemen" and d.chance(0.5)):
        return first.then(d, then)
    return first.followed_by(then).typed(d)


_CALL_TIMES = tuple(text for text in times.FUTURE[:8] if text[0] != "next month")
_ME = (("me", "moi"), ("me", "moi"), ("us", "nous"))


@THEME.frame(2.5)
def request(d: Draw) -> Sentence:
    """Call me tonight, please. Appelez-moi ce soir, s'il vous plaît. Show us the way to the station."""
    me, moi = d.pick(_ME)
    kind = d.between(1, 6)
    links: tuple[tuple[str, str], ...] = ()
    if kind == 1:
        en, fr = d.pick(_CALL_TIMES)
        en, fr, links = f"call {me} {en}", f"appelez-{moi} {fr}", (("call", en),)
    elif kind == 2:
        phrase = the(d.pick(places.GOALS))
        en, fr = f"show {me} the way to {phrase.en}", f"montrez-{moi} le chemin {french.contract('de', phrase.fr)}"
        links = (("way", phrase.head),)
    elif kind == 3:
        noun = d.pick(things.POCKET_THINGS + things.READING + things.ROOMS[:4])
        phrase = the(noun) if d.chance(0.5) else owned("your", noun)
        en, fr, links = f"show {me} {phrase.en}", f"montrez-{moi} {phrase.fr}", (("show", noun.lemma),)
    elif kind == 4:
        phrase = the(d.pick(places.GOALS))
        en, fr = f"follow {me} to {phrase.en}", f"suivez-{moi} jusqu'{phrase.after('à')}"
        links = (("follow", phrase.head),)
    elif kind == 5:
        en, fr = d.pick(
            (
                ("wait a minute", "attendez une minute"),
                ("wait an hour", "attendez une heure"),
                ("wait here", "attendez ici"),
                ("sit down", "asseyez-vous"),
                ("sit down here", "asseyez-vous ici"),
                ("come in", "entrez"),
            )
        )
    else:
        verb, verbe = d.pick((("listen to", "écoutez"), ("look at", "regardez"), ("follow", "suivez")))
        en, fr = f"{verb} {me}", f"{verbe}-{moi}"
    text = Phrase(en, fr, ".!", "ncp", links)
    if d.chance(0.4):
        return Phrase(f"{en}, please", f"{fr}, s'il vous plaît", ".", "", links).typed(d)
    return text.maybe_to(d, 0.4).typed(d)


@THEME.frame(0.7)
def please(d: Draw) -> Sentence:
    """The menu, please. Le menu, s'il vous plaît. A coffee, please, sir."""
    noun = d.pick((*things.READING[-1:], *things.STAPLES, *things.DRINKS, *things.TABLEWARE, *_BILL, *_BILL))
    phrase = the(noun)
    ask = Phrase(
        f"{phrase.en}, please",
        f"{phrase.fr}, s'il vous plaît",
        ".!",
        "p",
        (("please", phrase.head),),
        "s'il vous plaît",
    )
    first = d.pick(_phrases("excuse me", "hello", "yes", "good evening", "sorry"))
    return first.followed_by(ask).typed(d) if d.chance(0.4) else ask.maybe_to(d, 0.2).typed(d)


_BILL = nouns("bill: addition f, key: clé f")


@THEME.frame(2.5)
def question(d: Draw) -> Sentence:
    """Can you help us tomorrow? Pouvez-vous nous aider demain ? What does this sentence mean?"""
    kind = d.between(1, 7)
    links: tuple[tuple[str, str], ...] = ()
    if kind == 1:
        me, moi = d.pick((("me", "me"), ("me", "me"), ("us", "nous")))
        en, fr = d.pick((("", ""), ("", ""), *_CALL_TIMES[:5]))
        en, fr = f"can you help {me} {en}".rstrip(), f"pouvez-vous {moi} aider {fr}".rstrip()
    elif kind == 2:
        phrase = d.pick((this, the))(d.pick(things.SCHOOL_THINGS[2:8] + things.READING[-2:]))
        en, fr = f"what does {phrase.en} mean", f"que veut dire {phrase.fr}"
        links = (("mean", phrase.head),)
    elif kind == 3:
        language = d.pick(things.LANGUAGES)
        word = d.pick((Phrase("this", "cela"), Phrase("this", "cela"), *_WORDS))
        en, fr = f"how do you say {word.en} in {language.en}", f"comment dit-on {word.fr} en {language.fr}"
        links = (("say in", language.lemma),)
    elif kind == 4:
        phrase = the(d.pick(things.SCHOOL_THINGS[:7]))
        en, fr = f"can you repeat {phrase.en}", f"pouvez-vous répéter {phrase.fr}"
        links = (("repeat", phrase.head),)
    elif kind == 5:
        en, fr = d.pick(
            (
                ("can you speak more slowly", "pouvez-vous parler plus lentement"),
                ("can you read more slowly", "pouvez-vous lire plus lentement"),
                ("can you walk more slowly", "pouvez-vous marcher plus lentement"),
                ("can you repeat", "pouvez-vous répéter"),
                ("can you repeat more slowly", "pouvez-vous répéter plus lentement"),
            )
        )
    elif kind == 6:
        en, fr = d.pick(_BRIEF_QUESTIONS)
    else:
        phrase = the(d.pick(_WHEREABOUTS), plural=True)
        en, fr, links = f"where are {phrase.en}", f"où sont {phrase.fr}", (("where", phrase.head),)
    text = Phrase(en, fr, "?", "np", links)
    if d.chance(0.35):
        return Phrase(f"{en}, please", f"{fr}, s'il vous plaît", "?", "", links).typed(d, proper=kind == 3)
    return text.maybe_to(d, 0.5).typed(d, proper=kind == 3)


_WORDS = _phrases("hello", "thank you", "goodbye", "good night", "yes", "no")
_BRIEF_QUESTIONS = (
    ("how much is it", "c'est combien"),
    ("what time is it", "quelle heure est-il"),
    ("what day is it", "quel jour sommes-nous"),
    ("what day is it today", "quel jour sommes-nous"),
    ("how do you spell it", "comment ça s'écrit"),
    ("what is your name", "comment vous appelez-vous"),
    ("what is this", "qu'est-ce que c'est"),
    ("who is it", "qui est-ce"),
)
_WHEREABOUTS = nouns(
    "toilet: toilette f, toilet: toilette f, key: clé f, ticket: billet m, child/children: enfant m, glass: verre m"
)


@THEME.frame(0.7)
def my_turn(d: Draw) -> Sentence:
    """It's our turn. C'est à nous. Excuse me, it's my turn! Excusez-moi, c'est à moi !"""
    who, fr = d.pick((("my", "moi"), ("your", "vous"), ("his", "lui"), ("her", "elle"), ("our", "nous")))
    start = d.pick(("yes", "no", "I'm sorry", "excuse me", "sorry", "", "", ""))
    text = Phrase(f"it's {who} turn", f"c'est à {fr}", ".!", "n")
    return (PHRASES[start].followed_by(text) if start else text.maybe_to(d)).typed(d)


_FEELINGS = tuple(mood for mood in adjectives.MOODS if mood.en != "alone")


@THEME.frame(1.5)
def echo(d: Draw) -> Sentence:
    """I am tired. So am I. Je suis fatigué. Moi aussi. I am not hungry. Me neither. Je n'ai pas faim. Moi non plus."""
    who = d.pick((people.I, people.I, people.I, people.HE, people.SHE, people.WE))
    polarity = Polarity.NOT if d.chance(0.4) else Polarity.YES
    if d.chance(0.5):
        mood = d.pick(_FEELINGS)
        rest = words_after(mood.en, mood.agree(who.gender, who.plural), ((mood.lemma, who.en),))
        first = sentence(clause(who, verbs.BE, polarity=polarity, rest=rest))
    else:
        verb = d.pick((verbs.LIKE, verbs.WORK, verbs.SMOKE, verbs.SWIM, verbs.DANCE, verbs.SING))
        if verb is verbs.LIKE:
            noun = d.pick(things.STAPLES + things.DRINKS)
            rest = words_after(noun.en, the(noun).fr, ((verb.lemma, noun.lemma),))
        else:
            rest = words_after("a lot", "beaucoup", ((verb.lemma, "a lot"),))
        first = sentence(clause(who, verb, Tense.PRESENT, polarity, rest))
    if polarity is Polarity.NOT:
        reply = PHRASES["me neither"]
    else:
        reply = PHRASES["so am I" if " am " in first.source or " is " in first.source else "me too"]
    return in_any_form(d, after(first, said(reply.en, reply.fr, ".")))


_EXCLAIMED = tuple(
    quality
    for quality in adjectives.TASK_QUALITIES + adjectives.THING_QUALITIES + adjectives.STORY_QUALITIES
    if quality.en
    in ("easy", "difficult", "simple", "interesting", "expensive", "strange", "practical", "sad", "boring")
)


@THEME.frame(1.5)
def exclaim(d: Draw) -> Sentence:
    """How beautiful! Que c'est beau ! What a good idea! Good idea, Paul! Quelle surprise !"""
    if d.chance(0.5):
        quality = d.pick((*adjectives.LOOKS[:1], *adjectives.LOOKS[:1], *_EXCLAIMED))
        text = Phrase(f"how {quality.en}", f"que c'est {quality.masculine}", "!", "nc")
    else:
        text = d.pick(
            (
                *_phrases("what a pity", "what a surprise", "good idea"),
                Phrase("what a good idea", "quelle bonne idée", "!", "nc"),
                Phrase("what a beautiful surprise", "quelle belle surprise", "!", "nc"),
                Phrase("what a day", "quelle journée", "!", "nc"),
                Phrase("what a question", "quelle question", "!", "nc"),
            )
        )
    if d.chance(0.3):
        first = d.pick(_phrases("yes", "no"))
        return first.then(d, text)
    return text.maybe_to(d, 0.7).typed(d)


@THEME.frame(1.2)
def missed(d: Draw) -> Sentence:
    """I miss you, Marie. Vous me manquez, Marie. We miss our parents. Nos parents nous manquent."""
    who, me = d.pick(((people.I, "me"), (people.I, "me"), (people.WE, "nous")))
    degree = d.pick((("", ""), ("", ""), (" a lot", " beaucoup"), (" very much", " beaucoup")))
    if d.chance(0.6):
        if d.chance(0.4):
            loved = verbs.LIKE.fr.present[who.person]
            return Phrase(f"{who.en} love you", f"{who.fr} vous {loved}", ".!", "n").maybe_to(d, 0.8).typed(d)
        text = Phrase(f"{who.en} miss you{degree[0]}", f"vous {me} manquez{degree[1]}", ".!", "n")
        return text.maybe_to(d, 0.7).typed(d)
    whom = draws.relative(d, who.owner)
    misses = "manquent" if whom.plural else "manque"
    links = (("manquer", whom.head),)
    return Phrase(f"{who.en} miss {whom.en}{degree[0]}", f"{whom.fr} {me} {misses}{degree[1]}", links=links).typed(d)


@THEME.frame(0.8)
def lost(d: Draw) -> Sentence:
    """We are lost. Nous sommes perdus. She doesn't agree. Elle n'est pas d'accord."""
    who = draws.subject(d)
    be = verbs.BE
    polarity = Polarity.NOT if d.chance(0.3) else Polarity.YES
    if d.chance(0.5):
        lost_fr = french.participle("perdu", who.gender, who.plural)
        return in_any_form(d, sentence(clause(who, be, polarity=polarity, rest=words_after("lost", lost_fr))))
    if polarity is Polarity.NOT:
        do = "doesn't" if who.person == IL else "don't"
        en = f"{who.en} {do} agree"
    else:
        en = f"{who.en} agree{'s' if who.person == IL else ''}"
    fr = clause(who, be, polarity=polarity, rest=words_after("", "d'accord")).fr
    return in_any_form(d, said(en, fr))
