"""The ledger: one database, one subject a property.

    ledger = Ledger.open(home / ".realm" / "ledger.db")
    fence = ledger.fences.take("run/run-0001")
    ledger.checkpoints.add(new, fence)

Covered: threads and processes at once, a kill at any moment, a power cut on a local disk, a
stale writer that carries a fence. Not covered: SQLite on a network filesystem.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from realm.core.clock import Clock, utc_now
from realm.core.records import ArtifactKind
from realm.ledger import schema, tombstones
from realm.ledger.checkpoints import Checkpoints
from realm.ledger.database import Database
from realm.ledger.datasets import Datasets
from realm.ledger.evaluations import Evaluations
from realm.ledger.events import Events
from realm.ledger.fences import Fences
from realm.ledger.models import Models
from realm.ledger.runs import Runs
from realm.ledger.skills import Skills
from realm.ledger.sources import Sources
from realm.ledger.tombstones import Tombstones


class Ledger:
    """What is true in one lab."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.fences = Fences(database)
        self.sources = Sources(database)
        self.datasets = Datasets(database)
        self.runs = Runs(database)
        self.checkpoints = Checkpoints(database)
        self.evaluations = Evaluations(database)
        self.models = Models(database)
        self.skills = Skills(database)
        self.events = Events(database)
        self.tombstones = Tombstones(database)

    @classmethod
    def open(cls, path_or_url: Path | str, *, clock: Clock = utc_now) -> Self:
        """Open a ledger by its file or database URL, creating or upgrading its tables if needed.

        Raises StorageError when the disk refuses, CorruptError when the file is no database,
        StateError when a newer Realm wrote it.
        """
        database = Database(path_or_url, clock)
        try:
            schema.migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def knows(self, kind: ArtifactKind, content_hash: str) -> bool:
        """Tell whether the ledger accounts for an artifact, one with a begun deletion included."""
        with self._database.reading() as session:
            return tombstones.knows(session, kind, content_hash)
