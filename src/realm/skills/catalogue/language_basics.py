"""Language basics: meanings, plurals, subjects and kinds of sentences, in English."""

from __future__ import annotations

import random
from functools import cache
from itertools import chain, combinations, product
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Arranged, Listed, Operands, Product, Space, Words
from realm.skills.passive.table import Question, primitive
from realm.skills.passive.words import ALIKE, NOUNS, NOUNS_ES, NOUNS_IES, OPPOSITES

_ENTRIES = {1: 12, 2: 18, 3: 24, 4: 30, 5: 36}
"""How many of the word list's lines a level uses."""
_SIDES = tuple(chain.from_iterable(OPPOSITES))
_SIDE = {word: number for number, side in enumerate(_SIDES) for word in side}
"""Words with one number mean nearly the same; 2n and 2n+1 are opposites."""
_ORDER = {word: place for place, word in enumerate(_SIDE)}


@cache
def _near(side: int) -> frozenset[int]:
    """Return the sides that a reader may take for this one, itself included."""
    groups = ({_SIDE[word] for word in group} for group in ALIKE)
    return frozenset({side}.union(*(group for group in groups if side in group)))


@cache
def _clear(right: int) -> tuple[str, ...]:
    """Return the words that are wrong beyond doubt where those of one side are right."""
    doubtful = _near(right) | {side ^ 1 for side in _near(right ^ 1)}
    return tuple(word for word, side in _SIDE.items() if side not in doubtful)


_ANIMALS = (
    *(
        "goat",
        "wolf",
        "farmer",
        "girl",
        "boy",
        "sailor",
        "baker",
        "nurse",
        "king",
        "robot",
        "painter",
        "driver",
    ),
    *(
        "singer",
        "hunter",
        "lion",
        "rabbit",
        "teacher",
        "pilot",
        "judge",
        "giant",
        "clown",
        "guard",
        "cook",
        "duck",
    ),
)
_THINGS = (
    *(
        "boat",
        "ladder",
        "basket",
        "lantern",
        "hammer",
        "letter",
        "bread",
        "piano",
        "carpet",
        "bottle",
        "drum",
        "kite",
    ),
    *(
        "barrel",
        "wagon",
        "mirror",
        "saddle",
        "shovel",
        "pillow",
        "statue",
        "candle",
        "rope",
        "tent",
        "engine",
        "flag",
    ),
)
_DOES = ("carries", "finds", "paints", "moves", "wants", "sees", "hides", "cleans", "lifts", "sells")
_DO = ("carry", "find", "paint", "move", "want", "see", "hide", "clean", "lift", "sell")
_RESTS = ("sleeps", "waits", "sits", "stands", "hides", "rests", "sings", "dances")
_ADJECTIVES = ("old", "red", "young", "heavy", "tall", "quiet", "clever", "golden", "tired", "strange")
_WHEN = (
    "at noon",
    "every day",
    "before lunch",
    "in winter",
    "on Sunday",
    "after work",
    "at night",
    "in spring",
)
_WHERE = ("Behind", "Near", "Under", "Beside", "Above")
_OPENINGS = (
    "At noon",
    "Every day",
    "Before lunch",
    "In winter",
    "On Sunday",
    "After work",
    "At night",
    "In spring",
)


# --- meanings ---------------------------------------------------------------------------


def _synonyms(entries: int) -> Space:
    sides = _SIDES[: 2 * entries]
    return Listed(tuple(chain.from_iterable(combinations(side, 2) for side in sides)))


def _antonyms(entries: int) -> Space:
    return Listed(tuple(chain.from_iterable(product(*entry) for entry in OPPOSITES[:entries])))


