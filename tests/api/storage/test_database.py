from __future__ import annotations

import asyncio
import errno
import sqlite3

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from api.settings import ServerSettings
from api.storage.database import Database, telling
from api.storage.errors import (
    ReadOnlyError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    from_fault,
)
from api.storage.metadata import METADATA
from api.storage.store import open_storage
from engine.errors import SetupError


async def test_the_migrations_make_exactly_the_tables_of_this_version(storage):
    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), METADATA)

    async with storage.database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_several_replicas_may_migrate_at_once(storage_settings):
    opened = await asyncio.gather(*(open_storage(storage_settings) for _ in range(3)))
    for storage in opened:
        await storage.close()


async def test_a_failed_block_writes_nothing(storage):
    async def fail():
        async with storage.database.writing() as session:
            await session.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY)"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    with pytest.raises(StorageError):
        async with storage.database.reading() as session:
            await session.execute(text("SELECT * FROM things"))


async def test_writers_of_one_process_take_turns(storage):
    async with storage.database.writing() as session:
        await session.execute(text("CREATE TABLE counters (n INTEGER)"))
        await session.execute(text("INSERT INTO counters VALUES (0)"))

    async def add():
        async with storage.database.writing() as session:
            await session.execute(text("UPDATE counters SET n = n + 1"))

    await asyncio.gather(*(add() for _ in range(50)))
    async with storage.database.reading() as session:
        assert await session.scalar(text("SELECT n FROM counters")) == 50


async def test_what_breaks_a_constraint_is_told_as_that(storage):
    async with storage.database.writing() as session:
        await session.execute(text("CREATE TABLE things (id INTEGER PRIMARY KEY)"))
    with pytest.raises(IntegrityError):
        async with storage.database.writing() as session:
            await session.execute(text("INSERT INTO things VALUES (1), (1)"))


async def test_what_users_say_is_not_in_the_text_of_an_error(storage):
    with pytest.raises(StorageError) as caught:
        async with storage.database.writing() as session:
            await session.execute(text("INSERT INTO nowhere VALUES (:said)"), {"said": "private"})
    told: BaseException | None = caught.value
    while told is not None:
        assert "private" not in str(told)
        told = told.__cause__ or told.__context__


async def touch(storage):
    async with storage.database.writing() as session:
        await session.execute(text("DELETE FROM files"))


async def test_a_locked_database_is_a_typed_error(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "api.storage.database.PRAGMAS", ("PRAGMA journal_mode=WAL", "PRAGMA busy_timeout=50")
    )
    storage = await open_storage(ServerSettings(data_dir=str(tmp_path)))
    other = sqlite3.connect(tmp_path / "servax.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusyError) as failure:
        await touch(storage)
    assert failure.value.headers["retry-after"] == "1"
    async with storage.database.reading() as session:
        assert await session.scalar(text("SELECT 1")) == 1
    other.close()
    await touch(storage)
    await storage.close()


async def test_a_full_database_is_a_typed_error(tmp_path):
    storage = await open_storage(ServerSettings(data_dir=str(tmp_path)))

    async def fill():
        async with storage.database.writing() as session:
            await session.execute(text("PRAGMA max_page_count=1"))
            await session.execute(text("CREATE TABLE things (data BLOB)"))
            await session.execute(text("INSERT INTO things VALUES (zeroblob(1000000))"))

    with pytest.raises(StorageFullError):
        await fill()
    await storage.close()


async def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        await open_storage(ServerSettings(data_dir=str(tmp_path / "file" / "data")))


def test_faults_of_disks_have_names():
    assert isinstance(from_fault(OSError(errno.ENOSPC, "x")), StorageFullError)
    assert isinstance(from_fault(OSError(errno.EROFS, "x")), ReadOnlyError)
    assert isinstance(from_fault(OSError(errno.EMFILE, "x")), StorageError)
    with pytest.raises(StorageError) as failure, telling():
        raise OSError(errno.EIO, "/secret/path")
    assert "secret" not in failure.value.message


@pytest.mark.parametrize("url", ["nonsense", "mysql://a/b", "postgresql+psycopg://a/b"])
def test_a_database_url_that_cannot_be_ours_is_a_set_up_error(url):
    with pytest.raises(SetupError, match="--database-url"):
        Database.open(url)


async def test_a_cancelled_write_lets_go_of_its_lock(storage):
    """Also while somebody holds the exception, and with it the statement that was cut off."""
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000) "
    async with storage.database.writing() as session:
        await session.execute(text("CREATE TABLE counters (n INTEGER)"))

    async def write():
        async with storage.database.writing() as session:
            await session.execute(text("INSERT INTO counters VALUES (1)"))
            await session.execute(text(numbers + "SELECT x FROM c WHERE x % 400000 = 0"))

    task = asyncio.create_task(write())
    await asyncio.sleep(0.1)
    task.cancel()
    (held,) = await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5), storage.database.writing() as session:
        await session.execute(text("INSERT INTO counters VALUES (2)"))
    assert isinstance(held, asyncio.CancelledError)
    async with storage.database.reading() as session:
        assert await session.scalar(text("SELECT count(*) FROM counters WHERE n = 1")) == 0


async def test_a_reader_sees_one_moment(storage):
    async with storage.database.writing() as session:
        await session.execute(text("CREATE TABLE counters (n INTEGER)"))
    count = text("SELECT count(*) FROM counters")
    async with storage.database.reading() as reader:
        assert await reader.scalar(count) == 0
        async with storage.database.writing() as session:
            await session.execute(text("INSERT INTO counters VALUES (1)"))
        assert await reader.scalar(count) == 0
    async with storage.database.reading() as reader:
        assert await reader.scalar(count) == 1
