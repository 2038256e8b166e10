"""Bring a database to the tables of this version, at start; several replicas may try at once."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import URL, Connection, inspect, text

from api.storage.database import WRITES, Database, telling

FOLDER = Path(__file__).with_name("migrations")
VERSIONS = "alembic_version"
LOCK_NUMBER = 0x5E7A_0001
"""Of PostgreSQL's advisory lock; any number that nobody else uses."""


async def has_tables(database: Database) -> bool:
    """Whether it is one of ours, of whichever version; asking makes nothing.

    Raises:
        StorageError: the database cannot be used.
    """
    if _is_missing_file(database.engine.url):
        return False  # connecting would make it
    with telling():
        async with database.engine.connect() as connection:
            return await connection.run_sync(lambda known: inspect(known).has_table(VERSIONS))


def _is_missing_file(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file()


async def migrate(database: Database) -> None:
    """Apply what is missing, in one transaction.

    Raises:
        StorageError: the database cannot be used.
    """
    writer = database.engine.execution_options(**{WRITES: True})
    with telling():
        async with writer.begin() as connection:
            await connection.run_sync(upgrade)


def upgrade(connection: Connection) -> None:
    """Alembic's `upgrade heads` on this connection."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})"))
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "heads")
