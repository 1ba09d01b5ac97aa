"""Pairs of a question and an answer made of one unit, one function of this module a type.

Fill-in-the-middle is a chat: the code with whole lines taken out and `<GAP>` in their place, and as the
answer exactly these lines. No sentinel tokens are used, so it needs no tokenizer that knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from realm.core.seeds import rng
from realm.corpus.code.languages import LANGUAGES
from realm.corpus.code.markdown import Block
from realm.corpus.code.units import Unit
from realm.corpus.code.wording import question

GAP = "<GAP>"
_FEWEST_BODY_LINES = 3
_LARGEST_GAP = 0.5
_EXPLAIN_WORDS = 6
_PROSE_WORDS = 5
_WORD = re.compile(r"[^\W\d_]{2,}")
_FENCE = re.compile(r"`{3,}")


class Place(NamedTuple):
    """Where a unit stands."""

    source: str
    path: str
    context: str = ""
    """Code above the unit in its file that is no function: imports, types, fields."""


class Pair(NamedTuple):
    """One question and its answer."""

    task: str
    question: str
    answer: str


def doc_to_body(unit: Unit, place: Place, count: int) -> Iterator[Pair]:
    """Ask for the code that a doc comment describes."""
    if not unit.doc:
        return
    kind = "doc_to_body" if unit.is_function else "section_doc_to_body"
    for turn in range(count):
        asked = _ask(kind, turn, unit, place, doc=unit.doc)
        yield Pair("doc_to_body", _with_context(asked, unit, place), code(unit.text, unit.language))


def signature_to_body(unit: Unit, place: Place, count: int) -> Iterator[Pair]:
    """Ask for the function that a signature begins."""
    if not unit.is_function:
        return
    for turn in range(count):
        asked = _ask("signature_to_body", turn, unit, place, signature=code(unit.signature, unit.language))
        yield Pair("signature_to_body", _with_context(asked, unit, place), code(unit.text, unit.language))


def explain(unit: Unit, place: Place, count: int) -> Iterator[Pair]:
    """Ask what code does, answered by its doc comment, which the code is shown without."""
    if not unit.is_function or len(_WORD.findall(unit.doc)) < _EXPLAIN_WORDS:
        return
    for turn in range(count):
        yield Pair(
            "explain", _ask("explain", turn, unit, place, code=code(unit.docless, unit.language)), unit.doc
        )


def fill_in(unit: Unit, place: Place, count: int) -> Iterator[Pair]:
    """Ask for whole lines of the body that are taken out, at most half of it."""
    lines = unit.text.split("\n")
    body = (
        range(unit.body_at + 1, len(lines))
        if unit.language not in ("python", "gdscript")
        else range(max(unit.body_at, 1), len(lines))
    )
    worth = [number for number in body if _WORD.search(lines[number])]
    if len(worth) < _FEWEST_BODY_LINES:
        return
    taken: set[tuple[int, int]] = set()
    for turn in range(count):
        draw = rng("code/fill_in", place.source, place.path, unit.first_line, turn)
        first = draw.choice(worth)
        within = [
            number for number in worth if first <= number < first + max(1, int(len(body) * _LARGEST_GAP))
        ]
        last = draw.choice(within)
        if (first, last) in taken:
            continue
        taken.add((first, last))
        margin = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        shown = "\n".join([*lines[:first], margin + GAP, *lines[last + 1 :]])
        asked = _ask("fill_in", turn, unit, place, gap=GAP, code=code(shown, unit.language))
        yield Pair("fill_in", asked, code("\n".join(lines[first : last + 1]), unit.language))


def usage(unit: Unit, place: Place, call: str) -> Pair:
    """Ask for an example of something that the unit calls."""
    return Pair("usage", _ask("usage", 0, unit, place, call=call), code(unit.text, unit.language))


def find_definition(unit: Unit, place: Place, callee: Unit, call: str) -> Pair:
    """Ask for the definition that a call needs."""
    asked = _ask("find_definition", 0, unit, place, call=call, code=code(unit.text, unit.language))
    return Pair("cross_file", asked, code(callee.text, callee.language))


def use_definition(unit: Unit, place: Place, callee: Unit, other: str, call: str) -> Pair:
    """Ask for a function that calls what is defined in another file."""
    asked = _ask(
        "use_definition", 0, unit, place, call=call, other=other,
        definition=code(callee.text, callee.language), signature=code(unit.signature, unit.language),
    )  # fmt: skip
    return Pair("cross_file", _with_context(asked, unit, place), code(unit.text, unit.language))


def from_header(unit: Unit, place: Place, prototype: str, doc: str, other: str) -> Pair:
    """Ask for the function that a header of another file declares and documents."""
    asked = _ask(
        "from_header", 0, unit, place, other=other, doc=doc, signature=code(prototype, unit.language)
    )
    return Pair("cross_file", asked, code(unit.text, unit.language))


def manual(block: Block, language: str, source: str, path: str) -> Pair | None:
    """Ask for the code block that a heading and its prose lead to; None without either."""
    if not block.heading or len(_WORD.findall(block.prose)) < _PROSE_WORDS:
        return None
    asked = question(
        "markdown", 0, (source, path, block.first_line),
        heading=block.heading, prose=block.prose, language=LANGUAGES[language].shown,
    )  # fmt: skip
    return Pair("markdown", asked, code(block.code, language))


def code(text: str, language: str) -> str:
    """Return text as a code block, fenced by more backticks than it holds."""
    longest = max((len(found) for found in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _ask(kind: str, turn: int, unit: Unit, place: Place, **words: str) -> str:
    return question(
        kind, turn, (place.source, place.path, unit.first_line),
        name=unit.name, path=place.path, language=LANGUAGES[unit.language].shown, **words,
    )  # fmt: skip


def _with_context(asked: str, unit: Unit, place: Place) -> str:
    if not place.context:
        return asked
    return f"{asked}\n\nThe file has above it:\n\n{code(place.context, unit.language)}"
