"""Models: registered versions of a hero, its one champion, and every decision of the gate."""

from __future__ import annotations

import builtins
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from realm.core.errors import CorruptError, StateError
from realm.core.records import ArtifactKind, Fence
from realm.ledger.database import Database
from realm.ledger.fences import require
from realm.ledger.lookup import alive, not_found
from realm.ledger.records import Champion, ModelRecord, PromotionRecord
from realm.ledger.tables import ChampionRow, Checkpoint, Model, Promotion
from realm.ledger.tombstones import rollback_target


class Models:
    """Register versions, promote one by compare-and-swap, remember what was refused."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def register(
        self,
        campaign: str,
        hero: str,
        checkpoint_hash: str,
        *,
        scores: dict[str, Any],
        fence: Fence | None,
    ) -> ModelRecord:
        """Give a checkpoint the hero's next version, or return the version that it has.

        Versions count over all campaigns, so that a name means one model. Raises FencedError, and
        NotFoundError when the hero has no such checkpoint.
        """
        with self._database.writing() as session:
            require(session, fence)
            row = session.scalar(
                select(Model).where(
                    Model.campaign == campaign, Model.hero == hero, Model.checkpoint == checkpoint_hash
                )
            )
            if row is None:
                _require_checkpoint(session, campaign, hero, checkpoint_hash)
                newest = session.scalar(select(func.max(Model.version)).where(Model.hero == hero)) or 0
                row = Model(
                    name=f"{hero}-v{newest + 1}",
                    campaign=campaign,
                    hero=hero,
                    version=newest + 1,
                    checkpoint=checkpoint_hash,
                    scores=scores,
                    status="candidate",
                    created_at=self._database.clock(),
                )
                session.add(row)
            return _record(row)

    def get(self, name: str) -> ModelRecord:
        """Return a model by its registered name, such as `dio-v2`. Raises NotFoundError."""
        with self._database.reading() as session:
            return _record(_row(session, name))

    def list(self) -> builtins.list[ModelRecord]:
        """Return all models, by hero and version."""
        with self._database.reading() as session:
            return [
                _record(row) for row in session.scalars(select(Model).order_by(Model.hero, Model.version))
            ]

    def champion(self, campaign: str, hero: str) -> Champion | None:
        """Return the model that answers as this hero, with the revision to promote against."""
        with self._database.reading() as session:
            row = session.get(ChampionRow, (campaign, hero))
            return None if row is None else _champion(session, row)

    def rollback_target(self, campaign: str, hero: str) -> ModelRecord | None:
        """Return the model that was active before the champion; None when there was none."""
        with self._database.reading() as session:
            row = session.get(ChampionRow, (campaign, hero))
            before = None if row is None else rollback_target(session, row)
            return None if before is None else _record(session.get_one(Model, before))

    def promote(
        self, model_name: str, *, expected_revision: int, decision: dict[str, Any], fence: Fence | None
    ) -> Champion:
        """Make a model its hero's champion if the revision is still the expected one.

        The revision is 0 while there is no champion. Raises StateError when it moved or the model
        is champion already, FencedError, NotFoundError.
        """
        with self._database.writing() as session:
            require(session, fence)
            model = _row(session, model_name)
            _require_checkpoint(session, model.campaign, model.hero, model.checkpoint)
            champion = session.get(ChampionRow, (model.campaign, model.hero))
            _compare(champion, model, expected_revision)
            before = None if champion is None else champion.model
            if champion is None:
                champion = ChampionRow(campaign=model.campaign, hero=model.hero, model=model_name, revision=0)
                session.add(champion)
            else:
                session.get_one(Model, champion.model).status = "archived"
            champion.model = model_name
            champion.revision += 1
            model.status = "active"
            self._decide(session, model, "promoted", before, decision)
            session.flush()
            return _champion(session, champion)

    def record_refusal(self, model_name: str, decision: dict[str, Any]) -> PromotionRecord:
        """Remember that the gate refused a model, and why. The champion stays. Raises NotFoundError."""
        with self._database.writing() as session:
            model = _row(session, model_name)
            champion = session.get(ChampionRow, (model.campaign, model.hero))
            before = None if champion is None else champion.model
            row = self._decide(session, model, "refused", before, decision)
            session.flush()
            return PromotionRecord.model_validate(row, from_attributes=True)

    def promotions(self, campaign: str, hero: str) -> builtins.list[PromotionRecord]:
        """Return every decision of the gate on a hero, refusals included, newest first."""
        query = select(Promotion).where(Promotion.campaign == campaign, Promotion.hero == hero)
        with self._database.reading() as session:
            rows = session.scalars(query.order_by(Promotion.id.desc()))
            return [PromotionRecord.model_validate(row, from_attributes=True) for row in rows]

    def _decide(
        self, session: Session, model: Model, outcome: str, before: str | None, decision: dict[str, Any]
    ) -> Promotion:
        row = Promotion(
            campaign=model.campaign,
            hero=model.hero,
            outcome=outcome,
            from_model=before,
            to_model=model.name,
            decision=decision,
            at=self._database.clock(),
        )
        session.add(row)
        return row


def _compare(champion: ChampionRow | None, model: Model, expected_revision: int) -> None:
    revision = 0 if champion is None else champion.revision
    if revision != expected_revision:
        raise StateError(
            f"{model.name} is not promoted: the champion of {model.hero} changed meanwhile "
            f"(revision {revision}, expected {expected_revision})",
            hint="compare the model with the new champion and decide again",
        )
    if champion is not None and champion.model == model.name:
        raise StateError(f"{model.name} is the champion of {model.hero} already")


def _require_checkpoint(session: Session, campaign: str, hero: str, content_hash: str) -> None:
    of_hero = (Checkpoint.campaign == campaign, Checkpoint.hero == hero)
    present = select(Checkpoint.hash).where(*of_hero, alive(ArtifactKind.CHECKPOINT, Checkpoint.hash))
    if session.scalar(present.where(Checkpoint.hash == content_hash)) is None:
        raise not_found(f"{hero} has no checkpoint {content_hash}", session.scalars(present))
    damaged = select(Checkpoint).where(Checkpoint.hash == content_hash, Checkpoint.damage != "")
    row = session.scalars(damaged).first()
    if row is not None:
        raise CorruptError(
            f"{row.name} is damaged: {row.damage}",
            hint="name another: `realm ledger list` marks damaged ones",
        )


def _row(session: Session, name: str) -> Model:
    row = session.get(Model, name)
    if row is None:
        names = session.scalars(select(Model.name).order_by(Model.hero, Model.version.desc()))
        raise not_found(f"no model is called {name!r}", names)
    return row


def _champion(session: Session, row: ChampionRow) -> Champion:
    return Champion(model=_record(session.get_one(Model, row.model)), revision=row.revision)


def _record(row: Model) -> ModelRecord:
    return ModelRecord.model_validate(row, from_attributes=True)
