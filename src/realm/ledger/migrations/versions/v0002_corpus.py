"""Sources, collections and what datasets are built of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

HASH = sa.String(length=71)
NAME = sa.String(length=128)
MOMENT = sa.String(length=32)


def upgrade() -> None:
    op.add_column("datasets", sa.Column("build", sa.JSON(), nullable=True))
    op.create_table(
        "sources",
        sa.Column("name", NAME, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sources")),
    )
    op.create_table(
        "collections",
        sa.Column("hash", HASH, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("documents", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("read_bytes", sa.BigInteger(), nullable=False),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sa.Column("scrub", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["source"], ["sources.name"], name=op.f("fk_collections_source_sources")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_collections")),
    )
    op.create_index(op.f("ix_collections_source"), "collections", ["source"], unique=False)
    op.create_table(
        "collected_items",
        sa.Column("source", NAME, nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("read", sa.BigInteger(), nullable=False),
        sa.Column("complete", sa.Boolean(), nullable=False),
        sa.Column("collection", HASH, nullable=False),
        sa.ForeignKeyConstraint(
            ["collection"], ["collections.hash"], name=op.f("fk_collected_items_collection_collections")
        ),
        sa.ForeignKeyConstraint(["source"], ["sources.name"], name=op.f("fk_collected_items_source_sources")),
        sa.PrimaryKeyConstraint("source", "item", "fingerprint", "part", name=op.f("pk_collected_items")),
    )
    op.create_index(op.f("ix_collected_items_collection"), "collected_items", ["collection"], unique=False)
