"""When: days, months, and the adverbs each tense takes."""

DAYS: tuple[tuple[str, str], ...] = (
    ("Monday", "lundi"),
    ("Tuesday", "mardi"),
    ("Wednesday", "mercredi"),
    ("Thursday", "jeudi"),
    ("Friday", "vendredi"),
    ("Saturday", "samedi"),
    ("Sunday", "dimanche"),
)
MONTHS: tuple[tuple[str, str], ...] = (
    ("January", "janvier"),
    ("February", "février"),
    ("March", "mars"),
    ("April", "avril"),
    ("May", "mai"),
    ("June", "juin"),
    ("July", "juillet"),
    ("August", "août"),
    ("September", "septembre"),
    ("October", "octobre"),
    ("November", "novembre"),
    ("December", "décembre"),
)
SEASONS: tuple[tuple[str, str], ...] = (
    ("in spring", "au printemps"),
    ("in summer", "en été"),
    ("in autumn", "en automne"),
    ("in winter", "en hiver"),
)
PAST: tuple[tuple[str, str], ...] = (
    ("yesterday", "hier"),
    ("yesterday morning", "hier matin"),
    ("yesterday afternoon", "hier après-midi"),
    ("last night", "hier soir"),
    ("last week", "la semaine dernière"),
    ("last month", "le mois dernier"),
    ("this morning", "ce matin"),
    ("two days ago", "il y a deux jours"),
    *((f"last {en}", f"{fr} dernier") for en, fr in DAYS),
)
FUTURE: tuple[tuple[str, str], ...] = (
    ("tomorrow", "demain"),
    ("tomorrow morning", "demain matin"),
    ("tomorrow evening", "demain soir"),
    ("tonight", "ce soir"),
    ("this afternoon", "cet après-midi"),
    ("next week", "la semaine prochaine"),
    ("next month", "le mois prochain"),
    ("in an hour", "dans une heure"),
    ("in two days", "dans deux jours"),
    *((f"next {en}", f"{fr} prochain") for en, fr in DAYS),
)
LAST_DAYS, NEXT_DAYS = PAST[-7:], FUTURE[-7:]
PAST_DAY = (("an hour ago", "il y a une heure"), *(text for text in PAST if text[0] not in ("last week", "last month")))
FUTURE_DAY = tuple(text for text in FUTURE if text[0] not in ("next week", "next month", "in two days"))
HABIT: tuple[tuple[str, str], ...] = (
    ("every day", "tous les jours"),
    ("every morning", "tous les matins"),
    ("every evening", "tous les soirs"),
    ("every week", "toutes les semaines"),
    ("in the morning", "le matin"),
    ("in the evening", "le soir"),
    ("in the afternoon", "l'après-midi"),
    ("on weekends", "le week-end"),
    ("once a week", "une fois par semaine"),
    ("twice a week", "deux fois par semaine"),
    *((f"on {en}s", f"le {fr}") for en, fr in DAYS),
    *((f"every {en}", f"tous les {fr}s") for en, fr in DAYS),
)
NOW: tuple[tuple[str, str], ...] = (("", ""), ("", ""), ("now", "maintenant"), ("at the moment", "en ce moment"))
# before the verb in English, after it in French
OFTEN: tuple[tuple[str, str], ...] = (
    ("often", "souvent"),
    ("always", "toujours"),
    ("sometimes", "parfois"),
    ("rarely", "rarement"),
)
