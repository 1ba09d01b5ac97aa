"""Checkpoints: one row for each saved state, numbered within its campaign."""

from __future__ import annotations

import builtins
import logging
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from realm.core.clock import stamp
from realm.core.records import ArtifactKind, Fence
from realm.ledger.database import Database
from realm.ledger.fences import require
from realm.ledger.lookup import alive, full_hash, not_found
from realm.ledger.records import CheckpointRecord, NewCheckpoint
from realm.ledger.tables import Checkpoint, Run
from realm.ledger.tombstones import revive

log = logging.getLogger(__name__)

_ALIVE = alive(ArtifactKind.CHECKPOINT, Checkpoint.hash)
_SOUND = Checkpoint.damage == ""


class Checkpoints:
    """Add and find checkpoints. One whose deletion has begun is not found any more.

    One whose bytes are damaged is found by its name and in lists, and never offered as the latest or best.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def name_for(self, hero_step: int, at: datetime) -> str:
        """Return the canonical name, `checkpoint-{hero_step}-{YYYYMMDD}-{HHMM}` in UTC."""
        return f"checkpoint-{hero_step}-{stamp(at)}"

    def next_sequence(self, campaign: str) -> int:
        """Return the number that the next checkpoint of a campaign gets if nobody comes before it."""
        with self._database.reading() as session:
            return _next_sequence(session, campaign)

    def add(self, new: NewCheckpoint, fence: Fence | None) -> CheckpointRecord:
        """Add a checkpoint, or return the stored one of the same run, step and bytes.

        Raises FencedError; NotFoundError when the run is unknown.
        """
        with self._database.writing() as session:
            require(session, fence)
            revive(session, ArtifactKind.CHECKPOINT, new.hash)
            row = session.scalar(_same(new)) or self._insert(session, new)
            _mark(session, new.hash, "")
            session.refresh(row)
            return _record(row)

    def _insert(self, session: Session, new: NewCheckpoint) -> Checkpoint:
        if new.run is not None and session.scalar(select(Run.id).where(Run.id == new.run)) is None:
            raise not_found(f"no run is called {new.run!r}", session.scalars(select(Run.id)))
        created_at = new.created_at or self._database.clock()
        sequence = _next_sequence(session, new.campaign)
        name = self.name_for(new.hero_step, created_at)
        if new.sequence not in (None, sequence):
            log.warning(
                "%s is number %d of %s; its sidecar says %s", name, sequence, new.campaign, new.sequence
            )
        fields = new.model_dump(exclude={"sequence", "created_at"})
        row = Checkpoint(**fields, name=name, sequence=sequence, created_at=created_at)
        session.add(row)
        session.flush()
        return row

    def mark_damaged(self, content_hash: str, damage: str) -> None:
        """Note what is wrong with the bytes of a checkpoint (full hash), in every row that names them."""
        with self._database.writing() as session:
            _mark(session, content_hash, damage)

    def mark_sound(self, content_hash: str) -> None:
        """Note that the bytes of a checkpoint (full hash) are whole again."""
        with self._database.writing() as session:
            _mark(session, content_hash, "")

    def get(self, reference: str | int) -> CheckpointRecord:
        """Return a checkpoint by its row number, or by its hash or a unique prefix of it.

        Where several rows name the same bytes, the newest. Raises NotFoundError.
        """
        with self._database.reading() as session:
            query = select(Checkpoint).where(_ALIVE)
            if isinstance(reference, int):
                row = session.scalar(query.where(Checkpoint.id == reference))
                if row is None:
                    raise not_found(f"no checkpoint has the id {reference}", _ids(session))
                return _record(row)
            content = full_hash(session, Checkpoint.hash, reference, alive=_ALIVE)
            return _record(
                session.scalars(
                    query.where(Checkpoint.hash == content).order_by(Checkpoint.id.desc())
                ).first()
            )

    def list(self, campaign: str, hero: str, limit: int | None = None) -> builtins.list[CheckpointRecord]:
        """Return the newest checkpoints of a hero, damaged ones too, in the order of their sequence."""
        query = _of(campaign, hero).order_by(Checkpoint.sequence.desc()).limit(limit)
        with self._database.reading() as session:
            return [_record(row) for row in session.scalars(query)][::-1]

    def of_run(self, run: str) -> builtins.list[CheckpointRecord]:
        """Return the sound checkpoints that a run saved, in the order of their sequence."""
        query = select(Checkpoint).where(_ALIVE, _SOUND, Checkpoint.run == run).order_by(Checkpoint.sequence)
        with self._database.reading() as session:
            return [_record(row) for row in session.scalars(query)]

    def count(self, campaign: str, hero: str) -> int:
        """Return how many checkpoints a hero has."""
        with self._database.reading() as session:
            found = session.scalar(select(func.count()).select_from(_of(campaign, hero).subquery()))
        return found or 0

    def latest(self, campaign: str, hero: str) -> CheckpointRecord | None:
        """Return the hero's sound checkpoint with the highest sequence."""
        return self._newest(_of(campaign, hero).where(_SOUND))

    def latest_of_run(self, run: str) -> CheckpointRecord | None:
        """Return the run's sound checkpoint with the highest sequence."""
        return self._newest(select(Checkpoint).where(_ALIVE, _SOUND, Checkpoint.run == run))

    def by_step(self, campaign: str, hero: str, hero_step: int) -> CheckpointRecord | None:
        """Return the hero's checkpoint at this step of its life; of several, the newest sound one.

        Where all of them are damaged, the newest.
        """
        found = _of(campaign, hero).where(Checkpoint.hero_step == hero_step)
        return self._newest(found, _SOUND.desc())

    def base(self, campaign: str, hero: str) -> CheckpointRecord | None:
        """Return the hero as it was before its first step."""
        return self.by_step(campaign, hero, 0)

    def lowest(self, campaign: str, hero: str, loss: str) -> CheckpointRecord | None:
        """Return the hero's sound checkpoint with the lowest of a figure at saving; of equals, the newest.

        None when no checkpoint has it.
        """
        value = Checkpoint.stats[loss].as_float()
        return self._newest(_of(campaign, hero).where(_SOUND, value.is_not(None)), value.asc())

    def _newest(self, query: Select[Checkpoint], *order: Any) -> CheckpointRecord | None:
        with self._database.reading() as session:
            row = session.scalars(query.order_by(*order, Checkpoint.sequence.desc()).limit(1)).first()
            return None if row is None else _record(row)


def _of(campaign: str, hero: str) -> Select[Checkpoint]:
    return select(Checkpoint).where(_ALIVE, Checkpoint.campaign == campaign, Checkpoint.hero == hero)


def _same(new: NewCheckpoint) -> Select[Checkpoint]:
    run = Checkpoint.run.is_(None) if new.run is None else Checkpoint.run == new.run
    query = select(Checkpoint).where(run, Checkpoint.step == new.step, Checkpoint.hash == new.hash)
    return query.where(Checkpoint.campaign == new.campaign, Checkpoint.hero == new.hero)


def _mark(session: Session, content_hash: str, damage: str) -> None:
    session.execute(update(Checkpoint).where(Checkpoint.hash == content_hash).values(damage=damage))


def _next_sequence(session: Session, campaign: str) -> int:
    highest = session.scalar(select(func.max(Checkpoint.sequence)).where(Checkpoint.campaign == campaign))
    return (highest or 0) + 1


def _ids(session: Session) -> builtins.list[str]:
    return [str(number) for number in session.scalars(select(Checkpoint.id).where(_ALIVE))]


def _record(row: Checkpoint | None) -> CheckpointRecord:
    return CheckpointRecord.model_validate(row, from_attributes=True)
