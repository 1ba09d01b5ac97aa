"""How an answer is compared with the right one.

| grading | right is |
|---|---|
| `exact` | the same text, character by character |
| `case` | the same text, whichever its case and white space |
| `number` | the same number, as integer or decimal: `7`, `+7`, `7.0` |
| `list` | the same items in the same order, apart by commas, semicolons or line ends |
| `set` | the same items in any order, none twice |

White space at the ends never counts. The whole answer is compared: a text that contains the right
answer is wrong. A `list` or `set` that is right in part scores the share that is, below 1.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Literal

Grading = Literal["exact", "case", "number", "list", "set"]

_LONGEST = 10_000
"""Characters of an answer that are read, where the right one is not longer itself."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(\.[0-9]{1,100})?")
_APART = re.compile(r"[,;\n]")


def grade(grading: Grading, expected: str, answer: str) -> float:
    """Return 1.0 for a right answer, less for another. Takes time for a bounded part of it."""
    if len(answer) > _LONGEST + 2 * len(expected):
        return 0.0
    given, right = answer.strip(), expected.strip()
    if grading == "exact":
        return float(given == right)
    if grading == "case":
        return float(folded(given) == folded(right))
    if grading == "number":
        number = number_of(given)
        return float(number is not None and number == number_of(right))
    return _shared(items(right), items(given), ordered=grading == "list")


def folded(text: str) -> str:
    """Return a text in one case, with single spaces."""
    return " ".join(text.casefold().split())


def number_of(text: str) -> Decimal | None:
    """Return the number that a text is; None for any other text."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def items(text: str) -> list[str]:
    """Return the items of a written list, in one case; an empty text has none."""
    return [folded(item) for item in _APART.split(text)] if text else []


def _shared(right: list[str], given: list[str], *, ordered: bool) -> float:
    if ordered:
        if given == right:
            return 1.0
        equal = sum(a == b for a, b in zip(right, given, strict=False))
        return min(equal / max(len(right), len(given)), 0.99)
    if len(given) == len(set(given)) and set(given) == set(right):
        return 1.0
    both = set(right) & set(given)
    return min(len(both) / max(len(set(right) | set(given)), len(given)), 0.99)
