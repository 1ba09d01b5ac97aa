"""What is wrong with a checkpoint's bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("checkpoints", sa.Column("damage", sa.Text(), nullable=False, server_default=sa.text("''")))
