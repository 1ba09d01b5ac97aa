"""Word puzzles in plain words, as a general model would be asked, and how they are read back."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from realm.skills.words.clues import Clues, among, like, made_of
from realm.skills.words.course import Question
from realm.skills.words.dimensions import Dimensions
from realm.skills.words.drawing import Words
from realm.skills.words.layout import MAX_QUESTION
from realm.skills.words.lexicon import Word
from realm.skills.words.spaces import Spaces

Parts = dict[str, str]
"""What stands in a question's gaps."""

_PATTERNS = {
    "tiles": "[a-z]+(?:, [a-z]+)*",
    "bank": "[a-z]+(?:, [a-z]+)*",
    "clue": "[ !#-~]+",
    "word": "[a-z]+",
    "letters": "[0-9]{1,2}",
    "first": "[a-z]",
    "count": "[0-9]",
}


class Plain(NamedTuple):
    """How one primitive is asked."""

    text: str
    parts: Callable[[PlainWriter, Dimensions, Word, random.Random], Parts]
    word: Callable[[PlainWriter, Parts], Word | None]
    """Find the word that a question's parts mean."""

    def read(self, question: str) -> Parts | None:
        """Return what stands in the gaps of a question, None where it is another one."""
        match = _pattern(self.text).fullmatch(question)
        return match.groupdict() if match else None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return what reads a question back. Each gap ends at a sign that it may not contain: no backtracking."""
    pieces = re.split(r"\{([a-z]+)\}", text)
    gaps = [f"(?P<{name}>{_PATTERNS[name]})" for name in pieces[1::2]]
    between = [re.escape(piece) for piece in pieces[::2]]
    return re.compile("".join(part for pair in zip(between, [*gaps, ""], strict=True) for part in pair))


class PlainWriter:
    """Write each primitive's question in a sentence or two."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        self._lexicon = spaces.lexicon
        self._clues = Clues(spaces.lexicon)

    def write(self, primitive: str, dims: Dimensions, words: Words, rng: random.Random) -> Question:
        """Ask for one word."""
        plain, word = QUESTIONS[primitive], words[0]
        text = plain.text.format_map(plain.parts(self, dims, word, rng))
        return Question(primitive, words, text, _answer(primitive, word))

    def read(self, text: str) -> Question | None:
        """Return what a question asks, None where it is none."""
        if len(text) > MAX_QUESTION:
            return None
        for primitive, plain in QUESTIONS.items():
            parts = plain.read(text.strip())
            word = plain.word(self, parts) if parts else None
            if word is not None:
                return Question(primitive, (word,), text, _answer(primitive, word))
        return None

    # --- what stands in the gaps, and which word it means ---------------------------------

    def _ordered(self, dims: Dimensions, word: Word, rng: random.Random) -> Parts:
        return {"tiles": ", ".join(word.syllables)}

    def _joined(self, parts: Parts) -> Word | None:
        tiles = parts["tiles"].split(", ")
        word = self._lexicon.by_name.get("".join(tiles))
        return word if word and list(word.syllables) == tiles else None

    def _shuffled(self, dims: Dimensions, word: Word, rng: random.Random) -> Parts:
        tiles = rng.sample(word.syllables, len(word.syllables))
        clue = self._clues.choose(word, dims.hints, rng, made_of(len(tiles), tiles))
        return {"tiles": ", ".join(tiles), "clue": clue}

    def _arranged(self, parts: Parts) -> Word | None:
        tiles = parts["tiles"].split(", ")
        word = self._clues.meant(parts["clue"], made_of(len(tiles), tiles))
        return word if word and sorted(word.syllables) == sorted(tiles) else None

    def _named(self, dims: Dimensions, word: Word, rng: random.Random) -> Parts:
        return {"word": word.word}

    def _known(self, parts: Parts) -> Word | None:
        return self._lexicon.by_name.get(parts["word"])

    def _defined(self, dims: Dimensions, word: Word, rng: random.Random) -> Parts:
        count, letters, first = len(word.syllables), len(word.word), word.word[0]
        clue = self._clues.choose(word, dims.hints, rng, like(count, letters, first), meaning=True)
        return {"clue": clue, "letters": str(letters), "first": first, "count": str(count)}

    def _found(self, parts: Parts) -> Word | None:
        fits = like(int(parts["count"]), int(parts["letters"]), parts["first"])
        return self._clues.meant(parts["clue"], fits)

    def _offered(self, dims: Dimensions, word: Word, rng: random.Random) -> Parts:
        others = self._spaces.others(dims, "word_from_bank", word, dims.words - 1, rng)
        bank = [word.word, *(other.word for other in others)]
        clue = self._clues.choose(word, dims.hints, rng, among(bank))
        rng.shuffle(bank)
        return {"clue": clue, "bank": ", ".join(bank)}

    def _chosen(self, parts: Parts) -> Word | None:
        return self._clues.meant(parts["clue"], among(parts["bank"].split(", ")))


QUESTIONS = {
    "syllable_assembly_ordered": Plain(
        "Which word do these syllables make, in this order: {tiles}? Answer with the word only.",
        PlainWriter._ordered,
        PlainWriter._joined,
    ),
    "syllable_assembly_shuffled": Plain(
        'Which word with the clue "{clue}" can be made of all these syllables: {tiles}? '
        "Answer with the word only.",
        PlainWriter._shuffled,
        PlainWriter._arranged,
    ),
    "syllable_count": Plain(
        'How many syllables are there in the word "{word}"? Answer with a number only.',
        PlainWriter._named,
        PlainWriter._known,
    ),
    "definition_to_word": Plain(
        'Which word with {letters} letters and {count} syllables, beginning with "{first}", '
        'has the clue "{clue}"? Answer with the word only.',
        PlainWriter._defined,
        PlainWriter._found,
    ),
    "word_from_bank": Plain(
        'Which of these words has the clue "{clue}": {bank}? Answer with the word only.',
        PlainWriter._offered,
        PlainWriter._chosen,
    ),
}
"""The first five primitives; a count is answered with a number, all else with the word."""


def _answer(primitive: str, word: Word) -> str:
    return str(len(word.syllables)) if primitive == "syllable_count" else word.word
