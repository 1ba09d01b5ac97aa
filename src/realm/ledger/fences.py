"""Fences: a number that grows with each holder, checked inside every write that carries one."""

from __future__ import annotations

from sqlalchemy.orm import Session

from realm.core.errors import FencedError
from realm.core.records import Fence
from realm.ledger.database import Database
from realm.ledger.tables import FenceRow


class Fences:
    """Hand out and check fences."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, name: str) -> Fence:
        """Become the holder of a name; every earlier holder's writes are refused from now on."""
        with self._database.writing() as session:
            row = session.get(FenceRow, name)
            if row is None:
                row = FenceRow(name=name, number=0)
                session.add(row)
            row.number += 1
            return Fence(name=name, number=row.number)

    def check(self, fence: Fence) -> None:
        """Raise FencedError when somebody took the name since."""
        with self._database.reading() as session:
            require(session, fence)


def require(session: Session, fence: Fence | None) -> None:
    """Check a fence within the transaction that is about to write. None passes."""
    if fence is None:
        return
    row = session.get(FenceRow, fence.name)
    number = row.number if row is not None else 0
    if number != fence.number:
        raise FencedError(
            f"{fence.name}: a newer holder took over (number {number}, this one has {fence.number})",
            hint="stop this process; the newer holder goes on with the work",
        )
