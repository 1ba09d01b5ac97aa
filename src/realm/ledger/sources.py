"""Sources, and what was collected from them: one row an item, pointing at its newest collection."""

from __future__ import annotations

import builtins
from collections.abc import Mapping

from sqlalchemy import select

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
        """Add a collection and point its items at it, all at once."""
        with self._database.writing() as session:
            revive(session, ArtifactKind.COLLECTION, record.hash)
            if session.get(Collection, record.hash) is None:
                session.add(Collection(**{**record.model_dump(), "left_out": list(record.left_out)}))
                session.flush()
            for item, fingerprint in fingerprints.items():
                session.merge(
                    CollectedItem(
                        source=record.source, item=item, fingerprint=fingerprint, collection=record.hash
                    )
                )
        return record

    def items(self, source: str) -> dict[str, CollectedRecord]:
        """Return what was collected of a source, by item."""
        query = select(CollectedItem).where(CollectedItem.source == source)
        with self._database.reading() as session:
            return {
                row.item: CollectedRecord.model_validate(row, from_attributes=True)
                for row in session.scalars(query)
            }

    def collections(self, source: str | None = None) -> builtins.list[CollectionRecord]:
        """Return collections, of one source or all, oldest first."""
        query = select(Collection).where(_ALIVE).order_by(Collection.created_at, Collection.hash)
        if source is not None:
            query = query.where(Collection.source == source)
        with self._database.reading() as session:
            return [
                CollectionRecord.model_validate(row, from_attributes=True) for row in session.scalars(query)
            ]