def _choice(name: str, wordings: tuple[str, ...], spaces: dict[int, Space], flip: int) -> Question:
    """A pair of words, asked from either end: one word, and a choice of words that has the other.

    `flip` turns the number of the asked word's side into that of the right words' side.
    """

    def right(asked: str, options: str) -> str:
        return next((word for word in options.split(", ") if _SIDE[word] == _SIDE[asked] ^ flip), "")

    def vary(pair: Operands, rng: random.Random) -> Operands:
        asked, other = rng.sample([str(word) for word in pair], 2)
        wrong = [word for word in _clear(_SIDE[asked] ^ flip) if word != asked]
        options = [other, *rng.sample(wrong, rng.randint(2, 4))]
        rng.shuffle(options)
        return asked, ", ".join(options)

    def canonical(asked: Operands) -> Operands | None:
        word, options = str(asked[0]), str(asked[1]).split(", ")
        if word not in _SIDE or not set(options) <= set(_SIDE) or word in options:
            return None
        right = _SIDE[word] ^ flip
        fitting = [option for option in options if _SIDE[option] == right]
        if len(fitting) != 1 or len(set(options)) != len(options) or not 3 <= len(options) <= 5:
            return None
        if not set(options) - {fitting[0]} <= set(_clear(right)):
            return None
        return tuple(sorted((word, fitting[0]), key=_ORDER.__getitem__))

    return Question(name, wordings, spaces, right, vary, canonical)


# --- plurals ----------------------------------------------------------------------------


def _plural(phrase: str) -> str:
    """Return the regular plural of the last word."""
    if phrase.endswith(("s", "x", "z", "ch", "sh")):
        return phrase + "es"
    if phrase.endswith("y") and phrase[-2] not in "aeiou":
        return phrase[:-1] + "ies"
    return phrase + "s"


def _pluralize(nouns: tuple[str, ...], levels: tuple[int, ...]) -> Question:
    return Question(
        "pluralize",
        ("What is the plural of {0}?", "Write the plural form: {0}"),
        dict.fromkeys(levels, Words(nouns)),
        _plural,
    )


# --- subjects ---------------------------------------------------------------------------


def _subject(name: str, sentence: str, place: int, spaces: dict[int, Space]) -> Question:
    return Question(
        f"subject_{name}",
        (
            f"Which noun is the subject of this sentence? {sentence}. Answer with one word.",
            f"Name the noun that is the subject, in one word: {sentence}.",
        ),
        spaces,
        lambda *words: words[place],
    )


# --- sentences --------------------------------------------------------------------------


def _type(kind: str, name: str, sentence: str, mark: str, spaces: dict[int, Space]) -> Question:
    types = "statement, question, command or exclamation"
    return Question(
        f"{kind}_{name}",
        (
            f"Is this sentence a {types}? {sentence}{mark}",
            f"Say what the following is, although its last mark is missing ({types}): {sentence}",
        ),
        spaces,
        lambda *words: kind,
    )


def _with(words: tuple[str, ...], spaces: dict[int, Space]) -> dict[int, Space]:
    return {n: Product(Words(words), space) for n, space in spaces.items()}


def _and(spaces: dict[int, Space], words: tuple[str, ...]) -> dict[int, Space]:
    return {n: Product(space, Words(words)) for n, space in spaces.items()}


def _people(*levels: int) -> dict[int, Space]:
    return {n: Words(_ANIMALS[: 4 + 4 * n]) for n in levels}


def _acting(verbs: tuple[str, ...], *levels: int) -> dict[int, Space]:
    """Someone, a verb, a thing."""
    return _and(_and(_people(*levels), verbs), _THINGS)


