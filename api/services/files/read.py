"""List, retrieve and download files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from api.errors import APIError
from api.protocol.files import FilesQuery
from api.services.files.names import WHAT, blob_key, file_body, is_shown, now_s
from api.storage.owned import find_owned, id_of, not_found, owned
from api.storage.paging import PageQuery, page_body, page_of
from api.storage.store import Storage
from api.storage.tables.files import FileRow

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


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
        page = await page_of(session, select, id_of(FileRow), page_query)
    return page_body(page, file_body)


async def content(storage: Storage, project_id: str, file_id: str, wanted: str) -> Content:
    """Bytes of a file; `wanted` is the `Range` header.

    Raises:
        APIError: 404 no such file; 416 the range lies outside of it.
    """
    row = await load_file(storage, project_id, file_id)
    part = byte_range(wanted, row.num_bytes)
    start, end = part or (0, row.num_bytes)
    headers = {
        "content-type": "application/octet-stream",
        "content-length": str(end - start),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(row.filename, safe='')}",
        "accept-ranges": "bytes",
    }
    if part is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{row.num_bytes}"
    pieces = storage.blobs.read(blob_key(row.id), start, end)
    return Content(200 if part is None else 206, headers, pieces)


def byte_range(wanted: str, num_bytes: int) -> tuple[int, int] | None:
    """Half-open bytes of a `Range` header; None = all, also for what is no single range of bytes.

    Raises:
        APIError: 416.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start = int(match[1])
        end = min(num_bytes, int(match[2]) + 1) if match[2] else num_bytes
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(0, num_bytes - int(match[2])), num_bytes
    if start >= end:
        raise APIError(
            "The requested range is not satisfiable.",
            status=416,
            code="range_not_satisfiable",
            headers={"content-range": f"bytes */{num_bytes}"},
        )
    return start, end
