"""What keeps access in step with the database while the server lives.

keys    read again every second, so a new key opens and a revoked one closes within two
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from api.context import ServerState
from api.settings import ServerSettings

if TYPE_CHECKING:
    from api.storage.store import Storage

KEY_REFRESH_S = 1.0
RETRY_S = 5.0
STORAGE_POLL_S = 0.05

log = logging.getLogger("servax.access")


@asynccontextmanager
async def access_of(state: ServerState) -> AsyncGenerator[None]:
    """Keys follow the database until the block ends.

    A database that may have keys and is not read yet lets nobody in but keys of `--api-key`.
    """
    if may_have_keys(state.settings):
        state.keys.expect()
    stopping = asyncio.Event()
    following = asyncio.create_task(_follow_keys(state, stopping))
    try:
        yield
    finally:
        # Asked, not cancelled: a query that is cut leaves its connection behind.
        stopping.set()
        await asyncio.gather(following, return_exceptions=True)


def may_have_keys(settings: ServerSettings) -> bool:
    """Whether the database has keys, as far as can be told at once: the libraries of storage take
    a second to import, and a server without keys should not be closed for so long."""
    from api.storage.folder import data_folder

    path = data_folder(settings.data_dir) / "servax.db"
    if settings.database_url or not path.exists():
        return bool(settings.database_url)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT EXISTS (SELECT 1 FROM api_keys)").fetchone()[0])
    except sqlite3.Error as error:
        return "no such table" not in str(error)


async def _follow_keys(state: ServerState, stopping: asyncio.Event) -> None:
    from api.services.keys import KeyReader
    from api.storage.errors import StorageError

    storage = await storage_when_open(state, stopping)
    if storage is None:
        return
    reader = KeyReader(storage.database, state.keys)
    while not stopping.is_set():
        try:
            await reader.refresh()
            await pause(stopping, KEY_REFRESH_S)
        except StorageError:
            log.error("keys cannot be read; those that were known still open")
            await pause(stopping, RETRY_S)


async def storage_when_open(state: ServerState, stopping: asyncio.Event) -> Storage | None:
    """Wait until the storage is there; None when the server stops before."""
    while state.storage is None and not stopping.is_set():
        await pause(stopping, STORAGE_POLL_S)
    return state.storage


async def pause(stopping: asyncio.Event, time_s: float) -> None:
    """Wait, but not when the server stops."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), time_s)
