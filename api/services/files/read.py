"""List, retrieve and download files."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from werkzeug.datastructures import Headers

from api.http.partial import asked_part
from api.protocol.files import FilesQuery
from api.services.files.names import WHAT, blob_key, file_body, is_shown, now_s
from api.storage.owned import find_owned, id_of, not_found, owned
from api.storage.paging import PageQuery, page_body, page_of
from api.storage.store import Storage
from api.storage.tables.files import FileRow

PARTIAL, NOT_MODIFIED = 206, 304


@dataclasses.dataclass(frozen=True)
class Content:
    """Bytes to send, and what the headers say of them."""

    status: int
    headers: dict[str, str]
    pieces: AsyncIterator[bytes]


async def load_file(storage: Storage, project_id: str, file_id: str) -> FileRow:
    """A file of the project. Raises APIError 404."""
    async with storage.database.reading() as session:
        row = await find_owned(session, FileRow, project_id, file_id)
    is_there = row is not None and row.status == "processed"
    if row is None or not is_there or (row.expires_at is not None and row.expires_at <= now_s()):
        raise not_found(WHAT, file_id)
    return row


async def list_files(storage: Storage, project_id: str, query: FilesQuery) -> dict[str, Any]:
    """A page of the project's files. Raises APIError 400 for a bad cursor."""
    select = owned(FileRow, project_id).where(*is_shown(now_s()))
    if query.purpose is not None:
        select = select.where(FileRow.purpose == query.purpose)
    page_query = PageQuery(
        after=query.after, before=query.before, limit=query.limit, order=query.order
    )
    async with storage.database.reading() as session:
        page = await page_of(session, select, id_of(FileRow), page_query, "file")
    return page_body(page, file_body)


async def content(
    storage: Storage, project_id: str, file_id: str, method: str, asked: Headers
) -> Content:
    """Bytes of a file, as these headers ask for them.

    Raises:
        APIError: 404 no such file; 412 another file is meant; 416 the range lies outside of it.
    """
    row = await load_file(storage, project_id, file_id)
    etag = f'"{row.id}"'  # the bytes of a file never change
    part = asked_part(method, asked, etag, row.num_bytes)
    headers = {"etag": etag, "accept-ranges": "bytes"}
    if part.status == NOT_MODIFIED:
        return Content(part.status, headers, _nothing())
    headers |= {
        "content-type": "application/octet-stream",
        "content-length": str(part.end - part.start),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(row.filename, safe='')}",
    }
    if part.status == PARTIAL:
        headers["content-range"] = f"bytes {part.start}-{part.end - 1}/{row.num_bytes}"
    is_head = method == "HEAD"
    pieces = _nothing() if is_head else storage.blobs.read(blob_key(row.id), part.start, part.end)
    return Content(part.status, headers, pieces)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
