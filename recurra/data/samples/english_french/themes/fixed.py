"""Greetings and set phrases, the five pairs of the classic toy example first, in lower case as it has them."""

from recurra.data.samples.english_french.frames import Sentence, said
from recurra.data.samples.english_french.phrases import Phrase, plain

# English, French, the marks it may end with, and to whom it may be said: see `Phrase`
_PHRASES = """
hello|bonjour|.!|ncpew
good morning|bonjour|.!|ncpew
thank you|merci|.!|ncpe
goodbye|au revoir|.!|ncpew
how are you|comment ça va|?|ncp
yes|oui|.!|ncp
no|non|.!|np
please|s'il vous plaît|.!|ncp
hi|salut|!.|nce
good afternoon|bonjour|.!|ncpe
good evening|bonsoir|.!|ncpe
good night|bonne nuit|.!|ncpew
bye|au revoir|.!|nce
thanks|merci|.!|nce
thank you very much|merci beaucoup|.!|ncpe
thanks a lot|merci beaucoup|.!|nce
you're welcome|de rien|.|ncp
welcome|bienvenue|!.|ncpe
see you soon|à bientôt|.!|ncp
see you tomorrow|à demain|.!|ncp
see you later|à plus tard|.!|nc
see you on Monday|à lundi|.!|ncp
see you tonight|à ce soir|.!|nc
excuse me|excusez-moi|.|ncp
I'm sorry|je suis désolé|.|ncp
sorry|désolé|.!|nc
no problem|pas de problème|.!|ncp
of course|bien sûr|.!|ncp
maybe|peut-être|.|nc
with pleasure|avec plaisir|.!|ncp
me too|moi aussi|.!|n
me neither|moi non plus|.|n
you too|vous aussi|.!|n
enjoy your meal|bon appétit|!.|ncpe
cheers|santé|!|nc
have a good trip|bon voyage|!.|ncpe
have a nice day|bonne journée|!.|ncpe
have a nice evening|bonne soirée|!.|ncpe
have a nice weekend|bon week-end|!.|ncpe
happy birthday|joyeux anniversaire|!|ncp
Merry Christmas|joyeux Noël|!|ncpe
happy New Year|bonne année|!|ncpe
congratulations|félicitations|!|ncpe
good luck|bonne chance|!.|ncpe
bless you|à vos souhaits|!|np
get well soon|bon rétablissement|!|np
nice to meet you|enchanté|.!|np
what is your name|comment vous appelez-vous|?|p
how old are you|quel âge avez-vous|?|np
where do you come from|d'où venez-vous|?|np
do you speak English|parlez-vous anglais|?|np
do you speak French|parlez-vous français|?|np
I don't understand|je ne comprends pas|.|np
I don't know|je ne sais pas|.|np
I understand|je comprends|.|np
can you help me|pouvez-vous m'aider|?|ncp
can you repeat, please|pouvez-vous répéter, s'il vous plaît|?|np
can you speak more slowly|pouvez-vous parler plus lentement|?|np
what does this word mean|que veut dire ce mot|?|n
how do you say this in French|comment dit-on cela en français|?|n
how do you spell it|comment ça s'écrit|?|np
what is this|qu'est-ce que c'est|?|ncp
who is it|qui est-ce|?|nc
what's going on|qu'est-ce qui se passe|?|ncp
it doesn't matter|ça ne fait rien|.|ncp
it depends|ça dépend|.|n
that's all|c'est tout|.|np
that's right|c'est exact|.|np
here you are|voilà|.|ncp
let's go|allons-y|!.|nc
come in|entrez|!.|ncp
sit down, please|asseyez-vous, s'il vous plaît|.|ncp
wait a minute, please|attendez une minute, s'il vous plaît|.|ncp
be careful|faites attention|!.|ncp
hurry up|dépêchez-vous|!.|nc
help|au secours|!|n
stop|arrêtez|!.|nc
help yourself|servez-vous|.!|np
what time is it|quelle heure est-il|?|ncp
what day is it today|quel jour sommes-nous|?|n
how much is it|c'est combien|?|np
the bill, please|l'addition, s'il vous plaît|.|np
it's my turn|c'est à moi|.!|nc
I agree|je suis d'accord|.|ncp
I'm fine, thank you|je vais bien, merci|.|ncp
so am I|moi aussi|.|n
not yet|pas encore|.|ncp
never|jamais|.!|n
as usual|comme d'habitude|.|n
good idea|bonne idée|!.|nc
what a pity|quel dommage|!|nc
what a surprise|quelle surprise|!|nc
how beautiful|que c'est beau|!|nc
I have no idea|je n'en ai aucune idée|.|ncp
I love you|je vous aime|.!|n
I miss you|vous me manquez|.|n
take care|prenez soin de vous|.!|ncp
call me tomorrow|appelez-moi demain|.|n
follow me|suivez-moi|.!|ncp
listen to me|écoutez-moi|.!|ncp
look at me|regardez-moi|.!|nc
show me the way|montrez-moi le chemin|.|np
I'm lost|je suis perdu|.!|ncp
where are the toilets|où sont les toilettes|?|np
ladies and gentlemen|mesdames et messieurs|!|
"""
PHRASES: dict[str, Phrase] = {
    en: Phrase(en, fr, marks, said_to)
    for en, fr, marks, said_to in (row.split("|") for row in _PHRASES.strip().splitlines())
}
TOY = tuple((phrase.en, phrase.fr) for phrase in list(PHRASES.values())[:5])


def fixed() -> tuple[Sentence, ...]:
    """All set phrases, first in lower case and then with each of their marks; they are always in the training part."""
    rows = [plain(said(phrase.en, phrase.fr)) for phrase in PHRASES.values()]
    rows += [said(phrase.en, phrase.fr, mark) for phrase in PHRASES.values() for mark in phrase.marks]
    return tuple(Sentence(row.source, row.target, theme="fixed", frame="fixed") for row in rows)
