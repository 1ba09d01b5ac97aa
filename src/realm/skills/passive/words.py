"""Words of our own choosing for suites about language and memory."""

from __future__ import annotations

OPPOSITES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("big", "large", "huge", "giant"), ("small", "little", "tiny", "miniature")),
    (("fast", "quick", "rapid", "swift"), ("slow", "plodding", "unhurried", "leisurely")),
    (("happy", "glad", "cheerful", "joyful"), ("sad", "unhappy", "gloomy", "sorrowful")),
    (("hot", "boiling", "scorching", "burning"), ("cold", "chilly", "icy", "freezing")),
    (("begin", "start", "commence", "launch"), ("end", "finish", "conclude", "cease")),
    (("brave", "bold", "courageous", "fearless"), ("cowardly", "timid", "fearful", "fainthearted")),
    (("rich", "wealthy", "affluent", "prosperous"), ("poor", "needy", "penniless", "broke")),
    (("clever", "smart", "intelligent", "brainy"), ("stupid", "foolish", "silly", "unwise")),
    (("strong", "powerful", "mighty", "sturdy"), ("weak", "feeble", "frail", "powerless")),
    (("noisy", "loud", "deafening", "thunderous"), ("quiet", "silent", "hushed", "noiseless")),
    (("clean", "spotless", "washed", "pure"), ("dirty", "filthy", "grubby", "soiled")),
    (("beautiful", "pretty", "lovely", "gorgeous"), ("ugly", "hideous", "unsightly", "unlovely")),
    (("wet", "damp", "moist", "soaked"), ("dry", "arid", "parched", "waterless")),
    (("old", "ancient", "aged", "elderly"), ("new", "modern", "recent", "fresh")),
    (("easy", "simple", "effortless", "straightforward"), ("hard", "difficult", "tough", "tricky")),
    (("love", "adore", "cherish", "treasure"), ("hate", "detest", "loathe", "despise")),
    (("build", "construct", "assemble", "erect"), ("destroy", "wreck", "demolish", "ruin")),
    (("arrive", "come", "appear", "enter"), ("leave", "depart", "go", "exit")),
    (("laugh", "giggle", "chuckle", "snicker"), ("cry", "weep", "sob", "wail")),
    (("kind", "gentle", "caring", "compassionate"), ("cruel", "merciless", "heartless", "brutal")),
    (("polite", "courteous", "mannerly", "respectful"), ("rude", "impolite", "insolent", "ill-mannered")),
    (("safe", "guarded", "harmless", "protected"), ("dangerous", "risky", "perilous", "hazardous")),
    (("friend", "ally", "companion", "pal"), ("enemy", "foe", "rival", "opponent")),
    (("true", "correct", "right", "accurate"), ("false", "wrong", "mistaken", "untrue")),
    (("raise", "lift", "elevate", "hoist"), ("lower", "drop", "sink", "reduce")),
    (("thick", "chunky", "broad", "wide"), ("thin", "slim", "narrow", "slender")),
    (("empty", "vacant", "blank", "bare"), ("full", "filled", "packed", "crammed")),
    (("allow", "permit", "let", "approve"), ("forbid", "ban", "prohibit", "bar")),
    (("sharp", "pointed", "spiky", "edged"), ("blunt", "dull", "rounded", "edgeless")),
    (("lazy", "idle", "slothful", "inactive"), ("busy", "industrious", "hardworking", "diligent")),
    (("near", "nearby", "adjacent", "neighbouring"), ("far", "distant", "remote", "faraway")),
    (("asleep", "sleeping", "dozing", "slumbering"), ("awake", "wakeful", "alert", "conscious")),
    (("famous", "renowned", "celebrated", "noted"), ("unknown", "obscure", "nameless", "unheard-of")),
    (("calm", "composed", "unruffled", "placid"), ("angry", "furious", "enraged", "irate")),
    (("remember", "recall", "recollect", "retain"), ("forget", "overlook", "neglect", "omit")),
    (("join", "connect", "attach", "link"), ("separate", "divide", "split", "detach")),
)
"""Words of four that mean nearly the same, each against four that mean the opposite; no word twice."""

