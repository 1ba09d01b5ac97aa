"""Duplicates among rows: exact ones at once, near ones when all rows are known.

Two rows are exact duplicates when they teach the same (turns, weights, expected answer), whatever their
tags and origin: the first stays. Near ones are compared within one task and never within one document,
whose rows a shaper made differ on purpose; the better by its quality score, rounded to tenths, stays, of
equals the earlier.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Self

from realm.core.config import Config
from realm.corpus.duplicates.exact import SeenDigests
from realm.corpus.examining.quality import assess
from realm.corpus.shaper import Row
from realm.corpus.texts.wording import answer, content_digest, question, tag

if TYPE_CHECKING:
    from realm.corpus.duplicates.near import Duplicate, NearConfig, Text

EXACT = "exact duplicate"
NEAR = "near duplicate"


class DedupeConfig(Config):
    """Which duplicates go."""

    near: bool | None = None
    """Whether near duplicates go as well as exact ones; null: where rows are checked at depth `deep`."""


class Deduplicator:
    """Take rows one by one; places count from 0 in the order of `add` and `skip`."""

    def __init__(self, *, near: bool, config: NearConfig | None = None, scratch: Path | None = None) -> None:
        """Keep temporary files beneath `scratch`. Raises MissingExtraError where near ones need numpy."""
        self._seen = SeenDigests(scratch)
        self._index = None
        self._places = array("q")
        self._count = 0
        if near:
            from realm.corpus.duplicates.near import NearConfig, NearIndex

            self._index = NearIndex(config or NearConfig(), scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary files."""
        self._seen.close()
        if self._index is not None:
            self._index.close()

    def add(self, row: Row) -> bool:
        """Take the next row and return whether it is no exact duplicate of an earlier one."""
        place = self._count
        self._count += 1
        if not self._seen.first(content_digest(row.example)):
            return False
        if self._index is not None:
            self._index.add(compared(row))
            self._places.append(place)
        return True

    def skip(self) -> None:
        """Pass over a row that is left out anyway, so that no other goes for being like it."""
        self._count += 1

    def near(self) -> list[Duplicate]:
        """Return the near duplicates that go, by place; empty where they are not looked for."""
        if self._index is None:
            return []
        return [
            found._replace(row=self._places[found.row], of=self._places[found.of])
            for found in self._index.duplicates()
        ]


def compared(row: Row) -> Text:
    """Return what of a row tells whether another is near."""
    from realm.corpus.duplicates.near import Text

    return Text(
        question(row.example),
        answer(row.example),
        scope=tag(row, "task"),
        kin=f"{row.origin.source}/{row.document}",
        quality=round(assess(row.example).score, 1),
    )
