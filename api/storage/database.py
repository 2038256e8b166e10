"""The database: SQLite in a file by default, or PostgreSQL.

SQLite runs in WAL with `synchronous=FULL`: a commit is on the disk before it is acknowledged, and
readers never wait for the writer. Its one writer at a time is kept by a lock within the process
(in order of arrival) and by the busy timeout between processes; a writing transaction begins as
one (`BEGIN IMMEDIATE`), so it can never fail half-way for want of the lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, event, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from api.storage.errors import FAULTS, first_paragraph, from_fault
from engine.errors import SetupError

BUSY_TIMEOUT_S = 10.0
POOL_SIZE = 8
MAX_OVERFLOW = 8
POOL_TIMEOUT_S = 10.0
WRITES = "servax_writes"
SNAPSHOT = {"isolation_level": "REPEATABLE READ"}

PRAGMAS = (
    f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
"""Schemes that an operator may write, and what they mean to SQLAlchemy."""

Result = TypeVar("Result")

log = logging.getLogger("servax.storage")


class Database:
    """Transactions over one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._writer = asyncio.Lock()
        # PostgreSQL's default is a moment a statement.
        reader = engine if self._is_sqlite else engine.execution_options(**SNAPSHOT)
        self._reading = async_sessionmaker(reader, expire_on_commit=False)
        writer = engine.execution_options(**{WRITES: True})
        self._writing = async_sessionmaker(writer, expire_on_commit=False)

    @classmethod
    def open(cls, url: str) -> Database:
        """A database that connects when it is first used.

        Raises:
            SetupError: the URL cannot be one of ours.
        """
        return cls(make_engine(url))

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncSession]:
        """One snapshot.

        Raises:
            StorageError: the database cannot be used.
        """
        with telling():
            async with self._reading() as session:
                await uninterrupted(session.connection())
                yield session

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncSession]:
        """One transaction: committed, and on the disk, when the block ends well.

        Raises:
            StorageError: the database cannot be used; nothing was written, or (a connection that
                broke during the commit) all of it.
            IntegrityError: what the block wrote breaks a constraint; nothing was written.
        """
        with telling():
            turn = self._writer if self._is_sqlite else nullcontext()
            async with turn, self._writing.begin() as session:
                await uninterrupted(session.connection())
                yield session

    async def close(self) -> None:
        """Let go of all connections."""
        await self.engine.dispose()


@contextmanager
def telling(*foreseen: type[BaseException]) -> Generator[None]:
    """Exceptions of drivers, disks and blob stores as ours, with a line in the log unless they are
    `foreseen`."""
    try:
        yield
    except IntegrityError:
        raise
    except FAULTS as fault:
        if not isinstance(fault, foreseen):
            log.error("storage: %s", first_paragraph(fault))
        raise from_fault(fault) from fault


def sqlite_url(folder: Path) -> str:
    """The URL of the database in a data folder."""
    return f"sqlite:///{folder / 'servax.db'}"


def make_engine(url: str) -> AsyncEngine:
    """SQLAlchemy's engine for an operator's URL. Raises SetupError."""
    try:
        given = make_url(url)
    except ArgumentError:
        raise SetupError("--database-url: not a URL such as postgresql://user@host/name.") from None
    if given.drivername not in DRIVERS:
        raise SetupError(
            f"--database-url: {given.drivername} is not supported; postgresql and sqlite are."
        )
    target = given.set(drivername=DRIVERS[given.drivername])
    is_sqlite = target.drivername.startswith("sqlite")
    engine = create_async_engine(
        target,
        pool_size=POOL_SIZE,
        max_overflow=MAX_OVERFLOW,
        pool_timeout=POOL_TIMEOUT_S,
        pool_pre_ping=not is_sqlite,
        hide_parameters=True,  # what users say stays out of errors, and so out of the log
    )
    if is_sqlite:
        _make_strict(engine)
    return engine


async def uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Wait for `work` to end even when this task is cancelled meanwhile: a connection that is given
    up half-made would leave its thread behind."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _make_strict(engine: AsyncEngine) -> None:
    """SQLite as the module docstring says."""

    def on_connect(connection: Any, record: Any) -> None:
        # The driver would begin transactions by itself, and only before some statements.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    def on_invalidate(connection: Any, record: Any, error: BaseException | None) -> None:
        # A cancelled statement that a traceback still holds keeps a closed connection alive, and
        # with it the lock of its transaction.
        connection.rollback()

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "invalidate", on_invalidate)
    event.listen(engine.sync_engine, "begin", on_begin)
