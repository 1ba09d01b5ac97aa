"""Runs: what was planned, how far it came, how it ended."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from realm.core.errors import StateError
from realm.core.records import Fence, Sha256
from realm.ledger.database import Database
from realm.ledger.fences import require
from realm.ledger.lookup import not_found
from realm.ledger.records import RunOutcome, RunRecord
from realm.ledger.tables import Dataset, Run

_IDENTITY = ("campaign", "hero", "dataset", "spec_hash")


class Runs:
    """Add, find, advance and end runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: RunRecord) -> RunRecord:
        """Add a run, or return the stored one when this plan is stored under its id already.

        Raises StateError when another plan has the id, NotFoundError when the dataset is unknown.
        """
        with self._database.writing() as session:
            row = session.scalar(select(Run).where(Run.id == record.id))
            if row is not None:
                stored = _record(row)
                if any(getattr(stored, name) != getattr(record, name) for name in _IDENTITY):
                    raise StateError(
                        f"{record.id}: another run has this id", hint="plan it under the next id"
                    )
                return stored
            if session.get(Dataset, record.dataset) is None:
                raise not_found(f"no dataset {record.dataset}", session.scalars(select(Dataset.hash)))
            session.add(Run(**record.model_dump()))
            return record

    def get(self, run: str) -> RunRecord:
        """Return a run. Raises NotFoundError."""
        with self._database.reading() as session:
            return _record(_row(session, run))

    def list(self, limit: int | None = None) -> builtins.list[RunRecord]:
        """Return runs, newest first."""
        with self._database.reading() as session:
            return [
                _record(row) for row in session.scalars(select(Run).order_by(Run.number.desc()).limit(limit))
            ]

    def open(self) -> builtins.list[RunRecord]:
        """Return the runs without an outcome, oldest first."""
        query = select(Run).where(Run.outcome.is_(None)).order_by(Run.number)
        with self._database.reading() as session:
            return [_record(row) for row in session.scalars(query)]

    def update(
        self,
        run: str,
        *,
        fence: Fence | None,
        step: int | None = None,
        steps_total: int | None = None,
        started_at: datetime | None = None,
        start: str | None = None,
    ) -> RunRecord:
        """Set what is given on an open run. Raises FencedError, and StateError when it has ended."""
        changes = {"step": step, "steps_total": steps_total, "started_at": started_at, "start": start}
        with self._database.writing() as session:
            require(session, fence)
            row = _row(session, run)
            if row.outcome is not None:
                raise StateError(f"{run} has ended: {row.outcome}", hint="plan a new run on its dataset")
            for name, value in changes.items():
                if value is not None:
                    setattr(row, name, value)
            return _record(row)

    def replan(self, run: str, spec: Mapping[str, Any], spec_hash: Sha256, fence: Fence | None) -> RunRecord:
        """Give an open run that nobody works on another plan. Raises StateError when it has ended."""
        with self._database.writing() as session:
            require(session, fence)
            row = _row(session, run)
            if row.outcome is not None:
                raise StateError(f"{run} has ended: {row.outcome}", hint="plan a new run on its dataset")
            row.spec, row.spec_hash = dict(spec), spec_hash
            return _record(row)

    def end(self, run: str, outcome: RunOutcome, reason: str, fence: Fence | None) -> RunRecord:
        """End a run. Ending it again in the same way changes nothing; in another way is a StateError."""
        with self._database.writing() as session:
            require(session, fence)
            row = _row(session, run)
            if row.outcome not in (None, outcome):
                raise StateError(
                    f"{run} has ended already: {row.outcome}", hint="plan a new run on its dataset"
                )
            if row.outcome is None:
                row.outcome, row.reason, row.ended_at = outcome, reason, self._database.clock()
            return _record(row)

    def reopen(self, run: str, fence: Fence | None) -> RunRecord:
        """Open a failed or dropped run again for another try; the reason it ended with is kept."""
        with self._database.writing() as session:
            require(session, fence)
            row = _row(session, run)
            if row.outcome not in (None, "failed", "dropped"):
                raise StateError(
                    f"{run} is {row.outcome}", hint="only failed and dropped runs are tried again"
                )
            row.outcome = row.ended_at = None
            return _record(row)


def _row(session: Session, run: str) -> Run:
    row = session.scalar(select(Run).where(Run.id == run))
    if row is None:
        raise not_found(
            f"no run is called {run!r}", session.scalars(select(Run.id).order_by(Run.number.desc()))
        )
    return row


def _record(row: Run) -> RunRecord:
    return RunRecord.model_validate(row, from_attributes=True)
