"""Storage beside the server's life: opened while the model loads, tried again while it fails.

Generation never waits for it, and listening not for the import of its libraries. Routes that need
it get 503 until it is there.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from api.context import ServerState
from api.settings import ServerSettings

if TYPE_CHECKING:
    from api.storage.store import Storage

RETRY_S = 5.0

log = logging.getLogger("servax.storage")


def verify_storage(settings: ServerSettings) -> None:
    """Raise SetupError for URLs that can never work; the folder may still come."""
    if settings.database_url:
        from api.storage.database import make_engine

        make_engine(settings.database_url)
    if settings.blob_url:
        from api.storage.blobs import verify_blob_url

        verify_blob_url(settings.blob_url)


@asynccontextmanager
async def storage_of(state: ServerState) -> AsyncGenerator[None]:
    """`state.storage` is there, or being tried for, until the block ends."""
    opening = asyncio.create_task(_open(state))
    try:
        yield
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        storage, state.storage = state.storage, None
        if storage is not None:
            await storage.close()


async def _open(state: ServerState) -> None:
    # In a thread, because the libraries take a while and requests are answered meanwhile.
    await asyncio.to_thread(importlib.import_module, "api.storage.migrate")
    while state.storage is None:
        opened = await _try_to_open(state)
        if opened is None:
            await asyncio.sleep(RETRY_S)
        else:
            state.take_storage(opened)


async def _try_to_open(state: ServerState) -> Storage | None:
    from api.storage.errors import StorageError
    from api.storage.store import open_storage

    try:
        return await open_storage(state.settings)
    except StorageError as error:
        log.error("%s Trying again in %g s; generation goes on.", error.message, RETRY_S)
    except Exception:
        log.exception("storage cannot be opened; trying again in %g s", RETRY_S)
    return None
