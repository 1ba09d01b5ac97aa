"""Sources, and what was collected from them: each item points at the collections that hold it now."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from itertools import groupby

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from realm.core.errors import StateError
from realm.core.records import ArtifactKind
from realm.ledger.database import Database
from realm.ledger.lookup import alive, not_found
from realm.ledger.records import CollectedRecord, CollectionRecord, SourceRecord
from realm.ledger.tables import CollectedItem, Collection, SourceRow
from realm.ledger.tombstones import revive

_ALIVE = alive(ArtifactKind.COLLECTION, Collection.hash)


class Sources:
    """Add and find sources, collections and the items they hold."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: SourceRecord) -> SourceRecord:
        """Add a source, or give the one of that name and kind the new config.

        Raises StateError for a name that another kind of source bears.
        """
        with self._database.writing() as session:
            row = session.get(SourceRow, record.name)
            if row is None:
                session.add(SourceRow(**record.model_dump()))
                return record
            if row.kind != record.kind:
                raise StateError(
                    f"source {record.name} is of kind {row.kind}, not {record.kind}",
                    hint="give the new one another name",
                )
            row.config = record.config
            return SourceRecord.model_validate(row, from_attributes=True)

    def get(self, name: str) -> SourceRecord:
        """Return a source by its name. Raises NotFoundError."""
        with self._database.reading() as session:
            row = session.get(SourceRow, name)
            if row is None:
                known = list(session.scalars(select(SourceRow.name)))
                raise not_found(f"no source is called {name!r}", known)
            return SourceRecord.model_validate(row, from_attributes=True)

    def list(self) -> builtins.list[SourceRecord]:
        """Return all sources by name."""
        with self._database.reading() as session:
            rows = session.scalars(select(SourceRow).order_by(SourceRow.name))
            return [SourceRecord.model_validate(row, from_attributes=True) for row in rows]

    def add_collection(self, record: CollectionRecord, fingerprints: Mapping[str, str]) -> CollectionRecord:
        """Add a collection of whole items and point these at it alone, all at once."""
        with self._database.writing() as session:
            _add(session, record)
            for item, fingerprint in fingerprints.items():
                session.execute(delete(CollectedItem).where(*_item(record.source, item)))
                session.add(_part(record, item, fingerprint, part=0, complete=True))
        return record

    def add_part(
        self, record: CollectionRecord, item: str, fingerprint: str, *, read: int, last: bool
    ) -> CollectionRecord:
        """Add a collection with the next part of a large item, all at once.

        `read` is how many documents of the item were read so far. Until the last part is there the item is
        what it was before; parts of another fingerprint that were never finished are forgotten.
        """
        whole = _item(record.source, item)
        own = (*whole, CollectedItem.fingerprint == fingerprint)
        with self._database.writing() as session:
            _add(session, record)
            stale = (*whole, CollectedItem.fingerprint != fingerprint)
            unfinished = () if last else (CollectedItem.complete.is_(False),)
            session.execute(delete(CollectedItem).where(*stale, *unfinished))
            part = session.scalar(select(func.count()).select_from(CollectedItem).where(*own)) or 0
            session.add(_part(record, item, fingerprint, part=part, read=read))
            if last:
                session.flush()
                session.execute(update(CollectedItem).where(*own).values(complete=True))
        return record

    def extend(self, record: CollectionRecord, items: Iterable[str]) -> CollectionRecord:
        """Add a collection of further documents of collected items: each points at it as well, all at once.

        Items that are not collected, or point at it already, are left alone.
        """
        with self._database.writing() as session:
            _add(session, record)
            for item in items:
                own = (*_item(record.source, item), CollectedItem.complete.is_(True))
                query = select(CollectedItem).where(*own).order_by(CollectedItem.part)
                parts = list(session.scalars(query))
                if parts and all(part.collection != record.hash for part in parts):
                    last = parts[-1]
                    added = _part(record, item, last.fingerprint, part=last.part + 1, complete=True)
                    session.add(added)
        return record

    def items(self, source: str) -> dict[str, CollectedRecord]:
        """Return what was collected of a source, by item; items of which parts are missing are not there."""
        query = (
            select(CollectedItem)
            .where(CollectedItem.source == source, CollectedItem.complete.is_(True))
            .order_by(CollectedItem.item, CollectedItem.part)
        )
        with self._database.reading() as session:
            rows = session.scalars(query).all()
        return {item: _record(list(parts)) for item, parts in groupby(rows, key=lambda row: row.item)}

    def begun(self, source: str, item: str, fingerprint: str) -> CollectedRecord | None:
        """Return the parts of an unfinished item that are there already, None where there are none."""
        own = (*_item(source, item), CollectedItem.fingerprint == fingerprint)
        with self._database.reading() as session:
            rows = session.scalars(select(CollectedItem).where(*own).order_by(CollectedItem.part)).all()
        return _record(list(rows)) if rows else None

    def collections(self, source: str | None = None) -> builtins.list[CollectionRecord]:
        """Return collections, of one source or all, oldest first."""
        query = select(Collection).where(_ALIVE).order_by(Collection.created_at, Collection.hash)
        if source is not None:
            query = query.where(Collection.source == source)
        with self._database.reading() as session:
            return [
                CollectionRecord.model_validate(row, from_attributes=True) for row in session.scalars(query)
            ]


def _add(session: Session, record: CollectionRecord) -> None:
    revive(session, ArtifactKind.COLLECTION, record.hash)
    if session.get(Collection, record.hash) is None:
        session.add(Collection(**{**record.model_dump(), "left_out": list(record.left_out)}))
        session.flush()


def _item(source: str, item: str) -> tuple[ColumnElement[bool], ...]:
    return (CollectedItem.source == source, CollectedItem.item == item)


def _part(
    record: CollectionRecord, item: str, fingerprint: str, *, part: int, read: int = 0, complete: bool = False
) -> CollectedItem:
    return CollectedItem(
        source=record.source,
        item=item,
        fingerprint=fingerprint,
        part=part,
        read=read,
        complete=complete,
        collection=record.hash,
    )


def _record(parts: builtins.list[CollectedItem]) -> CollectedRecord:
    return CollectedRecord(
        item=parts[0].item,
        fingerprint=parts[0].fingerprint,
        collections=tuple(part.collection for part in parts),
        read=max(part.read for part in parts),
    )
