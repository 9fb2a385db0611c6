"""Pronouns, names, family, jobs and nationalities."""

from recurra.data.samples.english_french.grammar.conjugation import IL, ILS, JE, NOUS, VOUS
from recurra.data.samples.english_french.grammar.words import Subject, adjectives, nouns

I, YOU, HE, SHE, WE, THEY = PRONOUNS = (
    Subject("I", "je", JE, "m", "my"),
    Subject("you", "vous", VOUS, "m", "your"),
    Subject("he", "il", IL, "m", "his"),
    Subject("she", "elle", IL, "f", "her"),
    Subject("we", "nous", NOUS, "m", "our"),
    Subject("they", "ils", ILS, "m", "their"),
)

_WOMEN = ["Marie", "Julie", "Claire", "Emma", "Anne", "Sophie", "Camille", "Léa"]
_MEN = ["Paul", "Pierre", "Thomas", "Lucas", "Marc", "Antoine", "Nicolas", "Louis"]
# an accent is French spelling: the English side drops it
NAMES = tuple(
    Subject(name.replace("é", "e"), name, IL, gender, "her" if gender == "f" else "his", name)
    for gender, names in (("f", _WOMEN), ("m", _MEN))
    for name in names
)

FAMILY = nouns(
    """mother: mère f, father: père m, brother: frère m, sister: sœur f, son: fils m, daughter: fille f,
    uncle: oncle m, aunt: tante f, grandfather: grand-père/grands-pères m,
    grandmother: grand-mère/grands-mères f, cousin: cousin m, wife/wives: femme f, husband: mari m"""
)
RELATIVES = nouns("""parent: parent m, grandparent: grand-parent/grands-parents m, child/children: enfant m""")
AROUND = nouns("""friend: ami m, neighbor: voisin m, colleague: collègue m, teacher: professeur m, boss: patron m""")
PERSONS = nouns(
    """man/men: homme m, woman/women: femme f, child/children: enfant m, boy: garçon m, girl: fille f, baby: bébé m,
    student: étudiant m, doctor: médecin m, waiter: serveur m, driver: chauffeur m, police officer: policier m,
    artist: artiste m, singer: chanteur m, actor: acteur m, actress: actrice f, customer: client m,
    guest: invité m, king: roi m, queen: reine f, hero/heroes: *héros m, baker: boulanger m, dentist: dentiste m,
    tourist: touriste m"""
)
# those who may do anything an everyday sentence says
CHILDREN = ("child", "boy", "girl", "son", "daughter")
ANYONE = tuple(
    person
    for person in PERSONS
    if person.en
    in ["man", "woman", "child", "boy", "girl", "student", "tourist", "guest", "singer", "actor", "actress", "artist"]
)
# a job agrees with its subject, like an adjective, and takes no article: elle est infirmière
JOBS = adjectives(
    """doctor: médecin/médecin, teacher: professeur/professeure, student: étudiant, nurse: infirmier,
    lawyer: avocat, engineer: ingénieur/ingénieure, baker: boulanger, cook: cuisinier,
    singer: chanteur/chanteuse, journalist: journaliste, dentist: dentiste, architect: architecte,
    pharmacist: pharmacien, hairdresser: coiffeur, farmer: agriculteur, musician: musicien, pilot: pilote,
    artist: artiste, photographer: photographe, translator: traducteur, mechanic: mécanicien,
    gardener: jardinier, police officer: policier, actor: acteur, judge: juge, butcher: boucher"""
)
NATIONALITIES = adjectives(
    """French: français, English: anglais, Italian: italien, Spanish: espagnol, German: allemand,
    Canadian: canadien, Japanese: japonais, Chinese: chinois, Belgian: belge, Swiss: suisse, American: américain,
    Portuguese: portugais, Brazilian: brésilien, Greek: grec/grecque, Mexican: mexicain, Irish: irlandais,
    Swedish: suédois, Moroccan: marocain, Russian: russe"""
)