ALIKE: tuple[tuple[str, ...], ...] = (
    ("big", "thick", "strong"),
    ("small", "thin"),
    ("clever", "sharp", "awake", "fast"),
    ("stupid", "blunt", "easy", "slow", "wrong"),
    ("slow", "lazy", "calm"),
    ("hard", "strong", "dangerous"),
    ("weak", "cowardly", "thin"),
    ("brave", "strong"),
    ("quiet", "calm", "asleep"),
    ("kind", "polite", "calm", "safe", "friend"),
    ("cruel", "rude", "dangerous", "cold", "angry", "enemy"),
    ("clean", "new", "empty"),
    ("dirty", "ugly"),
    ("poor", "empty"),
    ("lazy", "asleep", "empty"),
    ("busy", "full", "awake"),
    ("raise", "build"),
    ("destroy", "separate", "lower"),
    ("join", "build", "near"),
    ("end", "leave", "destroy"),
    ("begin", "leave"),
    ("love", "remember", "allow", "friend"),
    ("hate", "enemy"),
    ("forget", "leave"),
    ("far", "unknown"),
    ("true", "clean"),
)
"""Words whose lines above a reader may take for one another: neither stands among the other's choices."""

NOUNS = (
    *("apple", "arrow", "basket", "bell", "blanket", "boat", "book", "bottle", "bridge", "bucket"),
    *("button", "cable", "camel", "candle", "carpet", "castle", "chain", "chair", "clock", "cloud"),
    *("coin", "crown", "cup", "desk", "doctor", "dog", "door", "dragon", "drum", "eagle"),
    *("engine", "farmer", "feather", "flag", "flower", "fork", "forest", "frog", "garden", "gate"),
    *("ghost", "glove", "hammer", "harbour", "hat", "helmet", "horse", "hotel", "island", "jacket"),
    *("kettle", "key", "king", "kitten", "ladder", "lamp", "lantern", "lemon", "letter", "lion"),
    *("magnet", "map", "market", "mirror", "monkey", "motor", "mountain", "nail", "needle", "nest"),
    *("ocean", "orange", "owl", "painter", "panda", "paper", "parrot", "pencil", "pepper", "pillow"),
    *("pilot", "planet", "plate", "pocket", "pond", "queen", "rabbit", "river", "road", "robot"),
    *("rocket", "roof", "rope", "saddle", "sailor", "school", "shadow", "ship", "shovel", "singer"),
    *("soldier", "spider", "spoon", "star", "stone", "table", "teacher", "tent", "tiger", "tower"),
    *("train", "tree", "tunnel", "turtle", "valley", "violin", "wagon", "wall", "wheel", "window"),
)
"""Nouns whose plural ends in a plain s."""

NOUNS_ES = (
    *("hoax", "beach", "bench", "boss", "box", "branch", "brush", "bus", "bush", "church"),
    *("class", "coach", "couch", "crash", "cross", "dish", "dress", "eyelash", "fox", "glass"),
    *("guess", "hutch", "inch", "kiss", "lens", "lunch", "match", "mattress", "moss", "patch"),
    *("peach", "perch", "porch", "princess", "punch", "radish", "sandwich", "sash", "sketch", "speech"),
    *("splash", "stitch", "switch", "tax", "torch", "trench", "walrus", "wish", "witch", "wrench"),
)
"""Nouns that end in a hiss, whose plural ends in es."""

NOUNS_IES = (
    *("army", "baby", "bakery", "battery", "berry", "bunny", "butterfly", "canary", "candy", "cherry"),
    *("city", "colony", "country", "county", "daisy", "diary", "duty", "enemy", "factory", "fairy"),
    *("family", "ferry", "fly", "gallery", "grocery", "hobby", "injury", "jelly", "lady", "library"),
    *("lily", "memory", "mystery", "nursery", "party", "penny", "pony", "poppy", "puppy", "quality"),
    *("query", "raspberry", "ruby", "salary", "sky", "spy", "story", "study", "supply", "victory"),
)
"""Nouns that end in a consonant and y, whose plural ends in ies."""

NAMES = (
    *("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jon"),
    *("Kira", "Leo", "Mara", "Nils", "Olga", "Paul", "Quinn", "Rosa", "Sam", "Tess"),
)
COLOURS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink", "grey", "purple")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
