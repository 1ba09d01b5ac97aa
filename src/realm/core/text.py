"""Text made fit to show, in messages, logs and on a terminal: foreign text, and names that exist."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Collection
from itertools import islice

_NAME_LIMIT = 200
"""Characters of a wanted name that are compared; a file may hold longer ones."""
_BLANKS = frozenset("\t\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029")


def printable(text: str, limit: int = 120) -> str:
    """Return text on one line, without control and bidi characters, cut to `limit` characters.

    Line ends and tabs become spaces. Every other character of Unicode's class C goes: controls,
    format characters (bidi marks and overrides, zero-width ones), lone surrogates, private use
    and unassigned ones. A cut text ends in `…`, which counts.
    """
    shown = (" " if char in _BLANKS else char for char in text)
    kept = "".join(islice((c for c in shown if unicodedata.category(c)[0] != "C"), limit + 1))
    return kept if len(kept) <= limit else kept[: max(limit - 1, 0)] + "…"[:limit]


def there_are(names: Collection[str], wanted: str) -> str:
    """Write which names there are, and before them the one that was probably meant."""
    near = difflib.get_close_matches(wanted[:_NAME_LIMIT], names, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}there are: {', '.join(names) or 'none'}"
