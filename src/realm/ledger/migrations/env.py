"""Run migrations on the connection that the ledger hands in, within its transaction."""

from __future__ import annotations

from alembic import context

from realm.ledger.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller has begun the one transaction there is
)
context.run_migrations()
