"""The name of a problem that is known by its words alone, and the side that it falls on."""

from __future__ import annotations

import re
import unicodedata

from realm.core.errors import UsageError
from realm.core.hashing import PREFIX, hash_json
from realm.skills.skill import Side

_DIGITS = 32
_KEY = re.compile(r"[0-9a-f]{32}")


def normalised(prompt: str) -> str:
    """Return a prompt without what does not change the question: Unicode NFKC, case, white space."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def key_of(domain: str, prompt: str) -> str:
    """Return a problem's key, 32 hex digits of a hash over the skill's id and the normalised prompt."""
    return hash_json([domain, normalised(prompt)]).removeprefix(PREFIX)[:_DIGITS]


def side_of(key: str, share: float) -> Side:
    """Return the side of a key, where `share` of all are held out. Raises UsageError for another text."""
    if not _KEY.fullmatch(key):
        raise UsageError(f"{key[:80]!r} is no problem of this skill", hint="a key is 32 hex digits")
    return "heldout" if int(key[:8], 16) < share * 2**32 else "train"
