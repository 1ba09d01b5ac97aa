"""Conventions that were rewritten: the newest version of a subject is taught, older ones are not.

Documents take part that have `subject` and `version` in their fields, as the `documents` source writes
them. A version is a number (seconds, or a count) or a time in ISO 8601; without one `origin.at` counts.
Subjects are told apart within a source, or, where sources share a rig and `across_sources` is set,
within the rig; those of specs and templates within one file, because two specs may well both have an
overview. White space and case make no other subject. Only what is strictly older goes: what was written
at one time stands side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from realm.core.config import Config
from realm.core.records import Record
from realm.core.text import printable
from realm.corpus.document import Document
from realm.corpus.shaper import Row
from realm.corpus.tally import Tally
from realm.corpus.texts.wording import digest, words

if TYPE_CHECKING:
    from realm.corpus.texts.shingles import Numbers

OLDER = "an older version of a convention"


class ResolveConfig(Config):
    """What counts as one subject, and as the same text."""

    across_sources: bool = False
    """Whether sources of one rig speak of the same subjects."""
    own_subjects: tuple[str, ...] = ("spec", "template")
    """Kinds (`convention` of the fields) whose subjects are those of their file alone."""
    same_text: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Jaccard similarity of runs of three words from which on two versions say the same."""


class Superseded(Record):
    """An older version, which is left out."""

    source: str
    document: str
    subject: str
    by: str
    """Id of the newest document of the subject."""


class Reversion(Record):
    """A newest version that says again what an older one said; a person must decide which holds."""

    source: str
    document: str
    subject: str
    like: str
    """Id of the older document that it is like."""
    undone: str
    """Id of the version between them that said otherwise."""
    jaccard: float


class Undated(Record):
    """A subject of which several versions exist and one has no date; a person must decide."""

    subject: str
    documents: tuple[str, ...]


class Resolution(Record):
    """Which conventions are taught."""

    superseded: tuple[Superseded, ...]
    reversions: tuple[Reversion, ...]
    undated: tuple[Undated, ...]
    """Of these nothing is left out."""

    def excluded(self) -> frozenset[tuple[str, str]]:
        """Return source and id of every document that is left out."""
        return frozenset((each.source, each.document) for each in self.superseded)


class _Version(NamedTuple):
    source: str
    document: str
    at: float | None
    digest: bytes
    runs: Numbers


class Resolver:
    """Take all documents in any order, then say which versions hold. Holds runs of conventions only."""

    def __init__(self, config: ResolveConfig) -> None:
        """Raise MissingExtraError without numpy."""
        from realm.corpus.texts.shingles import WordNumbers

        self._config = config
        self._numbers = WordNumbers()
        self._subjects: defaultdict[tuple[str, str], list[_Version]] = defaultdict(list)
        self._shown: dict[tuple[str, str], str] = {}

    def see(self, document: Document) -> None:
        """Look at the next document; those without a subject are left alone."""
        from realm.corpus.texts.shingles import np, runs

        subject = document.fields.get("subject")
        if not isinstance(subject, str) or not subject.strip():
            return
        text = document.text or "\n".join(turn.content for turn in document.messages)
        said = words(text)
        origin = document.origin
        place = origin.rig if self._config.across_sources and origin.rig else origin.source
        if document.fields.get("convention") in self._config.own_subjects:
            place = f"{place}/{origin.path}"
        key = (place, " ".join(subject.casefold().split()))
        self._shown.setdefault(key, printable(subject))
        at = _moment(document.fields.get("version"))
        if at is None and origin.at is not None:
            at = _seconds(origin.at)
        self._subjects[key].append(
            _Version(
                origin.source,
                document.id,
                at,
                digest(" ".join(said)),
                np.unique(runs(self._numbers.of(said), 3)),
            )
        )

    def resolve(self, tally: Tally) -> Resolution:
        """Return what holds; every older version is counted."""
        superseded: list[Superseded] = []
        reversions: list[Reversion] = []
        undated: list[Undated] = []
        for key, versions in sorted(self._subjects.items()):
            subject = self._shown[key]
            if len(versions) > 1 and any(version.at is None for version in versions):
                documents = tuple(sorted(version.document for version in versions))
                undated.append(Undated(subject=subject, documents=documents))
                continue
            last = max(version.at or 0.0 for version in versions)
            older = sorted((each for each in versions if (each.at or 0.0) < last), key=_order)
            newest = sorted((each for each in versions if (each.at or 0.0) == last), key=_order)
            superseded += [_superseded(subject, each, newest[0], tally) for each in older]
            for version in newest:
                reversions += self._reversion(subject, older, version)
        return Resolution(superseded=tuple(superseded), reversions=tuple(reversions), undated=tuple(undated))

    def _reversion(self, subject: str, older: list[_Version], newest: _Version) -> Iterator[Reversion]:
        """Yield the latest older version that the newest is like, where one between said otherwise."""
        undone: _Version | None = None
        for version in reversed(older):
            alike = self._alike(newest, version)
            if alike < self._config.same_text:
                undone = undone or version
            elif undone is not None:
                yield Reversion(
                    source=newest.source,
                    document=newest.document,
                    subject=subject,
                    like=version.document,
                    undone=undone.document,
                    jaccard=round(alike, 4),
                )
                return

    def _alike(self, one: _Version, other: _Version) -> float:
        from realm.corpus.texts.shingles import jaccard

        return 1.0 if one.digest == other.digest else jaccard(one.runs, other.runs)


def _order(version: _Version) -> tuple[float, str, str]:
    return (version.at or 0.0, version.source, version.document)


def _superseded(subject: str, version: _Version, by: _Version, tally: Tally) -> Superseded:
    tally.add(OLDER, f"{version.source}/{version.document}")
    return Superseded(source=version.source, document=version.document, subject=subject, by=by.document)


def is_excluded(row: Row, excluded: frozenset[tuple[str, str]]) -> bool:
    """Return whether a row was made of a document that is left out."""
    return (row.origin.source, row.document) in excluded


def _moment(version: object) -> float | None:
    """Return a version as a number that grows with time, None where it is neither number nor time."""
    if isinstance(version, bool):
        return None
    if isinstance(version, int | float):
        return float(version) if abs(version) < 1e300 else None
    if not isinstance(version, str):
        return None
    try:
        return float(version) if version.strip().isdecimal() and len(version) < 20 else _parsed(version)
    except ValueError:
        return None


def _parsed(version: str) -> float:
    return _seconds(datetime.fromisoformat(version))


def _seconds(at: datetime) -> float:
    """Return seconds since 1970; a time without a zone is in UTC."""
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
