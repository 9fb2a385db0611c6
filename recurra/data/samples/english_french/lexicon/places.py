"""Places of a town, countries, cities and the prepositions they take."""

from recurra.data.samples.english_french.grammar.words import nouns

TOWN = nouns(
    """station: gare f, bank: banque f, church: église f, hospital: hôpital m, museum: musée m, market: marché m,
    park: parc m, university: université f, post office: poste f, pharmacy: pharmacie f, bakery: boulangerie f,
    library: bibliothèque f, airport: aéroport m, hotel: hôtel m, restaurant: restaurant m, cinema: cinéma m,
    theater: théâtre m, stadium: stade m, beach: plage f, swimming pool: piscine f, supermarket: supermarché m,
    castle: château m, town hall: mairie f, bookstore: librairie f, police station: commissariat m,
    bus stop: arrêt de bus/arrêts de bus m, square: place f, harbor: port m, zoo: zoo m, cathedral: cathédrale f,
    embassy: ambassade f, bridge: pont m, butcher shop: boucherie f"""
)
# where one goes in the evening or for an errand
GOAL_NAMES = [
    "station",
    "bank",
    "church",
    "hospital",
    "museum",
    "market",
    "park",
    "university",
    "bakery",
    "library",
    "airport",
    "hotel",
    "restaurant",
    "cinema",
    "theater",
    "stadium",
    "beach",
    "supermarket",
    "zoo",
    "harbor",
    "pharmacy",
]
GOALS = tuple(
    place for place in TOWN if place.en in GOAL_NAMES or place.en in ("post office", "swimming pool", "town hall")
)
VISITED = tuple(
    place for place in TOWN if place.en in ["museum", "castle", "church", "cathedral", "zoo", "university", "harbor"]
)

# English, French in and to it, French from it
COUNTRIES: tuple[tuple[str, str, str], ...] = (
    ("France", "en France", "de France"),
    ("Italy", "en Italie", "d'Italie"),
    ("Spain", "en Espagne", "d'Espagne"),
    ("Germany", "en Allemagne", "d'Allemagne"),
    ("England", "en Angleterre", "d'Angleterre"),
    ("Belgium", "en Belgique", "de Belgique"),
    ("Switzerland", "en Suisse", "de Suisse"),
    ("Greece", "en Grèce", "de Grèce"),
    ("China", "en Chine", "de Chine"),
    ("India", "en Inde", "d'Inde"),
    ("Ireland", "en Irlande", "d'Irlande"),
    ("Sweden", "en Suède", "de Suède"),
    ("Canada", "au Canada", "du Canada"),
    ("Japan", "au Japon", "du Japon"),
    ("Portugal", "au Portugal", "du Portugal"),
    ("Brazil", "au Brésil", "du Brésil"),
    ("Morocco", "au Maroc", "du Maroc"),
    ("Mexico", "au Mexique", "du Mexique"),
    ("the Netherlands", "aux Pays-Bas", "des Pays-Bas"),
    ("the United States", "aux États-Unis", "des États-Unis"),
)
CITIES: tuple[tuple[str, str], ...] = (
    ("Paris", "Paris"),
    ("London", "Londres"),
    ("Rome", "Rome"),
    ("Madrid", "Madrid"),
    ("Berlin", "Berlin"),
    ("Lyon", "Lyon"),
    ("Marseille", "Marseille"),
    ("Brussels", "Bruxelles"),
    ("Geneva", "Genève"),
    ("Lisbon", "Lisbonne"),
    ("Vienna", "Vienne"),
    ("Athens", "Athènes"),
    ("Bordeaux", "Bordeaux"),
    ("Montreal", "Montréal"),
    ("Tokyo", "Tokyo"),
    ("New York", "New York"),
    ("Barcelona", "Barcelone"),
    ("Venice", "Venise"),
)
