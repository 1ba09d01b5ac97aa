"""Characters that show that a text was damaged or is dressed up."""

from __future__ import annotations

import re
from typing import NamedTuple

_REPLACED = "\ufffd"
_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NONCHARACTERS = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_HIDDEN = re.compile("[\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff\U000e0000-\U000e007f]")
# UTF-8 read as Windows-1252 or Latin-1: a lead byte's letter before a continuation byte's sign.
_MISREAD = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]|\u00e2\u20ac[\u0080-\uffff]")


class Damage(NamedTuple):
    """How many characters of each kind a text has."""

    surrogates: int
    """Halves of pairs; such a text cannot be written as UTF-8."""
    controls: int
    noncharacters: int
    replaced: int
    """U+FFFD: what stood there is lost."""
    hidden: int
    """Bidi overrides, zero-width spaces, tag characters: what is read is not what is seen."""
    misread: int
    """Signs of UTF-8 that was read as another encoding, such as `Ã©`."""


UNHURT = Damage(0, 0, 0, 0, 0, 0)


def damage(text: str) -> Damage:
    """Count damaged and hidden characters."""
    if text.isascii():
        return Damage(0, len(_CONTROLS.findall(text)), 0, 0, 0, 0)
    return Damage(
        surrogates=len(_SURROGATES.findall(text)),
        controls=len(_CONTROLS.findall(text)),
        noncharacters=len(_NONCHARACTERS.findall(text)),
        replaced=text.count(_REPLACED),
        hidden=len(_HIDDEN.findall(text)),
        misread=len(_MISREAD.findall(text)),
    )
