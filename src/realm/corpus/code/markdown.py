"""Code blocks of Markdown, each with the heading above it and the prose that leads to it.

Read line by line by the rules of CommonMark for fences and ATX headings; nothing else is needed, and no
text can make it slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import dedent
from typing import NamedTuple

from realm.corpus.code.languages import fenced

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]{0,200})$")
_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.{1,300}?)[ \t]*#*$")
_MARKUP = re.compile(r"\s*(?:<[^\n]*>?\s*$|!\[|\[!|\|)|\s*(?:[-*_] ?){3,}$")
_LINK = re.compile(r"\[([^\]\n]{1,200})\]\([^)\n]{0,500}\)")
_STEP = re.compile(r"\s*[-*+] \[[ xX]\] ")
_PROSE_CHARS = 1_500


class Block(NamedTuple):
    """One fenced code block."""

    language: str | None
    """None where the fence names none that is known."""
    code: str
    heading: str
    """Headings above it, outermost first, joined by ` / `."""
    prose: str
    """Text between it and the block or heading before it; of blocks in a row (the same in several
    languages) that before the first."""
    is_step: bool
    """It stands below a list of things to do, so that it belongs to a state of work that is not shown."""
    first_line: int
    last_line: int


def blocks(text: str) -> Iterator[Block]:
    """Yield the closed, non-empty code blocks of a Markdown text in order."""
    headings: dict[int, str] = {}
    said: list[str] = []
    prose = ""
    is_step = False
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        fence = _FENCE.match(line)
        heading = _HEADING.match(line)
        if fence and not (fence.group(1)[0] == "`" and "`" in fence.group(2)):
            end = _end(lines, at + 1, fence.group(1))
            if end is None:
                return
            code = dedent("\n".join(lines[at + 1 : end]))
            if code.strip():
                language = fenced(fence.group(2))
                prose = _prose(said) or prose
                yield Block(language, code, " / ".join(headings.values()), prose, is_step, at + 1, end + 1)
            said = []
            at = end
        elif heading:
            level = len(heading.group(1))
            headings = {depth: words for depth, words in headings.items() if depth < level}
            headings[level] = _LINK.sub(r"\1", heading.group(2))
            said, prose, is_step = [], "", False
        else:
            said.append(line)
            is_step = is_step or _STEP.match(line) is not None
        at += 1


def _end(lines: list[str], at: int, opening: str) -> int | None:
    """Return the line that closes a fence, or None."""
    for number in range(at, len(lines)):
        line = lines[number].strip()
        if len(line) >= len(opening) and line == opening[0] * len(line):
            return number
    return None


def _prose(said: list[str]) -> str:
    """Return the last paragraphs, as many as are short enough, without tables, tags and pictures."""
    kept = "\n".join("" if _MARKUP.match(line) else _LINK.sub(r"\1", line) for line in said)
    paragraphs = [paragraph.strip() for paragraph in kept.split("\n\n") if paragraph.strip()]
    chosen: list[str] = []
    size = 0
    for paragraph in reversed(paragraphs):
        size += len(paragraph)
        if size > _PROSE_CHARS:
            break
        chosen.append(paragraph)
    return "\n\n".join(reversed(chosen))
