"""Removes what is over: expired and deleted files, parts of ended uploads, what killed writes left.

Every replica sweeps; what one has removed the others no longer find.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from api.services.files.remove import sweep_files
from api.services.files.uploads import sweep_uploads
from api.storage.errors import StorageError
from api.storage.store import Storage

SWEEP_S = 60.0

SWEEPS: tuple[Callable[[Storage], Awaitable[int]], ...] = (sweep_files, sweep_uploads)

log = logging.getLogger("servax.storage")


async def keep_sweeping(storage: Storage) -> None:
    """Sweep now and then, until cancelled."""
    while True:
        await sweep(storage)
        await asyncio.sleep(SWEEP_S)


async def sweep(storage: Storage) -> None:
    """Sweep once; what fails is left to the next time."""
    for each in SWEEPS:
        try:
            await each(storage)
        except StorageError:
            log.warning("%s will be tried again", each.__name__)
        except Exception:
            log.exception("%s failed", each.__name__)
