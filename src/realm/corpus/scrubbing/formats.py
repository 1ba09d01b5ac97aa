"""Secrets that are known by their form: a prefix, an alphabet, a length, sometimes a checksum.

Written from what providers publish about their tokens. Lengths are lower bounds where a provider has
changed them before, so that the next generation of a token is still found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Proof = Callable[[str], bool]
"""Says of a value whether its checksum holds; one that fails is no secret."""

CERTAIN = 0.98
LIKELY = 0.9
POSSIBLE = 0.6
"""Enough for a person to look, not enough to replace."""


@dataclass(frozen=True)
class Format:
    """One kind of secret. `pattern` is RE2 over bytes; its one group, if it has one, is the secret."""

    kind: str
    pattern: str
    confidence: float = CERTAIN
    proof: Proof | None = None
    confirms: Proof | None = None
    """Where this holds, the value is real, however it looks."""
    bare: bool = True
    """Whether it counts only where it is no part of a longer word."""
    prefix: int = 0
    """Characters at its start that say nothing about chance."""


def by_prefix(
    kind: str,
    prefixes: str,
    tail: str,
    confidence: float = CERTAIN,
    proof: Proof | None = None,
    confirms: Proof | None = None,
) -> Format:
    """Build a format of literal prefixes (apart by blanks) and what follows them."""
    literals = prefixes.split()
    either = "|".join(re.escape(literal) for literal in literals)
    return Format(kind, f"(?:{either}){tail}", confidence, proof, confirms, prefix=max(map(len, literals)))
