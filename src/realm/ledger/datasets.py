"""Datasets: one row for each published dataset."""

from __future__ import annotations

import builtins

from sqlalchemy import select

from realm.core.records import ArtifactKind
from realm.ledger.database import Database
from realm.ledger.lookup import alive, full_hash
from realm.ledger.records import DatasetRecord
from realm.ledger.tables import Dataset
from realm.ledger.tombstones import revive

_ALIVE = alive(ArtifactKind.DATASET, Dataset.hash)


class Datasets:
    """Add and find datasets. One whose deletion has begun is not found any more."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: DatasetRecord) -> DatasetRecord:
        """Add a dataset, or return the stored record of the same bytes unchanged."""
        with self._database.writing() as session:
            revive(session, ArtifactKind.DATASET, record.hash)
            row = session.get(Dataset, record.hash)
            if row is None:
                session.add(Dataset(**record.model_dump()))
                return record
            return _record(row)

    def get(self, content_hash: str) -> DatasetRecord:
        """Return a dataset by its hash or a unique prefix of it. Raises NotFoundError."""
        with self._database.reading() as session:
            return _record(
                session.get_one(Dataset, full_hash(session, Dataset.hash, content_hash, alive=_ALIVE))
            )

    def exists(self, content_hash: str) -> bool:
        """Tell whether there is a dataset with exactly this hash."""
        with self._database.reading() as session:
            return (
                session.scalar(select(Dataset.hash).where(Dataset.hash == content_hash, _ALIVE)) is not None
            )

    def list(self, limit: int | None = None) -> builtins.list[DatasetRecord]:
        """Return datasets, newest first."""
        query = select(Dataset).where(_ALIVE).order_by(Dataset.created_at.desc(), Dataset.hash).limit(limit)
        with self._database.reading() as session:
            return [_record(row) for row in session.scalars(query)]


def _record(row: Dataset) -> DatasetRecord:
    return DatasetRecord.model_validate(row, from_attributes=True)
