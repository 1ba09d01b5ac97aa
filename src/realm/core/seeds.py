"""Randomness by hash: a random choice depends only on what it is for.

`seed("bin/train", version, split, index)` never collides with a neighbour's, which
`seed + index` does. No module of Realm draws from global random state.
"""

from __future__ import annotations

import hashlib
import random

from realm.core.hashing import canonical_json

Part = str | int | float | bool | None


def seed(purpose: str, *parts: Part) -> int:
    """Return a 63-bit seed for this purpose and these ids."""
    text = canonical_json([purpose, *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(purpose: str, *parts: Part) -> random.Random:
    """Return a generator of its own for this purpose and these ids."""
    return random.Random(seed(purpose, *parts))  # noqa: S311 - not for secrets


def fraction(purpose: str, *parts: Part) -> float:
    """Return a number in [0, 1) that depends on the arguments alone."""
    return seed(purpose, *parts) / 2**63
