"""Deletions: allowed in one transaction that sees every reference, finished when the bytes are gone."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from realm.core.errors import StateError
from realm.core.records import ArtifactKind
from realm.ledger.database import Database
from realm.ledger.lookup import not_found
from realm.ledger.records import TombstoneRecord
from realm.ledger.tables import (
    ChampionRow,
    Checkpoint,
    CollectedItem,
    Collection,
    Dataset,
    Model,
    Promotion,
    Run,
    Tombstone,
)


class Tombstones:
    """Allow, finish and list deletions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_delete(self, kind: ArtifactKind, content_hash: str) -> None:
        """Mark an artifact as being deleted; from now on no query finds it.

        Raises StateError naming what still needs it, NotFoundError when it is unknown. Repeating
        the call for a deletion that has begun changes nothing.
        """
        with self._database.writing() as session:
            if session.get(Tombstone, (kind.value, content_hash)) is not None:
                return
            if not has_row(session, kind, content_hash):
                raise not_found(f"the ledger knows no {kind.value}/{content_hash}", _known(session, kind))
            reason = _needed_by(session, kind, content_hash)
            if reason:
                raise StateError(
                    f"{kind.value}/{content_hash} is not deleted: it is {reason}",
                    hint="end or change what needs it first",
                )
            now = self._database.clock()
            session.add(Tombstone(kind=kind.value, hash=content_hash, begun_at=now, finished_at=None))

    def finish_delete(self, kind: ArtifactKind, content_hash: str) -> None:
        """Note that the bytes are gone. Does nothing when the artifact was published again since."""
        with self._database.writing() as session:
            row = session.get(Tombstone, (kind.value, content_hash))
            if row is not None and row.finished_at is None:
                row.finished_at = self._database.clock()

    def pending(self) -> list[TombstoneRecord]:
        """Return the deletions that have begun and not finished, oldest first."""
        query = select(Tombstone).where(Tombstone.finished_at.is_(None))
        with self._database.reading() as session:
            rows = session.scalars(query.order_by(Tombstone.begun_at, Tombstone.hash))
            return [TombstoneRecord.model_validate(row, from_attributes=True) for row in rows]


def knows(session: Session, kind: ArtifactKind, content_hash: str) -> bool:
    """Tell whether the bytes of an artifact may be there: its row exists, and it is not deleted."""
    row = session.get(Tombstone, (kind.value, content_hash))
    return has_row(session, kind, content_hash) and (row is None or row.finished_at is None)


def revive(session: Session, kind: ArtifactKind, content_hash: str) -> None:
    """Forget a deletion, because the same bytes were published again."""
    row = session.get(Tombstone, (kind.value, content_hash))
    if row is not None:
        session.delete(row)


def has_row(session: Session, kind: ArtifactKind, content_hash: str) -> bool:
    """Tell whether the ledger has a row for an artifact, deleted or not."""
    column = _COLUMNS.get(kind)
    return column is not None and _any(session, column == content_hash)


_COLUMNS = {
    ArtifactKind.DATASET: Dataset.hash,
    ArtifactKind.COLLECTION: Collection.hash,
    ArtifactKind.CHECKPOINT: Checkpoint.hash,
}


def _known(session: Session, kind: ArtifactKind) -> list[str]:
    column = _COLUMNS.get(kind)
    return list(session.scalars(select(column).distinct())) if column is not None else []


def _needed_by(session: Session, kind: ArtifactKind, content_hash: str) -> str:
    if kind is ArtifactKind.DATASET:
        return (
            "the dataset of an open run"
            if _any(session, Run.dataset == content_hash, Run.outcome.is_(None))
            else ""
        )
    if kind is ArtifactKind.COLLECTION:
        current = _any(session, CollectedItem.collection == content_hash)
        return "the newest collection of some items" if current else ""
    if _any(session, ChampionRow.model == Model.name, Model.checkpoint == content_hash):
        return "a champion"
    if content_hash in _rollback_targets(session):
        return "what the champion would be rolled back to"
    if _any(session, Checkpoint.hash == content_hash, Checkpoint.pinned.is_(True)):
        return "pinned"
    if _any(session, Run.start == content_hash, Run.outcome.is_(None)):
        return "the start of an open run"
    for row in session.scalars(select(Checkpoint).where(Checkpoint.hash == content_hash)):
        sound = Checkpoint.damage == ""
        later = sound, Checkpoint.campaign == row.campaign, Checkpoint.sequence > row.sequence
        if not _any(session, *later, Checkpoint.hero == row.hero):
            return f"the latest of {row.hero}"
        if _any(session, Run.id == row.run, Run.outcome.is_(None)) and not _any(
            session, *later, Checkpoint.run == row.run
        ):
            return f"where open run {row.run} goes on"
    return ""


def _rollback_targets(session: Session) -> set[str]:
    """Return the checkpoints of those models that were active before the present champions."""
    targets = set()
    for champion in session.scalars(select(ChampionRow)):
        before = rollback_target(session, champion)
        if before is not None:
            targets.add(session.get_one(Model, before).checkpoint)
    return targets


def rollback_target(session: Session, champion: ChampionRow) -> str | None:
    """Return the model that was active before the champion; None for the first champion."""
    query = select(Promotion.from_model).where(
        Promotion.campaign == champion.campaign,
        Promotion.hero == champion.hero,
        Promotion.outcome == "promoted",
        Promotion.to_model == champion.model,
    )
    return session.scalar(query.order_by(Promotion.id.desc()).limit(1))


def _any(session: Session, *conditions: ColumnElement[bool]) -> bool:
    return bool(session.scalar(select(exists().where(*conditions))))
