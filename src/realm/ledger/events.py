"""Events worth remembering, in the order in which they were kept."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from realm.core import events
from realm.core.events import Event
from realm.ledger.database import Database
from realm.ledger.tables import KeptEvent


class Events:
    """Keep events and read them again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, event: Event) -> int:
        """Keep an event under its own time, or under this moment when it has none. Returns its id."""
        at = datetime.fromisoformat(event.at) if event.at else self._database.clock()
        with self._database.writing() as session:
            row = KeptEvent(at=at, kind=event.kind, body=events.write(event))
            session.add(row)
            session.flush()
            return row.id

    def list(
        self, kinds: Iterable[str] | None = None, after_id: int = 0, limit: int | None = None
    ) -> builtins.list[tuple[int, datetime, Event]]:
        """Return id, time and event, oldest first, of these kinds and with higher ids."""
        query = select(KeptEvent).where(KeptEvent.id > after_id).order_by(KeptEvent.id).limit(limit)
        if kinds is not None:
            query = query.where(KeptEvent.kind.in_(list(kinds)))
        with self._database.reading() as session:
            return [(row.id, row.at, events.read(row.body)) for row in session.scalars(query)]
