"""Adjectives by what they can describe."""

from recurra.data.samples.english_french.grammar.words import adjectives

COLORS = adjectives(
    """red: rouge, blue: bleu, green: vert, yellow: jaune, black: noir, white: blanc/blanche, gray: gris,
    brown: =marron, pink: rose, purple: violet/violette, orange: =orange"""
)
# before the noun in French: beauty, age, number, goodness, size
LOOKS = adjectives(
    """beautiful: <beau/belle/bel, new: <nouveau/nouvelle/nouvel, old: <vieux/vieille/vieil, pretty: <joli"""
)
SIZES = adjectives("big: <grand, small: <petit")
THING_QUALITIES = adjectives(
    """expensive: cher, modern: moderne, heavy: lourd, light: léger, strange: bizarre, useful: utile,
    practical: pratique"""
)
CLOTHES_QUALITIES = adjectives(
    """elegant: élégant, warm: chaud, expensive: cher, long: <long/longue, short: court, comfortable: confortable,
    clean: propre, dirty: sale"""
)
FOOD_TASTES = adjectives(
    """hot: chaud, cold: froid, sweet: sucré, salty: salé, delicious: délicieux, spicy: épicé, excellent: excellent"""
)
FRUIT_STATES = adjectives("ripe: mûr, sweet: sucré, fresh: frais/fraîche, delicious: délicieux")
PLACE_QUALITIES = adjectives(
    """modern: moderne, quiet: tranquille, famous: célèbre, noisy: bruyant, clean: propre, expensive: cher,
    charming: charmant"""
)
ROOM_STATES = adjectives(
    """clean: propre, dirty: sale, bright: lumineux, dark: sombre, empty: vide, small: <petit, big: <grand,
    comfortable: confortable"""
)
ANIMAL_QUALITIES = adjectives(
    """black: noir, white: blanc/blanche, brown: =marron, big: <grand, small: <petit, beautiful: <beau/belle/bel,
    old: <vieux/vieille/vieil, young: <jeune"""
)
NATURE_QUALITIES = adjectives(
    """beautiful: <beau/belle/bel, big: <grand, small: <petit, magnificent: magnifique, old: <vieux/vieille/vieil,
    pretty: <joli"""
)
STORY_QUALITIES = adjectives(
    """interesting: intéressant, long: <long/longue, short: court, funny: drôle, sad: triste, boring: ennuyeux,
    famous: célèbre, good: <bon, old: <vieux/vieille/vieil, new: <nouveau/nouvelle/nouvel"""
)
TASK_QUALITIES = adjectives(
    """easy: facile, difficult: difficile, long: <long/longue, short: court, important: important, simple: simple,
    complicated: compliqué, interesting: intéressant, useful: utile"""
)
VEHICLE_QUALITIES = adjectives(
    """fast: rapide, slow: lent, modern: moderne, expensive: cher, comfortable: confortable, noisy: bruyant"""
)
MOODS = adjectives(
    """tired: fatigué, happy: heureux, sad: triste, sick: malade, ready: prêt, worried: inquiet/inquiète,
    busy: occupé, nervous: nerveux, calm: calme, surprised: surpris, disappointed: déçu, jealous: jaloux/jalouse,
    proud: fier/fière, alone: seul, satisfied: satisfait, furious: furieux"""
)
CHARACTERS = adjectives(
    """tall: grand, young: jeune, old: vieux/vieille, rich: riche, poor: pauvre, funny: drôle,
    kind: gentil/gentille, intelligent: intelligent, strong: fort, shy: timide, serious: sérieux,
    brave: courageux, polite: poli, curious: curieux, lazy: paresseux, patient: patient, generous: généreux,
    honest: honnête, famous: célèbre, elegant: élégant, discreet: discret/discrète, creative: créatif,
    talkative: bavard"""
)
PERSON_BEFORE_NOUN = adjectives(
    """young: <jeune, old: <vieux/vieille/vieil, tall: <grand, beautiful: <beau/belle/bel, kind: gentil/gentille,
    intelligent: intelligent, famous: célèbre, rich: riche, elegant: élégant, polite: poli"""
)
