"""Marks around contents, by which their turns are found again in what a template writes.

A mark is a character for private use (plane 15) that stands for one edge of one turn's content. Such
characters in the contents themselves are replaced by another one, so that every mark means its turn.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

from realm.models.renderer import Chat, Refusal, Text
from realm.models.shape import Rendered, Span

MOST_TURNS = 0x7FFF
"""Two marks each; there are no more."""
_FIRST_MARK = 0xF0000
_MARKS = re.compile("[\U000f0000-\U000ffffd]")
_NEUTRAL = "\ue000"


class Mark(NamedTuple):
    """One edge of a content, found in a text."""

    place: int
    """In the text without marks."""
    turn: int
    end: bool


class Marked(NamedTuple):
    """What a template wrote around marked contents."""

    text: str
    """Without the marks."""
    marks: tuple[Mark, ...]
    """In the order of the text."""

    def once(self) -> dict[tuple[int, bool], int]:
        """Return by turn and edge where each mark stands that occurs once."""
        places: dict[tuple[int, bool], int | None] = {}
        for place, turn, end in self.marks:
            places[turn, end] = None if (turn, end) in places else place
        return {edge: place for edge, place in places.items() if place is not None}


def read_marks(plain: Text, wrapped: Text) -> Marked | None:
    """Take the marks out of a rendering; None where it is not the plain rendering without them."""
    marks = tuple(
        Mark(found.start() - count, *_meant(ord(found.group()) - _FIRST_MARK))
        for count, found in enumerate(_MARKS.finditer(wrapped.text))
    )
    bare = _MARKS.sub("", wrapped.text)
    return Marked(bare, marks) if bare == _MARKS.sub(_NEUTRAL, plain.text) else None


def by_blocks(chat: Chat, plain: Text, marked: Marked) -> Rendered | Refusal:
    """Take the template's own word for what is trained, and the marks' for whose turn it is.

    A block belongs to the turn whose content it holds. One that holds none, such as an end token or a
    thought on its own, belongs to the block that it touches, else to the turn before it.
    """
    spans: list[Span] = []
    for begin, end in reversed(plain.blocks):
        owners = _inside(marked.marks, begin, end)
        if not owners and spans and spans[-1].begin == end:
            owners = [spans[-1].message]
        owners = owners or _before(marked.marks, begin)
        strangers = [turn for turn in owners if chat[turn].role != "assistant"]
        if strangers or len(owners) != 1:
            held = " and ".join(f"turn {turn + 1} ({chat[turn].role})" for turn in owners)
            what = f"holds {held}" if owners else "stands before every turn"
            return Refusal(f"a generation block {what}, not one turn of the assistant", masking=True)
        if spans and spans[-1].message == owners[0] and spans[-1].begin == end:
            end = spans.pop().end
        spans.append(Span(begin, end, owners[0]))
    return Rendered(plain.text, tuple(reversed(spans)))


def _inside(marks: Sequence[Mark], begin: int, end: int) -> list[int]:
    """Return the turns whose content a block holds an edge of."""
    near = marks[
        bisect_left(marks, begin, key=lambda mark: mark.place) : bisect_right(
            marks, end, key=lambda mark: mark.place
        )
    ]
    return sorted({mark.turn for mark in near if mark.place != (begin if mark.end else end)})


def _before(marks: Sequence[Mark], begin: int) -> list[int]:
    """Return the turn that has ended last before a place; none where none has."""
    for mark in reversed(marks[: bisect_right(marks, begin, key=lambda mark: mark.place)]):
        if mark.end:
            return [mark.turn]
    return []


def _meant(mark: int) -> tuple[int, bool]:
    return mark // 2, bool(mark % 2)


def _mark(index: int, *, end: bool) -> str:
    return chr(_FIRST_MARK + 2 * index + end)


def _outside(index: int, content: str) -> str:
    return _mark(index, end=False) + content + _mark(index, end=True)


def _behind(index: int, content: str) -> str:
    return content + _mark(index, end=True)


def _outside_core(index: int, content: str) -> str:
    core = content.strip()
    head = content[: len(content) - len(content.lstrip())]
    return head + _outside(index, core) + content[len(head) + len(core) :]


def _behind_core(index: int, content: str) -> str:
    core = content.rstrip()
    return _behind(index, core) + content[len(core) :]


def _wrapper(mark: Callable[[int, str], str]) -> Callable[[Chat], list[dict[str, str]]]:
    def wrap(chat: Chat) -> list[dict[str, str]]:
        return [
            {"role": turn.role, "content": mark(index, _MARKS.sub(_NEUTRAL, turn.content))}
            for index, turn in enumerate(chat)
        ]

    return wrap


WRAPS = tuple(_wrapper(mark) for mark in (_outside, _outside_core, _behind, _behind_core))
"""Ways to mark contents; a template that trims or cuts them is disturbed by some and not by others."""
