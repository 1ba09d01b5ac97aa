"""Which problem it is, whoever asks it and however: the key, and the side that it falls on.

The side follows from what is asked of which words. Level, layout, bank, clues, answer format and
skill are no part of it; putting syllables together is one thing, with the tiles in order or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from realm.core import seeds
from realm.core.errors import UsageError
from realm.skills.words.lexicon import Lexicon, Word

SPLIT_VERSION = 1
"""Part of the hash that decides the split. Changing it spoils every earlier evaluation."""


class Asked(NamedTuple):
    """What a primitive asks."""

    verb: str
    """First word of its keys."""
    domain: str
    """What the split hashes: primitives of one domain hold back the same words."""
    several: bool = False
    """A problem has several words."""


PRIMITIVES = {
    "syllable_assembly_ordered": Asked("join", "assemble"),
    "syllable_assembly_shuffled": Asked("arrange", "assemble"),
    "syllable_count": Asked("count", "count"),
    "definition_to_word": Asked("define", "define"),
    "word_from_bank": Asked("choose", "choose"),
    "multi_word_assembly": Asked("solve", "assemble", several=True),
    "json_output_format": Asked("format", "assemble", several=True),
}
_BY_VERB = {asked.verb: name for name, asked in PRIMITIVES.items()}


def key(primitive: str, words: Sequence[Word]) -> str:
    """Return the canonical name, such as `join harbor`; the words are sorted."""
    return " ".join([PRIMITIVES[primitive].verb, *sorted(word.word for word in words)])


def names(of_key: str) -> list[str]:
    """Return the words that a key names."""
    return of_key.split(" ")[1:]


def is_heldout(share: float, of_key: str) -> bool:
    """Say whether a problem is never trained on."""
    verb, _, words = of_key.partition(" ")
    domain = PRIMITIVES[_BY_VERB[verb]].domain
    return seeds.fraction("words/split", SPLIT_VERSION, domain, words) < share


def check(lexicon: Lexicon, of_key: str, skill: str, primitives: Sequence[str]) -> None:
    """Raise UsageError unless a key names a problem of these primitives."""
    verb, *words = of_key.split(" ")
    primitive = _BY_VERB.get(verb)
    if primitive is None or primitive not in primitives or not lexicon.by_name.keys() >= set(words):
        raise UsageError(f"{of_key!r} is no problem of {skill}", hint="a key looks like `join harbor`")
    if words != sorted(set(words)) or (len(words) > 1) != PRIMITIVES[primitive].several or not words:
        raise UsageError(f"{of_key!r} is no problem of {skill}", hint="words are sorted, each named once")
