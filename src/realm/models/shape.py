"""What a template writes around contents, learnt once for each sequence of roles.

A shape is read off a plain probe, and believed only where it gives a ragged probe and some real chats
as the template does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from realm.core.records import Message
from realm.models.renderer import Chat, Refusal

Roles = tuple[str, ...]


class Span(NamedTuple):
    """Trained characters of a rendered chat, and the turn they belong to."""

    begin: int
    end: int
    message: int
    """Index of the turn."""


class Rendered(NamedTuple):
    """One chat as text."""

    text: str
    spans: tuple[Span, ...]


class Shape(NamedTuple):
    """What a template writes around the contents of chats with the same sequence of roles."""

    glue: tuple[str, ...]
    """Before the first content, between contents, and behind the last one."""
    edges: tuple[Callable[[str], str], ...]
    """How each content is trimmed."""
    spans: tuple[Span, ...]
    """`begin` counts in the glue before the turn's content, `end` in the glue behind it."""

    def text(self, chat: Chat) -> str:
        """Write a chat of this shape."""
        contents = [edge(turn.content) for edge, turn in zip(self.edges, chat, strict=True)]
        return (
            "".join([part for pair in zip(self.glue, contents, strict=False) for part in pair])
            + self.glue[-1]
        )

    def rendered(self, chat: Chat) -> Rendered:
        """Write a chat of this shape and place its spans."""
        glue_at, place = [], 0
        for glue, edge, turn in zip(self.glue, self.edges, chat, strict=False):
            glue_at.append(place)
            place += len(glue) + len(edge(turn.content))
        glue_at.append(place)
        spans = [
            Span(glue_at[s.message] + s.begin, glue_at[s.message + 1] + s.end, s.message) for s in self.spans
        ]
        return Rendered(self.text(chat), tuple(spans))


def _whole(text: str) -> str:
    return text


def _without_lines(text: str) -> str:
    return text.strip("\n")


def _without_first_lines(text: str) -> str:
    return text.lstrip("\n")


_EDGES: tuple[Callable[[str], str], ...] = (
    _whole,
    str.strip,
    str.lstrip,
    str.rstrip,
    _without_lines,
    _without_first_lines,
)
RAGGED = "\n \n"
"""Blanks around a probe's content; every way of trimming makes something else of them."""


def probe(kind: Roles, blanks: str) -> Chat:
    """Return a chat of these roles whose contents stand for all others, between blanks."""
    return [
        Message.model_validate({"role": role, "content": f"{blanks}Zq{index:05d}é <&>'\" Xy{blanks}"})
        for index, role in enumerate(kind)
    ]


def shape_of(chats: Sequence[Chat], found: Sequence[Rendered | Refusal]) -> Shape | None:
    """Return the shape of a plain probe if it holds for the ragged one and for the real chats too."""
    plain, ragged = found[:2]
    if isinstance(plain, Refusal) or isinstance(ragged, Refusal):
        return None
    glue = _glue(plain.text, [turn.content for turn in chats[0]])
    if glue is None:
        return None
    edges = _edges(ragged.text, glue, [turn.content for turn in chats[1]])
    if edges is None:
        return None
    spans = _relative(plain, glue, [turn.content for turn in chats[0]])
    if spans is None:
        return None
    shape = Shape(glue, edges, spans)
    return (
        shape if all(shape.rendered(chat) == text for chat, text in zip(chats, found, strict=True)) else None
    )


def _glue(text: str, contents: Sequence[str]) -> tuple[str, ...] | None:
    glue, place = [], 0
    for content in contents:
        found = text.find(content, place)
        if found < 0 or text.count(content) != 1:
            return None
        glue.append(text[place:found])
        place = found + len(content)
    return (*glue, text[place:])


def _edges(
    text: str, glue: Sequence[str], contents: Sequence[str]
) -> tuple[Callable[[str], str], ...] | None:
    if not text.startswith(glue[0]):
        return None
    chosen, place = [], len(glue[0])
    for content, behind in zip(contents, glue[1:], strict=True):
        fitting = [edge for edge in _EDGES if text.startswith(edge(content) + behind, place)]
        if not fitting:
            return None
        chosen.append(fitting[0])
        place += len(fitting[0](content)) + len(behind)
    return tuple(chosen) if place == len(text) else None


def _relative(plain: Rendered, glue: Sequence[str], contents: Sequence[str]) -> tuple[Span, ...] | None:
    """Count spans from the glue around their turns; None where one reaches into other turns."""
    result, place = [], 0
    glue_at = []
    for text, content in zip(glue, contents, strict=False):
        glue_at.append(place)
        place += len(text) + len(content)
    glue_at.append(place)
    for span in plain.spans:
        begin, end = span.begin - glue_at[span.message], span.end - glue_at[span.message + 1]
        if not (0 <= begin <= len(glue[span.message]) and 0 <= end <= len(glue[span.message + 1])):
            return None
        result.append(Span(begin, end, span.message))
    return tuple(result)
