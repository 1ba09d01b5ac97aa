"""A score and a confidence for each answer, what was checked, and evaluations that were ended early."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    # Defaults that stay: SQLite can only drop one by copying the table that others refer to.
    op.add_column(
        "evaluations", sa.Column("kind", sa.String(length=64), nullable=False, server_default="level")
    )
    op.add_column("evaluations", sa.Column("score", sa.Double(), nullable=True))
    op.add_column("evaluations", sa.Column("problems", sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "evaluations", sa.Column("verdict", sa.Text(), nullable=False, server_default=sa.text("''"))
    )
    op.execute("UPDATE evaluations SET problems = total")
    op.execute("UPDATE evaluations SET score = CAST(correct AS DOUBLE PRECISION) / total WHERE total > 0")
    op.add_column("problem_results", sa.Column("score", sa.Double(), nullable=False, server_default="0"))
    op.add_column("problem_results", sa.Column("notes", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("problem_results", sa.Column("confidence", sa.Double(), nullable=True))
    op.execute("UPDATE problem_results SET score = 1 WHERE correct")
