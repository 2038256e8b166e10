"""Delete files, and what killed or expired ones left. A file whose bytes an open batch still reads
is gone for clients at once, and its bytes go when the batch has ended."""

from __future__ import annotations

import logging
from typing import Any

from sqlalchemy import and_, delete, or_, select, update

from api.services.files.names import DELETED, PROCESSED, UPLOADING, blob_key, now_s
from api.services.files.read import load_file
from api.storage.errors import StorageError
from api.storage.store import Storage
from api.storage.tables.batches import BatchRow
from api.storage.tables.files import FileRow

UPLOAD_MAX_S = 24 * 3600
"""An upload that began longer ago than this is dead."""
SWEEP_LIMIT = 1000

log = logging.getLogger("servax.files")


async def delete_file(storage: Storage, project_id: str, file_id: str) -> dict[str, Any]:
    """Delete a file. Raises APIError 404."""
    row = await load_file(storage, project_id, file_id)
    async with storage.database.writing() as session:
        stored = await session.get(FileRow, row.id)
        if stored is not None:
            stored.status = DELETED
            stored.touched_at = now_s()
    try:
        await _remove_unused(storage, [row.id])
    except StorageError:
        log.warning("the bytes of %s are removed later", row.id)
    return {"id": row.id, "object": "file", "deleted": True}


async def discard(storage: Storage, file_id: str) -> None:
    """Remove a file if it is unfinished (its last transaction may have been committed after all);
    what fails is left to the sweeper."""
    is_unfinished = (FileRow.id == file_id) & (FileRow.status == UPLOADING)
    try:
        async with storage.database.writing() as session:
            marked = update(FileRow).where(is_unfinished).values(status=DELETED)
            found = await session.scalars(marked.returning(FileRow.id))
            is_mine = found.first() is not None
        if is_mine:
            await _remove(storage, file_id)
    except StorageError:
        log.warning("what is left of %s is removed later", file_id)


async def sweep_files(storage: Storage) -> int:
    """Remove what is expired, deleted or was never finished; how many files."""
    now = now_s()
    is_over = or_(
        FileRow.status == DELETED,
        and_(FileRow.status == UPLOADING, FileRow.touched_at < now - UPLOAD_MAX_S),
        and_(FileRow.status == PROCESSED, FileRow.expires_at <= now),
    )
    async with storage.database.reading() as session:
        found = await session.scalars(select(FileRow.id).where(is_over).limit(SWEEP_LIMIT))
        file_ids = list(found)
    return await _remove_unused(storage, file_ids)


async def _remove_unused(storage: Storage, file_ids: list[str]) -> int:
    async with storage.database.reading() as session:
        in_use = select(BatchRow.input_file_id).where(
            BatchRow.is_open, BatchRow.input_file_id.in_(file_ids)
        )
        used = set(await session.scalars(in_use))
    unused = [file_id for file_id in file_ids if file_id not in used]
    for file_id in unused:
        await _remove(storage, file_id)
    return len(unused)


async def _remove(storage: Storage, file_id: str) -> None:
    await storage.blobs.delete(blob_key(file_id))
    async with storage.database.writing() as session:
        await session.execute(delete(FileRow).where(FileRow.id == file_id))
