"""The words that puzzles are made of, each with its syllables, rarity and clues.

A lexicon is a JSONL file, one word a line:
`{"word":"harbor","syllables":["har","bor"],"rarity":1,"clues":{"definition":"…","synonym":"port",…}}`.
One of our own ships with the package; another may be given by path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from realm.core.config import first_problem
from realm.core.errors import DataError
from realm.core.records import Record
from realm.skills.files import open_file

ClueKind = Literal["definition", "synonym", "hypernym", "example", "domain", "antonym", "etymology"]

SHIPPED = Path(__file__).with_name("lexicon.jsonl")
MAX_WORDS = 200_000
MAX_LINE_BYTES = 4096
LEAST_CLUES = 3
"""Clue kinds that a word has at least; one of them is its definition."""

_TOKEN = re.compile(r"[a-z]+")


class Word(Record):
    """One word of a lexicon."""

    word: Annotated[str, Field(pattern=r"^[a-z]{2,32}$")]
    syllables: Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    rarity: Annotated[int, Field(ge=1, le=5)]
    """1 everyday, 2 common, 3 known to adults, 4 uncommon, 5 rare."""
    clues: Annotated[
        dict[ClueKind, Annotated[str, Field(pattern=r"^[A-Za-z0-9 ,.;'!()-]{2,100}$")]],
        Field(min_length=LEAST_CLUES),
    ]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if "" in self.syllables or "".join(self.syllables) != self.word:
            raise ValueError("the syllables do not join to the word")
        if "definition" not in self.clues:
            raise ValueError("a definition is missing")
        for kind, clue in self.clues.items():
            if gives_away(self.word, clue):
                raise ValueError(f"the {kind} gives the word away")
        return self


def gives_away(word: str, clue: str) -> bool:
    """Say whether a clue has the word in it, or a word that begins like it."""
    stem = word[: max(4, len(word) - 2)]
    return any(token.startswith(stem) or word in token for token in _TOKEN.findall(clue.lower()))


class Lexicon:
    """Words in the order of their file, found by name."""

    def __init__(self, words: tuple[Word, ...]) -> None:
        self.words = words
        self.by_name = {word.word: word for word in words}
        self.syllables = tuple(sorted({syllable for word in words for syllable in word.syllables}))


@cache
def lexicon(path: Path | None = None) -> Lexicon:
    """Read a lexicon, the shipped one if no path is given.

    Raises NotFoundError, and DataError for what is no regular file, a line that is no word, a word that
    stands there twice and a definition that two words share.
    """
    source = path or SHIPPED
    words: dict[str, Word] = {}
    definitions: dict[str, str] = {}
    for number, word in _read(source):
        if word.word in words:
            raise DataError(f"{word.word!r} stands here again", file=str(source), line=number)
        other = definitions.setdefault(word.clues["definition"], word.word)
        if other != word.word:
            raise DataError(f"{word.word!r} is defined like {other!r}", file=str(source), line=number)
        words[word.word] = word
    return Lexicon(tuple(words.values()))


def _read(path: Path) -> Iterator[tuple[int, Word]]:
    with open_file(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                raise DataError(f"longer than {MAX_LINE_BYTES} bytes", file=str(path), line=number)
            if number > MAX_WORDS:
                raise DataError(f"more than {MAX_WORDS} words", file=str(path), line=number)
            try:
                yield number, Word.model_validate_json(line)
            except ValidationError as error:
                raise DataError(first_problem(error, "the line"), file=str(path), line=number) from None
