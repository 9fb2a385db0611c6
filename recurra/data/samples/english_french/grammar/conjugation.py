"""French conjugation for the five persons this project uses: je, il/elle, nous, vous, ils/elles.

There is no tu: the English "you" is always vous, so that every English sentence has one translation.
"""

import re
from dataclasses import dataclass
from functools import cache

JE, IL, NOUS, VOUS, ILS = range(5)

# present of je, il, nous, vous, ils; then the past participle
_IRREGULAR = {
    "être": "suis est sommes êtes sont été",
    "avoir": "ai a avons avez ont eu",
    "aller": "vais va allons allez vont allé",
    "faire": "fais fait faisons faites font fait",
    "vouloir": "veux veut voulons voulez veulent voulu",
    "pouvoir": "peux peut pouvons pouvez peuvent pu",
    "devoir": "dois doit devons devez doivent dû",
    "savoir": "sais sait savons savez savent su",
    "voir": "vois voit voyons voyez voient vu",
    "boire": "bois boit buvons buvez boivent bu",
    "croire": "crois croit croyons croyez croient cru",
    "lire": "lis lit lisons lisez lisent lu",
    "dire": "dis dit disons dites disent dit",
    "vivre": "vis vit vivons vivez vivent vécu",
    "sourire": "souris sourit sourions souriez sourient souri",
    "suivre": "suis suit suivons suivez suivent suivi",
    "courir": "cours court courons courez courent couru",
    "naître": "nais naît naissons naissez naissent né",
    "peindre": "peins peint peignons peignez peignent peint",
}
# the verbs of a family change their ending only: apprendre follows prendre
_FAMILIES = {
    "crire": "cris crit crivons crivez crivent crit",
    "prendre": "prends prend prenons prenez prennent pris",
    "mettre": "mets met mettons mettez mettent mis",
    "onnaître": "onnais onnaît onnaissons onnaissez onnaissent onnu",
    "venir": "viens vient venons venez viennent venu",
    "tenir": "tiens tient tenons tenez tiennent tenu",
    "cevoir": "çois çoit cevons cevez çoivent çu",
    "duire": "duis duit duisons duisez duisent duit",
    "vrir": "vre vre vrons vrez vrent vert",
    "frir": "fre fre frons frez frent fert",
    "dormir": "dors dort dormons dormez dorment dormi",
    "servir": "sers sert servons servez servent servi",
    "partir": "pars part partons partez partent parti",
    "sortir": "sors sort sortons sortez sortent sorti",
    "sentir": "sens sent sentons sentez sentent senti",
}
_WITH_ETRE = frozenset(
    ["aller", "venir", "revenir", "arriver", "partir", "sortir", "entrer", "rester", "tomber", "rentrer", "naître"]
)
_DOUBLING = ("appeler", "jeter")


@dataclass(frozen=True, slots=True)
class FrenchVerb:
    """A conjugated verb. `tail` is what follows it ("besoin de"), `reflexive` asks for me, se, nous, vous."""

    infinitive: str
    present: tuple[str, ...]
    imperfect: tuple[str, ...]
    participle: str
    with_etre: bool
    reflexive: bool = False
    tail: str = ""


@cache
def conjugate(entry: str) -> FrenchVerb:
    """Reads `manger`, `se lever` or `avoir faim` as a verb with all its forms."""
    reflexive = entry.startswith(("se ", "s'"))
    infinitive, _, tail = re.sub(r"^(se |s')", "", entry).partition(" ")
    present, participle = _present(infinitive)
    with_etre = reflexive or infinitive in _WITH_ETRE
    return FrenchVerb(infinitive, present, _imperfect(infinitive, present), participle, with_etre, reflexive, tail)


def _present(infinitive: str) -> tuple[tuple[str, ...], str]:
    if infinitive in _IRREGULAR:
        *present, participle = _IRREGULAR[infinitive].split()
        return tuple(present), participle
    for ending, forms in _FAMILIES.items():
        if infinitive.endswith(ending):
            *present, participle = (infinitive[: -len(ending)] + form for form in forms.split())
            return tuple(present), participle
    if infinitive.endswith("er"):
        return _first_group(infinitive)
    stem = infinitive[:-2]
    if infinitive.endswith("ir"):
        return (stem + "is", stem + "it", stem + "issons", stem + "issez", stem + "issent"), stem + "i"
    return (stem + "s", stem, stem + "ons", stem + "ez", stem + "ent"), stem + "u"


def _first_group(infinitive: str) -> tuple[tuple[str, ...], str]:
    """Verbs in -er. A stem changes before a silent ending (achète, appelle, nettoie) and before o (mangeons)."""
    stem = infinitive[:-2]
    stressed = stem
    if infinitive.endswith(_DOUBLING):
        stressed = stem + stem[-1]
    elif stem.endswith("y"):
        stressed = stem[:-1] + "i"
    else:
        stressed = re.sub(r"[eé](?=(?:[^aeéiouy]|gn)$)", "è", stem)
    before_o = stem + "e" if stem.endswith("g") else re.sub(r"c$", "ç", stem)
    return (stressed + "e", stressed + "e", before_o + "ons", stem + "ez", stressed + "ent"), stem + "é"


def _imperfect(infinitive: str, present: tuple[str, ...]) -> tuple[str, ...]:
    stem = "ét" if infinitive == "être" else present[NOUS].removesuffix("ons")
    before_i = stem
    if infinitive.endswith(("ger", "cer")):
        before_i = infinitive[:-2]
    return (stem + "ais", stem + "ait", before_i + "ions", before_i + "iez", stem + "aient")
