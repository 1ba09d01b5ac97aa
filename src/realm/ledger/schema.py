"""Bring a database to the schema that this code knows. Alembic is loaded only for that."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from realm.core.errors import StateError
from realm.ledger.database import Database

HEAD = "0004"
"""The newest migration; migrations are numbered `0001`, `0002`, …"""
MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Apply every migration that is missing, in one transaction; processes take turns."""
    with database.explained(), database.engine.connect() as connection:
        if _current(database, connection) == HEAD:
            return
    with database.changing_schema() as connection:
        if _current(database, connection) != HEAD:
            _upgrade(connection)


def _current(database: Database, connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    current = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if current is not None and current > HEAD:
        raise StateError(
            f"{database.place}: written by a newer Realm (schema {current}, this one knows {HEAD})",
            hint="upgrade Realm, or open the backup made before the upgrade",
        )
    return current


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
