"""A score of 0–1 for how much a row is worth training on, as far as its form shows.

    score = Π part_p ^ (weight_p / Σ weight)          over the parts, each of 0–1

so that a row that wholly fails in one of them is worth nothing.

| part | weight | 1 where | 0 where |
|---|---|---|---|
| `substance` | 3 | the answer says something | it is a stub or a placeholder (0.5: a refusal) |
| `variety` | 2 | words and lines differ | one word or line is repeated all over |
| `whole` | 2 | fences and brackets close, code or sentences end | the answer is cut off |
| `clean` | 2 | no damaged or hidden characters | 1 % of the characters are, at least 5 |
| `distinct` | 1 | the answer is not the question again | it is |

Whether an answer is right is not in it. An answer is what is learnt: assistant turns or the text.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from typing import Annotated

from pydantic import Field

from realm.core.records import Example, Record
from realm.corpus.texts.encoding import damage
from realm.corpus.texts.wording import answer, question

Share = Annotated[float, Field(ge=0, le=1)]

WEIGHTS = {"substance": 3.0, "variety": 2.0, "whole": 2.0, "clean": 2.0, "distinct": 1.0}

_LOOKED_AT = 20_000
"""Characters of an answer that are looked at, from its beginning and from its end."""
_STUBS = re.compile(
    r"\A\W*(?:todo|tbd|fixme|n/?a|none|null|undefined|lorem ipsum\b[^\n]{0,200}|\.{3}"
    r"|your (?:answer|code|text) here|insert \w{1,20} here|placeholder|test|asdf\w{0,10}|x{3,20})\W*\Z",
    re.IGNORECASE,
)
_APOLOGY = re.compile(
    r"\A\W*(?:i['’]?m sorry|sorry|i apologi[sz]e|unfortunately|as an ai\b|i (?:can ?not|can['’]t|am unable))"
    r"[^\n]{0,300}(?:language model|can ?not|can['’]t|unable|not able)",
    re.IGNORECASE,
)
_ALNUM = re.compile(r"[^\W_]")
_BRACKETS = {")": "(", "]": "[", "}": "{"}
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_CUT = (",", "(", "[", "{", "=", "+", "\\", ":", " and", " or", " the", " a", " to", " of")


class Quality(Record):
    """A row's score and its parts."""

    score: Share
    substance: Share
    variety: Share
    whole: Share
    clean: Share
    distinct: Share


def assess(example: Example) -> Quality:
    """Score a row. Costs about 40 µs for 1 KB."""
    said, asked = answer(example), question(example)
    shown = said if len(said) <= 2 * _LOOKED_AT else said[:_LOOKED_AT] + said[-_LOOKED_AT:]
    parts = {
        "substance": _substance(shown),
        "variety": _variety(shown),
        "whole": _wholeness(said[-_LOOKED_AT:], cut=len(said) > _LOOKED_AT),
        "clean": _clean(shown),
        "distinct": _distinct(said, asked),
    }
    total = sum(WEIGHTS.values())
    score = math.prod(value ** (WEIGHTS[name] / total) for name, value in parts.items())
    return Quality(score=round(score, 6), **parts)


def _substance(said: str) -> float:
    if not _ALNUM.search(said):
        return 0.0
    if _STUBS.match(said[:400]):
        return 0.0
    return 0.5 if _APOLOGY.match(said[:600]) else 1.0


def _variety(said: str) -> float:
    """Return how little is repeated, by the packed size and the commonest of many lines."""
    if len(said) < 100:
        return 1.0
    data = said.encode("utf-8", "replace")
    packed = len(zlib.compress(data, 1)) / len(data)
    # Prose packs to 0.3–0.6, dense code to 0.2; below 0.1 most of it is one thing again and again.
    by_size = min(1.0, max(0.0, (packed - 0.06) / 0.09))
    lines = [line.strip() for line in said.splitlines() if len(line.strip()) > 3]
    if len(lines) < 8:
        return by_size
    commonest = Counter(lines).most_common(1)[0][1] / len(lines)
    return min(by_size, 1.0 - max(0.0, commonest - 0.3) / 0.7)


def _wholeness(end: str, *, cut: bool) -> float:
    """Return whether fences and brackets close and the last line is no half one."""
    fenced = len(_FENCE.findall(end)) % 2 == 0 or cut
    stripped = end.rstrip()
    half = stripped.lower().endswith(_CUT)
    closed = cut or _open_brackets(end) <= 2
    return (2 * fenced + closed + (not half)) / 4


def _open_brackets(text: str) -> int:
    """Return how many brackets stay open or close nothing; those in strings count too."""
    return sum(abs(text.count(right) - text.count(left)) for right, left in _BRACKETS.items())


def _clean(said: str) -> float:
    # One odd character in a short answer is no sign of a bad row.
    return max(0.0, 1.0 - 100 * sum(damage(said)) / max(len(said), 500))


def _distinct(said: str, asked: str) -> float:
    return 0.0 if len(said) > 20 and said.casefold().split() == asked.casefold().split() else 1.0
