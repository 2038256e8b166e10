"""What keeps access in step with the database while the server lives.

keys    read again every second, so a new key opens and a revoked one closes within two
usage   written as soon as requests end, as many at once as have ended meanwhile
answers kept for an Idempotency-Key are deleted when they expire
events  sent when they are due, with --allowed-webhook-domains
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from api.context import ServerState
from api.errors import APIError
from api.keys.accounts import Ledger
from api.settings import ServerSettings

if TYPE_CHECKING:
    from api.storage.store import Storage

KEY_REFRESH_S = 1.0
RETRY_S = 5.0
STORAGE_POLL_S = 0.05
STOP_POLL_S = 0.25
STOP_S = 5.0
CLEANING_S = 600.0
WEBHOOK_POLL_S = 1.0

log = logging.getLogger("servax.access")


@asynccontextmanager
async def access_of(state: ServerState) -> AsyncGenerator[None]:
    """Keys follow the database until the block ends.

    A database that may have keys and is not read yet lets nobody in but keys of `--api-key`.
    """
    if may_have_keys(state.settings):
        state.keys.expect()
    state.accounts.ledger.expect()
    stopping = asyncio.Event()
    works = (_follow_keys, _keep_ledger, _send_webhooks, _forget_answers)
    tasks = [asyncio.create_task(work(state, stopping)) for work in works]
    try:
        yield
    finally:
        # Asked first, not cancelled: a query that is cut leaves its connection behind.
        stopping.set()
        _, late = await asyncio.wait(tasks, timeout=STOP_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
    from api.services.access.keys import KeyReader

    storage = await storage_when_open(state, stopping)
    if storage is None:
        return
    reader = KeyReader(storage.database, state.keys)
    while not stopping.is_set():
        try:
            await reader.refresh()
            await pause(stopping, KEY_REFRESH_S)
        except Exception as error:
            log.error("keys cannot be read; those that were known still open", exc_info=_of(error))
            await pause(stopping, RETRY_S)


async def _keep_ledger(state: ServerState, stopping: asyncio.Event) -> None:
    from api.services.access.usage import DatabaseUsageWriter

    storage = await storage_when_open(state, stopping)
    if storage is None:
        return
    ledger = state.accounts.ledger
    ledger.attach(DatabaseUsageWriter(storage.database))
    while not stopping.is_set():
        await ledger.wait(STOP_POLL_S)
        if not await _flush(ledger):
            await pause(stopping, RETRY_S)
    await _flush(ledger)


async def _flush(ledger: Ledger) -> bool:
    try:
        await ledger.flush()
    except Exception as error:
        log.error("usage cannot be written; it is kept and tried again", exc_info=_of(error))
        return False
    return True


async def _send_webhooks(state: ServerState, stopping: asyncio.Event) -> None:
    allowed = state.settings.allowed_webhook_domains
    storage = await storage_when_open(state, stopping) if allowed else None
    if storage is None:
        return
    from api.services.webhooks.delivery import Deliverer, make_client

    async with make_client() as client:
        deliverer = Deliverer(storage.database, client, allowed)
        while not stopping.is_set():
            try:
                num_tried = await deliverer.deliver_due()
            except Exception as error:
                log.error("webhooks cannot be read or written", exc_info=_of(error))
                await pause(stopping, RETRY_S)
            else:
                await pause(stopping, 0 if num_tried else WEBHOOK_POLL_S)


async def _forget_answers(state: ServerState, stopping: asyncio.Event) -> None:
    from api.services.access.idempotency import delete_expired

    storage = await storage_when_open(state, stopping)
    while storage is not None and not stopping.is_set():
        with contextlib.suppress(APIError):  # the next time is soon enough
            await delete_expired(storage.database, time.time())
        await pause(stopping, CLEANING_S)


def _of(error: Exception) -> Exception | None:
    """What the log must have of it: the storage has logged its own faults."""
    return None if isinstance(error, APIError) else error


async def storage_when_open(state: ServerState, stopping: asyncio.Event) -> Storage | None:
    """Wait until the storage is there; None when the server stops before."""
    while state.storage is None and not stopping.is_set():
        await pause(stopping, STORAGE_POLL_S)
    return state.storage


async def pause(stopping: asyncio.Event, time_s: float) -> None:
    """Wait, but not when the server stops."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), time_s)
