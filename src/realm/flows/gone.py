"""Which collected items a source holds no longer, told by listing it, without reading it again."""

from __future__ import annotations

from collections.abc import Iterable

from realm.core.errors import DataError, RealmError
from realm.core.records import Name, Record
from realm.core.text import printable
from realm.corpus.source import SOURCES, UNREADABLE_FOLDER, Item, Source
from realm.corpus.tally import Tally
from realm.flows.collect import stored_name
from realm.flows.context import Lab
from realm.ledger.records import SourceRecord

_REASON_CHARS = 300


class Doubt(Record):
    """A source of which nothing is taken for gone, because it cannot be told now."""

    source: Name
    reason: str


class Gone(Record):
    """What of a source is gone."""

    items: frozenset[str] = frozenset()
    """As they are called where they are stored."""
    doubt: Doubt | None = None
    """Why nothing is taken for gone; None where that is certain."""


def gone_from(lab: Lab, record: SourceRecord) -> Gone:
    """List a source and return which of its collected items are there no more.

    Nothing is, with the reason in `doubt`, where the source or a folder in it cannot be read, and where
    items beside the missing ones wait to be collected: these may be the same, moved.
    """
    tally = Tally()
    try:
        source = SOURCES.build(record.config)
        listed = {stored_name(item): item for item in source.items(tally)}
    except RealmError as error:
        return _doubtful(record, f"it cannot be listed now: {error.what}")
    except OSError as error:
        return _doubtful(record, f"it cannot be listed now: {error.strerror}")
    known = lab.ledger.sources.items(record.name)
    missing = frozenset(known.keys() - listed.keys())
    if not missing:
        return Gone()
    unread = next((each for each in tally.reasons() if each.reason == UNREADABLE_FOLDER), None)
    if unread:
        return _doubtful(record, f"{UNREADABLE_FOLDER}: {', '.join(unread.examples)}")
    if _waits(source, [item for name, item in listed.items() if name not in known]):
        return _doubtful(record, "what is missing may have moved; collect what is new first")
    return Gone(items=missing)


def _doubtful(record: SourceRecord, reason: str) -> Gone:
    return Gone(doubt=Doubt(source=record.name, reason=printable(reason, _REASON_CHARS)))


def _waits(source: Source, items: Iterable[Item]) -> bool:
    """Return whether any of these items may still be collected, other than those unfit for it."""
    return any(not _is_unfit(source, item) for item in items)


def _is_unfit(source: Source, item: Item) -> bool:
    """Return whether an item is one that collections pass over time and again."""
    try:
        for _ in source.read(item, Tally()):
            pass
    except DataError:
        return True
    except (RealmError, OSError):  # ends a collection: what is behind it waits as well
        return False
    return False
