"""Greetings and set phrases, the five pairs of the classic toy example first, in lower case as it has them."""

from recurra.data.samples.english_french.frames import Sentence

TOY = (
    ("hello", "bonjour"),
    ("good morning", "bonjour"),
    ("thank you", "merci"),
    ("goodbye", "au revoir"),
    ("how are you", "comment ça va"),
)
_PHRASES = """
Yes.|Oui.
No.|Non.
Please.|S'il vous plaît.
Thank you very much.|Merci beaucoup.
You're welcome.|De rien.
Good evening.|Bonsoir.
Good night.|Bonne nuit.
Welcome!|Bienvenue !
See you soon.|À bientôt.
See you tomorrow.|À demain.
See you later.|À plus tard.
See you on Monday.|À lundi.
See you tonight.|À ce soir.
Excuse me.|Excusez-moi.
I'm sorry.|Je suis désolé.
No problem.|Pas de problème.
Of course.|Bien sûr.
Maybe.|Peut-être.
With pleasure.|Avec plaisir.
Me too.|Moi aussi.
Me neither.|Moi non plus.
Enjoy your meal!|Bon appétit !
Cheers!|Santé !
Have a good trip!|Bon voyage !
Have a nice day!|Bonne journée !
Have a nice evening!|Bonne soirée !
Have a nice weekend!|Bon week-end !
Happy birthday!|Joyeux anniversaire !
Merry Christmas!|Joyeux Noël !
Happy New Year!|Bonne année !
Congratulations!|Félicitations !
Good luck!|Bonne chance !
Bless you!|À vos souhaits !
Get well soon!|Bon rétablissement !
Nice to meet you.|Enchanté.
What is your name?|Comment vous appelez-vous ?
How old are you?|Quel âge avez-vous ?
Where do you come from?|D'où venez-vous ?
Do you speak English?|Parlez-vous anglais ?
Do you speak French?|Parlez-vous français ?
I don't understand.|Je ne comprends pas.
I don't know.|Je ne sais pas.
I understand.|Je comprends.
Can you help me?|Pouvez-vous m'aider ?
Can you repeat, please?|Pouvez-vous répéter, s'il vous plaît ?
Can you speak more slowly?|Pouvez-vous parler plus lentement ?
What does this word mean?|Que veut dire ce mot ?
How do you say this in French?|Comment dit-on cela en français ?
How do you spell it?|Comment ça s'écrit ?
What is this?|Qu'est-ce que c'est ?
Who is it?|Qui est-ce ?
What's going on?|Qu'est-ce qui se passe ?
It doesn't matter.|Ça ne fait rien.
It depends.|Ça dépend.
That's all.|C'est tout.
That's right.|C'est exact.
Here you are.|Voilà.
Let's go!|Allons-y !
Come in!|Entrez !
Sit down, please.|Asseyez-vous, s'il vous plaît.
Wait a minute, please.|Attendez une minute, s'il vous plaît.
Be careful!|Faites attention !
Hurry up!|Dépêchez-vous !
Help!|Au secours !
Stop!|Arrêtez !
Help yourself.|Servez-vous.
What time is it?|Quelle heure est-il ?
What day is it today?|Quel jour sommes-nous ?
How much is it?|C'est combien ?
The bill, please.|L'addition, s'il vous plaît.
It's my turn.|C'est à moi.
I agree.|Je suis d'accord.
I'm fine, thank you.|Je vais bien, merci.
So am I.|Moi aussi.
Not yet.|Pas encore.
Never.|Jamais.
As usual.|Comme d'habitude.
Good idea!|Bonne idée !
What a pity!|Quel dommage !
What a surprise!|Quelle surprise !
How beautiful!|Que c'est beau !
I have no idea.|Je n'en ai aucune idée.
I love you.|Je vous aime.
I miss you.|Vous me manquez.
Take care.|Prenez soin de vous.
Call me tomorrow.|Appelez-moi demain.
Follow me.|Suivez-moi.
Listen to me.|Écoutez-moi.
Look at me.|Regardez-moi.
Show me the way.|Montrez-moi le chemin.
I'm lost.|Je suis perdu.
Where are the toilets?|Où sont les toilettes ?
Ladies and gentlemen|Mesdames et messieurs
"""


def fixed() -> tuple[Sentence, ...]:
    """All set phrases; they are always in the training part."""
    rows = [tuple(line.split("|")) for line in _PHRASES.strip().splitlines()]
    return tuple(Sentence(source, target, theme="fixed", frame="fixed") for source, target in (*TOY, *rows))
