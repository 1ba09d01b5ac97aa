"""Stand-ins for what is taken out: typed, and the same for the same value within one unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from realm.corpus.scrubbing.rules import Hit


class Numbers:
    """The numbers of one unit's values, counted from 1 for each kind."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, bytes] = {}
        self._counts: Counter[str] = Counter()

    def stand_in(self, hit: Hit, value: bytes) -> bytes:
        """Return what stands for a value, such as `<SECRET:github_token:1>`."""
        known = self._numbers.get(value)
        if known is None:
            self._counts[hit.kind] += 1
            known = f"<{'PERSON' if hit.personal else 'SECRET'}:{hit.kind}:{self._counts[hit.kind]}>".encode()
            self._numbers[value] = known
        return known


def rewrite(data: bytes, hits: Iterable[Hit], numbers: Numbers) -> bytes:
    """Return the text with stand-ins in place of hits, which are in order and apart."""
    parts, at = [], 0
    for hit in hits:
        parts += [data[at : hit.start], numbers.stand_in(hit, data[hit.start : hit.end])]
        at = hit.end
    return b"".join([*parts, data[at:]])
