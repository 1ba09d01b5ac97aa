"""SY's questions: written from words, and read back."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

from realm.skills.words import keys, layout
from realm.skills.words.clues import Clues, among, like, made_of
from realm.skills.words.course import Question
from realm.skills.words.dimensions import MOST_TILES, Dimensions
from realm.skills.words.drawing import Words
from realm.skills.words.formats import FORMATS, JSON_FORMATS, FormatName, Solved
from realm.skills.words.labels import are_labels
from realm.skills.words.layout import Item, Layout, Page
from realm.skills.words.lexicon import Word
from realm.skills.words.spaces import Spaces

HEADERS = {
    "syllable_assembly_ordered": "Join tiles from left to right to make the word. Some may be left over.",
    "syllable_assembly_shuffled": "Put tiles in order to make the word. One may serve twice or be left over.",
    "syllable_count": "How many syllables does this word have?",
    "definition_to_word": "Find the word. Each blank is one syllable.",
    "word_from_bank": "Choose the word that the clue means.",
    "multi_word_assembly": "Find the words, a tile for each blank. One may serve often.",
    "json_output_format": "Find the words, a tile for each blank, and answer in the JSON asked for. "
    "One may serve often.",
}
_LEFT_OVER = " Left over: "
"""What a question for several words says before the number of tiles that it leaves over."""
_PRIMITIVE_OF = {header: primitive for primitive, header in HEADERS.items()}
_ONE_WORD = "Answer with the word alone."
_NUMBER = "Answer with the number alone."
_HERRING_TRIES = 200
_FORMAT_OF = {form.asks: name for name, form in FORMATS.items()}


class PuzzleWriter:
    """Write SY's questions."""

    def __init__(self, spaces: Spaces, formats: Sequence[FormatName]) -> None:
        self._spaces = spaces
        self._lexicon = spaces.lexicon
        self._clues = Clues(spaces.lexicon)
        self._formats = {"multi_word_assembly": tuple(formats), "json_output_format": JSON_FORMATS}

    def write(self, primitive: str, dims: Dimensions, words: Words, rng: random.Random) -> Question:
        """Ask for these words, in a wording, bank and layout that the generator draws."""
        look = layout.choose(dims.level, rng)
        if keys.PRIMITIVES[primitive].several:
            return self._several(primitive, dims, words, look, rng)
        page, expected = _ONE[primitive](self, primitive, dims, words[0], look, rng)
        return Question(primitive, words, layout.write(page, look), expected)

    def read(self, text: str) -> Question | None:
        """Return what a question of any layout asks, None where it is none."""
        page = layout.read(text)
        primitive = _PRIMITIVE_OF.get(page.header.partition(_LEFT_OVER)[0]) if page else None
        if page is None or primitive is None:
            return None
        if keys.PRIMITIVES[primitive].several:
            return self._read_several(primitive, page, text)
        word = _READ_ONE[primitive](self, page)
        if (
            word is None
            or page.header != HEADERS[primitive]
            or page.closing != (_NUMBER if primitive == "syllable_count" else _ONE_WORD)
        ):
            return None
        expected = str(len(word.syllables)) if primitive == "syllable_count" else word.word.upper()
        return Question(primitive, (word,), text, expected)

    # --- one word -------------------------------------------------------------------------

    def _assembly(
        self, primitive: str, dims: Dimensions, word: Word, look: Layout, rng: random.Random
    ) -> tuple[Page, str]:
        ordered = primitive == "syllable_assembly_ordered"
        tiles = list(word.syllables if ordered else dict.fromkeys(word.syllables))
        herrings = self._herrings(tiles, dims.herrings, rng)
        if ordered:
            for herring in herrings:
                tiles.insert(rng.randrange(len(tiles) + 1), herring)
        else:
            tiles += herrings
            rng.shuffle(tiles)
        item = self._item(word, dims, look, tiles, rng)
        return Page(HEADERS[primitive], (item,), tuple(tiles), _ONE_WORD), word.word.upper()

    def _count(
        self, primitive: str, dims: Dimensions, word: Word, look: Layout, rng: random.Random
    ) -> tuple[Page, str]:
        page = Page(HEADERS[primitive], (), (word.word,), _NUMBER, "Word")
        return page, str(len(word.syllables))

    def _definition(
        self, primitive: str, dims: Dimensions, word: Word, look: Layout, rng: random.Random
    ) -> tuple[Page, str]:
        first = word.word[0].upper()
        count, letters = len(word.syllables), len(word.word)
        fits = like(count, letters, first)
        clue = self._clues.choose(word, dims.hints, rng, fits, meaning=True, short=look.short)
        item = Item(count, clue, letters=letters, first=first)
        return Page(HEADERS[primitive], (item,), (), _ONE_WORD), word.word.upper()

    def _bank(
        self, primitive: str, dims: Dimensions, word: Word, look: Layout, rng: random.Random
    ) -> tuple[Page, str]:
        others = self._spaces.others(dims, primitive, word, dims.words - 1, rng)
        bank = [word.word, *(other.word for other in others)]
        clue = self._clues.choose(word, dims.hints, rng, among(bank), short=look.short)
        rng.shuffle(bank)
        return Page(HEADERS[primitive], (Item(1, clue),), tuple(bank), _ONE_WORD, "Words"), word.word.upper()

    # --- several words --------------------------------------------------------------------

    def _several(
        self, primitive: str, dims: Dimensions, words: Words, look: Layout, rng: random.Random
    ) -> Question:
        words = tuple(rng.sample(words, len(words)))
        tiles = list(dict.fromkeys(syllable for word in words for syllable in word.syllables))
        tiles += self._herrings(tiles, min(dims.herrings, MOST_TILES - len(tiles)), rng)
        rng.shuffle(tiles)
        bank = frozenset(tiles)
        items = tuple(
            self._item(word, dims, look, bank, rng)._replace(label=label)
            for word, label in zip(words, look.labels, strict=False)
        )
        form = rng.choice(self._formats[primitive])
        page = Page(_header(primitive, words, tiles), items, tuple(tiles), FORMATS[form].asks)
        expected = FORMATS[form].write(Solved(look.labels[: len(words)], words, tiles))
        return Question(primitive, words, layout.write(page, look), expected, form)

    def _item(
        self, word: Word, dims: Dimensions, look: Layout, tiles: Collection[str], rng: random.Random
    ) -> Item:
        count = len(word.syllables)
        clue = self._clues.choose(word, dims.hints, rng, made_of(count, tiles), short=look.short)
        return Item(count, clue)

    def _herrings(self, tiles: Sequence[str], count: int, rng: random.Random) -> list[str]:
        """Draw so many tiles that no word needs, fewer where the lexicon has hardly any more."""
        syllables, taken = self._lexicon.syllables, set(tiles)
        herrings: list[str] = []
        for _ in range(_HERRING_TRIES):
            if len(herrings) >= count:
                break
            syllable = syllables[int(rng.random() * len(syllables))]
            if syllable not in taken:
                taken.add(syllable)
                herrings.append(syllable)
        return herrings

    # --- reading back ---------------------------------------------------------------------

    def _read_several(self, primitive: str, page: Page, text: str) -> Question | None:
        form = _FORMAT_OF.get(page.closing)
        found = tuple(self._meant(item, page.bank) for item in page.items)
        words = tuple(word for word in found if word)
        labels = tuple(item.label for item in page.items)
        if form not in self._formats[primitive] or len(words) != len(found):
            return None
        if len({word.word for word in words}) != len(words) or not are_labels(labels, len(words)):
            return None
        if page.header != _header(primitive, words, page.bank):
            return None
        expected = FORMATS[form].write(Solved(labels, words, tuple(dict.fromkeys(page.bank))))
        return Question(primitive, words, text, expected, form)

    def _meant(self, item: Item, tiles: Sequence[str]) -> Word | None:
        return self._clues.meant(item.clue, made_of(item.blanks, tiles))

    def _read_assembly(self, page: Page) -> Word | None:
        return self._meant(page.items[0], page.bank) if len(page.items) == 1 else None

    def _read_count(self, page: Page) -> Word | None:
        named = page.bank[0] if len(page.bank) == 1 and not page.items else ""
        return self._lexicon.by_name.get(named)

    def _read_definition(self, page: Page) -> Word | None:
        if len(page.items) != 1 or page.bank:
            return None
        item = page.items[0]
        return self._clues.meant(item.clue, like(item.blanks, item.letters, item.first))

    def _read_bank(self, page: Page) -> Word | None:
        return self._clues.meant(page.items[0].clue, among(page.bank)) if len(page.items) == 1 else None


def _header(primitive: str, words: Words, tiles: Sequence[str]) -> str:
    left = set(tiles).difference(*(word.syllables for word in words))
    return f"{HEADERS[primitive]}{_LEFT_OVER}{len(left)}."


_ONE: dict[str, Callable[[PuzzleWriter, str, Dimensions, Word, Layout, random.Random], tuple[Page, str]]] = {
    "syllable_assembly_ordered": PuzzleWriter._assembly,
    "syllable_assembly_shuffled": PuzzleWriter._assembly,
    "syllable_count": PuzzleWriter._count,
    "definition_to_word": PuzzleWriter._definition,
    "word_from_bank": PuzzleWriter._bank,
}
_READ_ONE: dict[str, Callable[[PuzzleWriter, Page], Word | None]] = {
    "syllable_assembly_ordered": PuzzleWriter._read_assembly,
    "syllable_assembly_shuffled": PuzzleWriter._read_assembly,
    "syllable_count": PuzzleWriter._read_count,
    "definition_to_word": PuzzleWriter._read_definition,
    "word_from_bank": PuzzleWriter._read_bank,
}
