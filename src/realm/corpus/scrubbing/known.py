"""Judge what has the form of a known secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from realm.corpus.scrubbing import infrastructure, services
from realm.corpus.scrubbing.chance import is_marker, is_sequence, is_stand_in
from realm.corpus.scrubbing.formats import POSSIBLE, Format
from realm.corpus.scrubbing.rules import Hit, Match, Rule, text_of

FORMATS: tuple[Format, ...] = (
    *infrastructure.VERSION_CONTROL,
    *infrastructure.CLOUD,
    *infrastructure.CHAT,
    *services.MONEY,
    *services.MAIL,
    *services.MODELS,
    *services.MONITORING,
    *services.REGISTRIES,
    *services.OPERATIONS,
    *services.SOFTWARE,
    *services.KEYS,
)

_EDGE = r"(?:^|[^A-Za-z0-9]|\\[nrtbf]|%[0-9A-Fa-f]{2})"
"""What may stand before a value: RE2 has no look-behind, so that it belongs to the match."""
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_BLOB = re.compile(rb"[A-Za-z0-9+/]{12,}$")
_BLOB_BYTES = 24
_SHORT = 3
"""A prefix that is also an abbreviation in code (`s.`, `sk`): a value without a digit is a name."""
_LONG = 30
_TELLING = 3
"""Characters of a prefix that are rare enough to look for without its edge, which costs a state machine."""
_GROUP = re.compile(r"(?<!\\)\((?!\?)")


def rules() -> Iterator[Rule]:
    """Yield one rule a format."""
    for form in FORMATS:
        pattern = form.pattern if _GROUP.search(form.pattern) else f"({form.pattern})"
        edge = _EDGE if form.bare else ""
        sign = pattern if form.prefix >= _TELLING else ""
        yield Rule(form.kind, edge + pattern, partial(_judge, form), sign=sign, literal=bool(sign))


def _judge(form: Format, data: bytes, match: Match) -> Iterator[Hit]:
    start, end = match.start(1), match.end(1)
    if form.bare and (_goes_on(data, end) or _in_blob(data, start)):
        return
    value = text_of(data, start, end)
    if form.proof is not None and not form.proof(value):
        return
    tail = value[form.prefix :]
    if (form.prefix < _SHORT and len(tail) < _LONG and not any(map(str.isdigit, tail))) or _is_cut(data, end):
        return
    confidence = form.confidence
    confirmed = form.confirms is not None and form.confirms(value)
    if form.bare and not confirmed and is_stand_in(tail):
        counted = is_sequence(tail) and form.prefix >= _TELLING and not is_marker(tail.lstrip("0123456789"))
        if not counted and (is_marker(value) or not (is_sequence(tail) or _is_one_letter(tail))):
            return
        confidence = min(confidence, POSSIBLE)
    yield Hit(form.kind, start, end, confidence)


def _is_name(tail: str) -> bool:
    return len(tail) < _LONG and not any(map(str.isdigit, tail))


def _is_cut(data: bytes, end: int) -> bool:
    """Tell whether only the beginning of a value is shown."""
    return data[end : end + 3] == b"..." or data[end : end + 3] == "…".encode()


def _is_one_letter(tail: str) -> bool:
    """`AKIAZZZZ…` may be someone's test account; a row of x, a or 0 is a blank to fill in."""
    return len({*tail}) == 1 and tail[0] not in "xXaA0*"


def _goes_on(data: bytes, end: int) -> bool:
    return end < len(data) and data[end] in _WORD and data[end - 1] in _WORD


def _in_blob(data: bytes, start: int) -> bool:
    """Tell whether this is the inside of encoded bytes, in which any short prefix turns up by chance."""
    if start == 0 or data[start - 1] not in b"+/":
        return False
    before = _BLOB.search(data[max(0, start - _BLOB_BYTES) : start])
    return before is not None and before[0].lower() != before[0]
