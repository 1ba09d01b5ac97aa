"""The tables. A change here needs a migration; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcText(TypeDecorator[datetime]):
    """An aware moment, stored as ISO 8601 text in UTC with microseconds, so that text sorts by time."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class Base(DeclarativeBase):
    """What all tables share: column types, and names for constraints so that a migration can drop them."""

    type_annotation_map = {  # noqa: RUF012 - read once by the declarative base
        datetime: UtcText,
        dict[str, Any]: JSON(none_as_null=True),
        str: Text(),
    }
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


_ID = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows only in an INTEGER key


class Dataset(Base):
    __tablename__ = "datasets"

    hash: Mapped[str] = mapped_column(String(71), primary_key=True)
    name: Mapped[str]
    spec: Mapped[str]
    rows: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    source: Mapped[str]
    generator: Mapped[dict[str, Any] | None]
    scrub: Mapped[dict[str, Any] | None]
    build: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


class SourceRow(Base):
    __tablename__ = "sources"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64))
    config: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Collection(Base):
    __tablename__ = "collections"

    hash: Mapped[str] = mapped_column(String(71), primary_key=True)
    source: Mapped[str] = mapped_column(ForeignKey("sources.name"), index=True)
    version: Mapped[str]
    documents: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    read_bytes: Mapped[int] = mapped_column(BigInteger)
    left_out: Mapped[list[Any]] = mapped_column(JSON)
    scrub: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class CollectedItem(Base):
    __tablename__ = "collected_items"

    source: Mapped[str] = mapped_column(ForeignKey("sources.name"), primary_key=True)
    item: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True)
    read: Mapped[int] = mapped_column(BigInteger)
    """Documents of the item that were read up to the end of this part."""
    complete: Mapped[bool]
    """Whether all parts of the item are there; the same for each of them."""
    collection: Mapped[str] = mapped_column(ForeignKey("collections.hash"), index=True)


class Run(Base):
    __tablename__ = "runs"
    __table_args__ = (Index(None, "campaign", "hero"),)

    number: Mapped[int] = mapped_column(_ID, primary_key=True)
    """Order of adding."""
    id: Mapped[str] = mapped_column(String(128), unique=True)
    campaign: Mapped[str]
    hero: Mapped[str]
    title: Mapped[str]
    dataset: Mapped[str] = mapped_column(ForeignKey("datasets.hash"), index=True)
    spec: Mapped[dict[str, Any]]
    spec_hash: Mapped[str] = mapped_column(String(71))
    steps_total: Mapped[int | None] = mapped_column(BigInteger)
    step: Mapped[int] = mapped_column(BigInteger)
    start: Mapped[str | None] = mapped_column(String(71))
    outcome: Mapped[str | None] = mapped_column(String(16), index=True)
    reason: Mapped[str]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Checkpoint(Base):
    __tablename__ = "checkpoints"
    __table_args__ = (
        UniqueConstraint("campaign", "sequence"),
        UniqueConstraint("campaign", "hero", "run", "step", "hash"),
        Index(None, "campaign", "hero", "sequence"),
        Index(None, "campaign", "hero", "hero_step"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_ID, primary_key=True)
    campaign: Mapped[str]
    hero: Mapped[str]
    sequence: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str]
    hash: Mapped[str] = mapped_column(String(71), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    run: Mapped[str | None] = mapped_column(ForeignKey("runs.id"), index=True)
    step: Mapped[int] = mapped_column(BigInteger)
    hero_step: Mapped[int] = mapped_column(BigInteger)
    stats: Mapped[dict[str, Any]]
    pinned: Mapped[bool]
    damage: Mapped[str] = mapped_column(server_default=text("''"))
    created_at: Mapped[datetime]


class Evaluation(Base):
    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("checkpoint", "suite"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(_ID, primary_key=True)
    checkpoint: Mapped[str] = mapped_column(String(71))
    hero_step: Mapped[int] = mapped_column(BigInteger)
    suite: Mapped[str] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(64), server_default="level")
    skill: Mapped[str] = mapped_column(index=True)
    level: Mapped[int]
    correct: Mapped[int]
    score: Mapped[float | None]
    total: Mapped[int]
    problems: Mapped[int] = mapped_column(server_default="0")
    verdict: Mapped[str] = mapped_column(server_default=text("''"))
    primitives: Mapped[dict[str, Any]]
    loss: Mapped[float | None]
    context: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Result(Base):
    __tablename__ = "problem_results"

    evaluation: Mapped[int] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    primitive: Mapped[str]
    correct: Mapped[bool]
    score: Mapped[float] = mapped_column(server_default="0")
    answer: Mapped[str]
    notes: Mapped[list[Any]] = mapped_column(JSON, server_default="[]")
    confidence: Mapped[float | None]


class Model(Base):
    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint("hero", "version"),
        UniqueConstraint("campaign", "hero", "checkpoint"),
        CheckConstraint("status IN ('candidate', 'active', 'archived')", name="status"),
    )

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    campaign: Mapped[str]
    hero: Mapped[str]
    version: Mapped[int]
    checkpoint: Mapped[str] = mapped_column(String(71), index=True)
    scores: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]


class ChampionRow(Base):
    __tablename__ = "champions"

    campaign: Mapped[str] = mapped_column(primary_key=True)
    hero: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    revision: Mapped[int]


class Promotion(Base):
    __tablename__ = "promotions"
    __table_args__ = (Index(None, "campaign", "hero"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(_ID, primary_key=True)
    campaign: Mapped[str]
    hero: Mapped[str]
    outcome: Mapped[str] = mapped_column(String(16))
    from_model: Mapped[str | None] = mapped_column(ForeignKey("models.name"))
    to_model: Mapped[str] = mapped_column(ForeignKey("models.name"))
    decision: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class Skill(Base):
    __tablename__ = "skills"

    campaign: Mapped[str] = mapped_column(primary_key=True)
    skill: Mapped[str] = mapped_column(primary_key=True)
    state: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]


class KeptEvent(Base):
    __tablename__ = "events"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_ID, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(64), index=True)
    body: Mapped[str]
    """The event as one JSON line."""


class FenceRow(Base):
    __tablename__ = "fences"

    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class Tombstone(Base):
    __tablename__ = "tombstones"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    hash: Mapped[str] = mapped_column(String(71), primary_key=True)
    begun_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
