"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

HASH = sa.String(length=71)
MOMENT = sa.String(length=32)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _data()
    _runs()
    _checkpoints()
    _evaluations()
    _models()


def _data() -> None:
    op.create_table(
        "datasets",
        sa.Column("hash", HASH, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("generator", sa.JSON(), nullable=True),
        sa.Column("scrub", sa.JSON(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_datasets")),
    )
    op.create_index(op.f("ix_datasets_created_at"), "datasets", ["created_at"], unique=False)
    op.create_table(
        "skills",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text(), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("campaign", "skill", name=op.f("pk_skills")),
    )
    op.create_table(
        "events",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_events_kind"), "events", ["kind"], unique=False)
    op.create_table(
        "fences",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fences")),
    )
    op.create_table(
        "tombstones",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("hash", HASH, nullable=False),
        sa.Column("begun_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("kind", "hash", name=op.f("pk_tombstones")),
    )


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("hero", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("dataset", HASH, nullable=False),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("spec_hash", HASH, nullable=False),
        sa.Column("steps_total", sa.BigInteger(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("start", HASH, nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.hash"], name=op.f("fk_runs_dataset")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_runs")),
        sa.UniqueConstraint("id", name=op.f("uq_runs_id")),
    )
    op.create_index(op.f("ix_runs_campaign_hero"), "runs", ["campaign", "hero"], unique=False)
    op.create_index(op.f("ix_runs_dataset"), "runs", ["dataset"], unique=False)
    op.create_index(op.f("ix_runs_outcome"), "runs", ["outcome"], unique=False)


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("hero", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", HASH, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.String(length=128), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("hero_step", sa.BigInteger(), nullable=False),
        sa.Column("stats", sa.JSON(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["run"], ["runs.id"], name=op.f("fk_checkpoints_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint(
            "campaign", "hero", "run", "step", "hash", name=op.f("uq_checkpoints_campaign_hero_run_step_hash")
        ),
        sa.UniqueConstraint("campaign", "sequence", name=op.f("uq_checkpoints_campaign_sequence")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_checkpoints_campaign_hero_hero_step"),
        "checkpoints",
        ["campaign", "hero", "hero_step"],
        unique=False,
    )
    op.create_index(
        op.f("ix_checkpoints_campaign_hero_sequence"),
        "checkpoints",
        ["campaign", "hero", "sequence"],
        unique=False,
    )
    op.create_index(op.f("ix_checkpoints_hash"), "checkpoints", ["hash"], unique=False)
    op.create_index(op.f("ix_checkpoints_run"), "checkpoints", ["run"], unique=False)


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("checkpoint", HASH, nullable=False),
        sa.Column("hero_step", sa.BigInteger(), nullable=False),
        sa.Column("suite", sa.Text(), nullable=False),
        sa.Column("skill", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("correct", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("primitives", sa.JSON(), nullable=False),
        sa.Column("loss", sa.Double(), nullable=True),
        sa.Column("context", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("checkpoint", "suite", name=op.f("uq_evaluations_checkpoint_suite")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_evaluations_skill"), "evaluations", ["skill"], unique=False)
    op.create_index(op.f("ix_evaluations_suite"), "evaluations", ["suite"], unique=False)
    op.create_table(
        "problem_results",
        sa.Column("evaluation", NUMBER, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("primitive", sa.Text(), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation"], ["evaluations.id"], name=op.f("fk_problem_results_evaluation")
        ),
        sa.PrimaryKeyConstraint("evaluation", "key", name=op.f("pk_problem_results")),
    )


def _models() -> None:
    op.create_table(
        "models",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("hero", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("checkpoint", HASH, nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("status IN ('candidate', 'active', 'archived')", name=op.f("ck_models_status")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
        sa.UniqueConstraint(
            "campaign", "hero", "checkpoint", name=op.f("uq_models_campaign_hero_checkpoint")
        ),
        sa.UniqueConstraint("hero", "version", name=op.f("uq_models_hero_version")),
    )
    op.create_index(op.f("ix_models_checkpoint"), "models", ["checkpoint"], unique=False)
    op.create_table(
        "champions",
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("hero", sa.Text(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_champions_model")),
        sa.PrimaryKeyConstraint("campaign", "hero", name=op.f("pk_champions")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("hero", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("from_model", sa.String(length=255), nullable=True),
        sa.Column("to_model", sa.String(length=255), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["from_model"], ["models.name"], name=op.f("fk_promotions_from_model")),
        sa.ForeignKeyConstraint(["to_model"], ["models.name"], name=op.f("fk_promotions_to_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promotions_campaign_hero"), "promotions", ["campaign", "hero"], unique=False)
