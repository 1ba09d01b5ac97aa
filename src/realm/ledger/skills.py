"""Skill states, kept by campaign and skill; their meaning belongs to the skills room."""

from __future__ import annotations

from realm.core.records import Fence
from realm.ledger.database import Database
from realm.ledger.fences import require
from realm.ledger.records import SkillRecord
from realm.ledger.tables import Skill


class Skills:
    """Read and write skill states."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, campaign: str, skill: str) -> SkillRecord | None:
        """Return the state of a skill; None before it was first put."""
        with self._database.reading() as session:
            row = session.get(Skill, (campaign, skill))
            return None if row is None else SkillRecord.model_validate(row, from_attributes=True)

    def put(self, record: SkillRecord, fence: Fence | None = None) -> None:
        """Store the state of a skill in place of the one before. Raises FencedError."""
        with self._database.writing() as session:
            require(session, fence)
            session.merge(Skill(**record.model_dump()))
