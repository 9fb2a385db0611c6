"""Nouns for things, by meaning. Each English noun here has one translation in the whole sample."""

from recurra.data.samples.english_french.grammar.words import nouns

FRUIT = nouns(
    """apple: pomme f, orange: orange f, banana: banane f, pear: poire f, peach/peaches: pêche f, lemon: citron m,
    strawberry: fraise f, cherry: cerise f, melon: melon m, pineapple: ananas m, apricot: abricot m"""
)
VEGETABLES = nouns(
    """tomato/tomatoes: tomate f, potato/potatoes: pomme de terre/pommes de terre f, carrot: carotte f,
    onion: oignon m, leek: poireau m, mushroom: champignon m, green bean: *haricot vert/*haricots verts m,
    cucumber: concombre m, cabbage: chou/choux m"""
)
STAPLES = nouns(
    """bread: pain m, butter: beurre m, cheese: fromage m, meat: viande f, fish: poisson m, rice: riz m,
    salad: salade f, ham: jambon m, chicken: poulet m, chocolate: chocolat m, jam: confiture f, honey: miel m,
    soup: soupe f, ice cream: glace f""",
    mass=True,
)
INGREDIENTS = nouns(
    """sugar: sucre m, salt: sel m, flour: farine f, oil: huile f, pepper: poivre m, garlic: ail m, milk: lait m,
    butter: beurre m""",
    mass=True,
)
DISHES = nouns(
    """cake: gâteau m, sandwich: sandwich m, pizza: pizza f, omelette: omelette f, tart: tarte f, pancake: crêpe f,
    croissant: croissant m, hamburger: *hamburger m, steak: steak m, biscuit: biscuit m, yogurt: yaourt m,
    egg: œuf m"""
)
COOKED = nouns("""cake: gâteau m, pizza: pizza f, omelette: omelette f, tart: tarte f, pancake: crêpe f""")
DRINKS = nouns(
    """water: eau f, milk: lait m, coffee: café m, tea: thé m, wine: vin m, beer: bière f,
    orange juice: jus d'orange m, apple juice: jus de pomme m, lemonade: limonade f,
    hot chocolate: chocolat chaud m""",
    mass=True,
)
GLASS, CUP, BOTTLE, KILO, BASKET, PIECE = nouns(
    """glass: verre m, cup: tasse f, bottle: bouteille f, kilo: kilo m, basket: panier m, piece: morceau m"""
)
TABLEWARE = nouns(
    """plate: assiette f, spoon: cuillère f, fork: fourchette f, knife/knives: couteau m, bowl: bol m,
    napkin: serviette f, cup: tasse f, bottle: bouteille f"""
)
CLOTHES = nouns(
    """shirt: chemise f, skirt: jupe f, dress: robe f, coat: manteau m, hat: chapeau m, jacket: veste f,
    sweater: pull m, scarf/scarves: écharpe f, suit: costume m, tie: cravate f, belt: ceinture f,
    swimsuit: maillot de bain/maillots de bain m, cap: casquette f, uniform: uniforme m, raincoat: imperméable m"""
)
PAIRED_CLOTHES = nouns("""shoe: chaussure f, boot: botte f, sock: chaussette f, glove: gant m, sandal: sandale f""")
POCKET_THINGS = nouns(
    """key: clé f, phone: téléphone m, bag: sac m, wallet: portefeuille m, passport: passeport m,
    umbrella: parapluie m, watch: montre f, camera: appareil photo/appareils photo m, suitcase: valise f,
    ring: bague f, hat: chapeau m, notebook: cahier m, pencil: crayon m, pen: stylo m"""
)
GIFTS = nouns(
    """gift: cadeau m, ring: bague f, watch: montre f, toy: jouet m, book: livre m, bicycle: vélo m,
    flower: fleur f, painting: tableau m, lamp: lampe f, bracelet: bracelet m, puzzle: puzzle m, doll: poupée f,
    kite: cerf-volant/cerfs-volants m"""
)
SHOP_THINGS = nouns(
    """computer: ordinateur m, lamp: lampe f, map: carte f, bicycle: vélo m, newspaper: journal m,
    magazine: magazine m, dictionary: dictionnaire m, stamp: timbre m, envelope: enveloppe f, candle: bougie f,
    pillow: oreiller m, blanket: couverture f, towel: serviette f, toothbrush: brosse à dents/brosses à dents f,
    battery: pile f, tent: tente f, hammer: marteau m, racket: raquette f, ball: ballon m, basket: panier m"""
)
FURNITURE = nouns(
    """table: table f, chair: chaise f, bed: lit m, sofa: canapé m, armchair: fauteuil m, desk: bureau m,
    wardrobe: armoire f, shelf/shelves: étagère f, mirror: miroir m, carpet: tapis m, fridge: frigo m,
    oven: four m, clock: horloge f, washing machine: machine à laver/machines à laver f"""
)
ROOMS = nouns(
    """kitchen: cuisine f, bedroom: chambre f, bathroom: salle de bains/salles de bains f, living room: salon m,
    garden: jardin m, garage: garage m, office: bureau m, hallway: couloir m, cellar: cave f, attic: grenier m,
    dining room: salle à manger/salles à manger f"""
)
OPENINGS = nouns(
    """door: porte f, window: fenêtre f, drawer: tiroir m, suitcase: valise f, box: boîte f, wardrobe: armoire f"""
)
HOMES = nouns(
    """house: maison f, apartment: appartement m, room: chambre f, garden: jardin m, castle: château m,
    farm: ferme f"""
)
CLEANED = nouns(
    """kitchen: cuisine f, bathroom: salle de bains/salles de bains f, car: voiture f, window: fenêtre f,
    oven: four m, fridge: frigo m, garage: garage m, house: maison f, living room: salon m, bedroom: chambre f"""
)
MACHINES = nouns(
    """computer: ordinateur m, phone: téléphone m, car: voiture f, bicycle: vélo m, lamp: lampe f, clock: horloge f,
    radio: radio f, washing machine: machine à laver/machines à laver f, fridge: frigo m, heater: radiateur m,
    printer: imprimante f"""
)
VEHICLES = nouns(
    """car: voiture f, bus: bus m, train: train m, plane: avion m, bicycle: vélo m, boat: bateau m, taxi: taxi m,
    truck: camion m, motorbike: moto f"""
)
TAKEN = nouns(
    """bus: bus m, train: train m, plane: avion m, taxi: taxi m, subway: métro m, tram: tram m,
    elevator: ascenseur m"""
)
LINES = nouns("bus: bus m, train: train m, plane: avion m, boat: bateau m")
READING = nouns(
    """book: livre m, newspaper: journal m, magazine: magazine m, letter: lettre f, novel: roman m,
    story: histoire f, poem: poème m, article: article m, message: message m, menu: menu m"""
)
WRITING = nouns(
    """letter: lettre f, poem: poème m, novel: roman m, report: rapport m, message: message m,
    postcard: carte postale/cartes postales f"""
)
SHOWS = nouns(
    """movie: film m, match: match m, documentary: documentaire m, cartoon: dessin animé/dessins animés m,
    concert: concert m, play: pièce de théâtre/pièces de théâtre f"""
)
HEARD = nouns("""song: chanson f, story: histoire f, podcast: podcast m, record: disque m""")
INSTRUMENTS = nouns(
    """guitar: guitare f, piano: piano m, violin: violon m, flute: flûte f, trumpet: trompette f,
    cello: violoncelle m, harp: *harpe f, accordion: accordéon m, saxophone: saxophone m, clarinet: clarinette f"""
)
SCHOOL_THINGS = nouns(
    """lesson: leçon f, exercise: exercice m, word: mot m, sentence: phrase f, text: texte m, poem: poème m,
    question: question f, rule: règle f, answer: réponse f, page: page f, exam: examen m"""
)
OFFICE_THINGS = nouns(
    """report: rapport m, contract: contrat m, document: document m, email: e-mail m, letter: lettre f,
    form: formulaire m, invoice: facture f, project: projet m, file: dossier m, article: article m"""
)
SUBJECTS = nouns(
    """history: histoire f, geography: géographie f, physics: physique f, chemistry: chimie f, biology: biologie f,
    music: musique f, philosophy: philosophie f, economics: économie f, law: droit m, art: art m""",
    mass=True,
)
LANGUAGES = nouns(
    """French: français m, English: anglais m, Spanish: espagnol m, German: allemand m, Italian: italien m,
    Japanese: japonais m, Chinese: chinois m, Russian: russe m, Portuguese: portugais m, Arabic: arabe m""",
    mass=True,
)
ANIMALS = nouns(
    """dog: chien m, cat: chat m, bird: oiseau m, horse: cheval m, cow: vache f, rabbit: lapin m, lamb: agneau m,
    duck: canard m, mouse/mice: souris f, owl: *hibou/*hiboux m, hen: poule f, pig: cochon m, goat: chèvre f,
    bear: ours m, wolf/wolves: loup m, lion: lion m, elephant: éléphant m, monkey: singe m, spider: araignée f,
    butterfly: papillon m, frog: grenouille f, hedgehog: *hérisson m, turtle: tortue f, donkey: âne m,
    bee: abeille f, squirrel: écureuil m, snake: serpent m, fox: renard m"""
)
PETS = nouns(
    """dog: chien m, cat: chat m, rabbit: lapin m, bird: oiseau m, horse: cheval m, turtle: tortue f, hen: poule f"""
)
NATURE = nouns(
    """tree: arbre m, flower: fleur f, mountain: montagne f, river: rivière f, lake: lac m, forest: forêt f,
    island: île f, village: village m, field: champ m, road: route f, beach: plage f, hill: colline f,
    garden: jardin m, valley: vallée f, rose: rose f, bridge: pont m, star: étoile f"""
)
SEEN_FAR = nouns("moon: lune f, sun: soleil m, sky: ciel m, sea: mer f, snow: neige f")
BODY = nouns(
    """back: dos m, stomach: ventre m, throat: gorge f, knee: genou/genoux m, arm: bras m, leg: jambe f,
    hand: main f, shoulder: épaule f, ear: oreille f, finger: doigt m, ankle: cheville f, neck: cou m,
    head: tête f, foot/feet: pied m, hip: *hanche f, eye: œil/yeux m, tooth/teeth: dent f"""
)
COUNTED_ABOUT_HOUSE = nouns(
    """bedroom: chambre f, window: fenêtre f, door: porte f, chair: chaise f, table: table f, bed: lit m,
    lamp: lampe f"""
)
