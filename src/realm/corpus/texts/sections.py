"""Markdown cut into sections by its headings, ATX and Setext, outside of fences, comments, front matter."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
_MARKUP = re.compile(r"[*_`]+|\[([^\]\[]{0,200})\]\([^()]{0,500}\)")
_UNSAID = re.compile(r"[^\w]+")
_LONGEST_HEADING = 1_000


class Section(NamedTuple):
    """A heading and what stands under it, up to the next heading of any level."""

    headings: tuple[str, ...]
    """From the outermost to its own; empty before the first heading."""
    first_line: int
    last_line: int
    text: str
    """With its heading line, without blank lines around it."""
    bare: bool
    """Whether there is nothing but the heading."""


class _Heading(NamedTuple):
    level: int
    title: str
    line: int
    lines: int
    """How many lines the heading itself takes."""


def sections(text: str) -> list[Section]:
    """Cut a document into its sections, in order."""
    rows = text.split("\n")
    headings = _headings(rows)
    found: list[Section] = []
    starts = [0, *(heading.line for heading in headings), len(rows)]
    path: list[_Heading] = []
    for index, (start, end) in enumerate(pairwise(starts)):
        own = headings[index - 1] if index else None
        if own:
            path = [*(above for above in path if above.level < own.level), own]
        lines = rows[start:end]
        while lines and not lines[-1].strip():
            lines.pop()
        body = "\n".join(lines[own.lines if own else 0 :]).strip()
        if own or body:
            found.append(
                Section(
                    tuple(heading.title for heading in path),
                    start + 1,
                    max(start + len(lines), start + 1),
                    "\n".join(lines).strip("\n"),
                    not body,
                )
            )
    return found


def subject(headings: tuple[str, ...]) -> str:
    """Return headings in the one form in which the same subject is the same: `testing/unit-tests`."""
    return "/".join(filter(None, (slug(heading) for heading in headings)))


def slug(heading: str) -> str:
    """Return a heading in lower case without markup, signs and emoji, words joined by `-`."""
    plain = _MARKUP.sub(lambda match: match[1] or "", heading[:_LONGEST_HEADING])
    return _UNSAID.sub("-", plain.casefold()).strip("-_")[:120]


def _headings(rows: list[str]) -> list[_Heading]:
    found: list[_Heading] = []
    fence, comment = "", False
    at = _after_front_matter(rows)
    before = at  # a Setext underline belongs to a paragraph that begins after this line
    for number in range(at, len(rows)):
        row = rows[number]
        if comment:
            comment = "-->" not in row
            before = number + 1
            continue
        mark = _FENCE.match(row)
        if fence:
            closes = mark and mark[1].startswith(fence) and not row.strip().strip(fence[0])
            fence = "" if closes else fence
            before = number + 1
            continue
        if mark and not (mark[1][0] == "`" and "`" in row.strip()[len(mark[1]) :]):
            fence, before = mark[1], number + 1
            continue
        if row.lstrip().startswith("<!--"):
            comment, before = "-->" not in row, number + 1
            continue
        heading = _atx(row, number) or _setext(rows, number, before)
        if heading:
            found.append(heading)
        if heading or not row.strip():
            before = number + 1
    return found


def _atx(row: str, number: int) -> _Heading | None:
    match = _ATX.fullmatch(row) if len(row) <= _LONGEST_HEADING else None
    return _Heading(len(match[1]), (match[2] or "").strip(), number, 1) if match else None


def _setext(rows: list[str], number: int, before: int) -> _Heading | None:
    """Take a one-line paragraph with a line of `=` or `-` under it."""
    if number != before + 1 or not _SETEXT.fullmatch(rows[number][:_LONGEST_HEADING]):
        return None
    title = rows[number - 1].strip()
    if not title or title[0] in "-*+>|#" or len(title) > _LONGEST_HEADING:
        return None
    return _Heading(1 if "=" in rows[number] else 2, title, number - 1, 2)


def _after_front_matter(rows: list[str]) -> int:
    if not rows or rows[0].strip() != "---":
        return 0
    for number, row in enumerate(rows[1:200], 1):
        if row.strip() == "---":
            return number + 1
    return 0