class LanguageBasics(PassiveSkill):
    """Drill and grade simple English."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["language_basics"] = "language_basics"

    name = "language_basics"
    title = "Language basics"
    steps = (
        "plain nouns, short sentences",
        "nouns in es, adjectives",
        "nouns in ies, times of day",
        "phrases, turned sentences",
        "pairs of nouns, longer sentences",
    )
    table = (
        primitive(
            ("synonym_easy", "Synonyms", "the word that means nearly the same"),
            2,
            (
                _choice(
                    "synonym",
                    (
                        "Which word means nearly the same as {0}: {1}?",
                        "Choose the synonym of {0} from these words: {1}.",
                    ),
                    {n: _synonyms(entries) for n, entries in _ENTRIES.items()},
                    flip=0,
                ),
            ),
        ),
        primitive(
            ("antonym_easy", "Antonyms", "the word that means the opposite"),
            2,
            (
                _choice(
                    "antonym",
                    (
                        "Which word means the opposite of {0}: {1}?",
                        "Choose the antonym of {0} from these words: {1}.",
                    ),
                    {n: _antonyms(entries) for n, entries in _ENTRIES.items()},
                    flip=1,
                ),
            ),
        ),
        primitive(
            ("pluralize_regular", "Plurals", "regular plurals in s, es and ies"),
            2,
            (
                _pluralize(NOUNS, (1, 2, 3)),
                _pluralize(NOUNS_ES, (2, 3)),
                _pluralize(NOUNS_IES, (3,)),
                Question(
                    "plural_phrase",
                    ("What is the plural of {0} {1}?", "Write the plural form: {0} {1}"),
                    {4: Product(Words(_ADJECTIVES), Words(NOUNS_ES + NOUNS_IES))},
                    lambda adjective, noun: f"{adjective} {_plural(noun)}",
                ),
                Question(
                    "plural_pair",
                    ("Put both nouns in the plural and keep the word between them: {0} and {1}",),
                    {5: Arranged(NOUNS_ES + NOUNS_IES, 2)},
                    lambda first, second: f"{_plural(first)} and {_plural(second)}",
                ),
            ),
        ),
        primitive(
            ("identify_subject", "Subjects", "the noun that a sentence is about"),
            3,
            (
                _subject("plain", "The {0} {1} the {2}", 0, _acting(_DOES, 1)),
                _subject("adjective", "The {0} {1} {2} the {3}", 1, _with(_ADJECTIVES, _acting(_DOES, 2))),
                _subject("opening", "{0}, the {1} {2} the {3}", 1, _with(_OPENINGS, _acting(_DOES, 3, 4))),
                _subject(
                    "turned",
                    "{0} the {1} {2} the {3}",
                    3,
                    {
                        n: Product(Words(_WHERE), Words(_THINGS), Words(_RESTS), space)
                        for n, space in _people(4).items()
                    },
                ),
                _subject(
                    "near",
                    "The {0} near the {1} {2} the {3}",
                    0,
                    {5: Product(Arranged(_ANIMALS, 2), Words(_DOES), Words(_THINGS))},
                ),
            ),
        ),
        primitive(
            ("sentence_type", "Kinds of sentences", "statement, question, command or exclamation"),
            2,
            (
                _type("statement", "short", "The {0} {1} the {2}", ".", _acting(_DOES, 1, 2)),
                _type("question", "short", "Does the {0} {1} the {2}", "?", _acting(_DO, 1, 2)),
                _type(
                    "command",
                    "short",
                    "Please {0} the {1} {2}",
                    ".",
                    {n: Product(Words(_DO), Words(_ADJECTIVES), Words(_THINGS)) for n in (1, 2)},
                ),
                _type(
                    "exclamation",
                    "short",
                    "What a {0} {1} that is",
                    "!",
                    {n: Product(Words(_ADJECTIVES), Words(_THINGS + _ANIMALS)) for n in (1, 2)},
                ),
                _type(
                    "statement", "long", "The {0} {1} the {2} {3}", ".", _and(_acting(_DOES, 3, 4, 5), _WHEN)
                ),
                _type(
                    "question",
                    "long",
                    "Why does the {0} {1} the {2} {3}",
                    "?",
                    _and(_acting(_DO, 3, 4, 5), _WHEN),
                ),
                _type(
                    "command",
                    "long",
                    "{0} the {1} {2} {3}",
                    ".",
                    {
                        n: Product(
                            Words(tuple(map(str.title, _DO))),
                            Words(_ADJECTIVES),
                            Words(_THINGS),
                            Words(_WHEN),
                        )
                        for n in (3, 4, 5)
                    },
                ),
                _type(
                    "exclamation",
                    "long",
                    "How {0} the {1} is {2}",
                    "!",
                    {
                        n: Product(Words(_ADJECTIVES), Words(_THINGS + _ANIMALS), Words(_WHEN))
                        for n in (3, 4, 5)
                    },
                ),
            ),
        ),
    )
