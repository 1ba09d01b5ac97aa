"""Pairs of a question and an answer made of one unit, one function of this module a type.

Fill-in-the-middle is a chat: the code with whole statements taken out and `<GAP>` in their place, and as
the answer exactly their lines. No sentinel tokens are used, so it needs no tokenizer that knows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import NamedTuple

from realm.core.seeds import rng
from realm.corpus.code.languages import LANGUAGES
from realm.corpus.code.markdown import Block
from realm.corpus.code.names import Call
from realm.corpus.code.parts import Rows
from realm.corpus.code.units import Unit
from realm.corpus.code.wording import question

GAP = "<GAP>"
_FEWEST_BODY_LINES = 3
_GAP_WORDS = 2
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
    """Ask for whole statements that are taken out together, at most half of the body.

    The answer is a part of a program, so its fence names no language that it would have to parse in.
    """
    lines = unit.text.split("\n")
    worth = (line for line in lines[unit.body_at :] if _WORD.search(line))
    if len(list(islice(worth, _FEWEST_BODY_LINES))) < _FEWEST_BODY_LINES:
        return
    draw = rng("code/fill_in", place.source, place.path, unit.first_line)
    for turn, (first, last) in enumerate(islice(_gaps(unit, lines, draw), count)):
        margin = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        shown = "\n".join([*lines[:first], margin + GAP, *lines[last + 1 :]])
        asked = _ask("fill_in", turn, unit, place, gap=GAP, code=code(shown, unit.language))
        yield Pair("fill_in", asked, code("\n".join(lines[first : last + 1]), ""))


def _gaps(unit: Unit, lines: list[str], draw: Random) -> Iterator[Rows]:
    """Yield runs of neighbours, in drawn order, that say enough and are short enough to be told."""
    most = max(1, int((len(lines) - unit.body_at) * _LARGEST_GAP))
    starts = [(group, at) for group in unit.parts for at in range(len(group))]
    given: set[Rows] = set()
    for group, at in draw.sample(starts, len(starts)):
        first = group[at][0]
        gaps = [
            (first, last)
            for _, last in group[at:]
            if last - first < most and _says_enough(lines[first : last + 1])
        ]
        gap = draw.choice(gaps) if gaps else None
        if gap is not None and gap not in given:
            given.add(gap)
            yield gap


def _says_enough(lines: list[str]) -> bool:
    return len(_WORD.findall(" ".join(lines))) >= _GAP_WORDS


def usage(unit: Unit, place: Place, call: Call) -> Pair:
    """Ask for an example of something that the unit calls."""
    asked = _ask("usage", 0, unit, place, call=call.shown)
    return Pair("usage", _with_context(asked, unit, place), code(unit.text, unit.language))


def find_definition(unit: Unit, place: Place, callee: Unit, other: str, call: Call) -> Pair:
    """Ask for the definition that a call needs."""
    asked = _ask(
        "find_definition", 0, unit, place, call=call.shown, other=other,
        code=code(unit.text, unit.language), signature=code(callee.signature, callee.language),
    )  # fmt: skip
    if callee.doc:
        asked = f"{asked}\n\nIts documentation:\n\n{callee.doc}"
    return Pair("cross_file", asked, code(callee.text, callee.language))


def use_definition(unit: Unit, place: Place, callee: Unit, other: str, call: Call) -> Pair:
    """Ask for a function that calls what is defined in another file."""
    asked = _ask(
        "use_definition", 0, unit, place, call=call.shown, other=other,
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
    longest = max(map(len, _FENCE.findall(text)), default=2) if "```" in text else 2
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
