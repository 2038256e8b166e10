"""Uploads: a file in parts, put together at the end."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import delete, func, select

from api.errors import APIError
from api.http.multipart import FormReader
from api.http.noted_fields import read_fields
from api.protocol.files import CompleteUploadRequest, CreateUploadRequest
from api.services.access.idempotency import Answered, unasked
from api.services.files.create import begin_file, part_of, publish
from api.services.files.names import blob_key, clean_filename, file_body, now_s
from api.services.files.remove import discard
from api.storage.errors import StorageError
from api.storage.ids import new_id
from api.storage.owned import find_owned, load_owned, owned
from api.storage.store import Storage
from api.storage.tables.files import FileRow
from api.storage.tables.uploads import UploadPartRow, UploadRow

LIFETIME_S = 3600
MAX_PART_BYTES = 64 * 2**20
MAX_NUM_PARTS = 10_000
MAX_TIMES_SENT = 2
"""The parts of an upload together, in its bytes."""
PENDING, COMPLETED, CANCELLED, EXPIRED = "pending", "completed", "cancelled", "expired"
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
WHAT = "Upload"

log = logging.getLogger("servax.files")


async def create_upload(
    storage: Storage,
    project_id: str,
    body: Mapping[str, Any],
    max_bytes: int,
    *,
    upload_id: str | None = None,
    strict_fields: bool,
) -> dict[str, Any]:
    """Begin an upload; one that is there already stays as it is. Raises APIError 400."""
    asked = read_fields(CreateUploadRequest, body, strict_fields=strict_fields)
    if asked.bytes > max_bytes:
        raise APIError(
            f"Invalid 'bytes': files may have {max_bytes:,} bytes.",
            param="bytes",
            code="integer_above_max_value",
        )
    now = now_s()
    row = UploadRow(
        id=upload_id or new_id("upload"),
        project_id=project_id,
        created_at=now,
        filename=clean_filename(asked.filename, "filename"),
        num_bytes=asked.bytes,
        purpose=asked.purpose,
        mime_type=asked.mime_type,
        status=PENDING,
        expires_at=now + LIFETIME_S,
        file_expires_after_s=asked.expires_after.seconds if asked.expires_after else None,
        has_blobs=False,
    )
    async with storage.database.writing() as session:
        if made := await find_owned(session, UploadRow, project_id, row.id):
            return upload_body(made)
        session.add(row)
    return upload_body(row)


async def add_part(
    storage: Storage, project_id: str, upload_id: str, form: FormReader, *, strict_fields: bool
) -> dict[str, Any]:
    """Store a part.

    Raises:
        APIError: 404; 400 the upload is over, the part too large, or there is none.
    """
    row, max_bytes = await _begin_part(storage, project_id, upload_id)
    try:
        async for part in part_of(form, "data", strict_fields=strict_fields):
            pieces = _bounded(part.data(), max_bytes)
            row.num_bytes = await storage.blobs.write(part_key(row.id), pieces)
        async with storage.database.writing() as session:
            await _load_pending(session, project_id, upload_id)
            stored = await session.get_one(UploadPartRow, row.id)
            stored.num_bytes, stored.is_whole = row.num_bytes, True
    except BaseException:
        await _remove_part(storage, row.id)
        raise
    return {
        "id": row.id,
        "object": "upload.part",
        "created_at": row.created_at,
        "upload_id": upload_id,
    }


async def complete_upload(
    storage: Storage,
    project_id: str,
    upload_id: str,
    body: Mapping[str, Any],
    answered: Answered = unasked,
    *,
    strict_fields: bool,
) -> dict[str, Any]:
    """Put the parts together, in the order named.

    Raises:
        APIError: 404; 400 parts are missing or do not add up, or the sum of bytes is another one.
    """
    asked = read_fields(CompleteUploadRequest, body, strict_fields=strict_fields)
    async with storage.database.reading() as session:
        upload = await _load_pending(session, project_id, upload_id)
        parts = await _named_parts(session, upload, asked.part_ids)
    _verify_size(upload, parts)
    if asked.md5 is not None and not _MD5.fullmatch(asked.md5):
        raise APIError("Invalid 'md5': not 32 hexadecimal digits.", param="md5")
    file = await begin_file(storage, project_id, upload.filename)
    try:
        digest = hashlib.md5(usedforsecurity=False)
        try:
            joined = _joined(storage, parts, digest)
            num_bytes = await storage.blobs.write(blob_key(file.id), joined)
        except StorageError:  # the parts are gone once the upload is over
            async with storage.database.reading() as session:
                await _load_pending(session, project_id, upload_id)
            log.error("parts of %s cannot be put together", upload_id)
            raise
        if asked.md5 is not None and digest.hexdigest() != asked.md5.lower():
            raise APIError(
                "Invalid 'md5': the bytes of the parts have another checksum.", param="md5"
            )
        async with storage.database.writing() as session:
            row = await _load_pending(session, project_id, upload_id)
            row.status, row.file_id = COMPLETED, file.id
            published = await publish(
                session, file.id, num_bytes, row.purpose, row.file_expires_after_s
            )
            answer = upload_body(row, published)
            await answered(session, answer)
    except BaseException:
        await discard(storage, file.id)
        raise
    await _tidy(storage, upload_id)
    return answer


async def cancel_upload(
    storage: Storage, project_id: str, upload_id: str, answered: Answered = unasked
) -> dict[str, Any]:
    """End an upload without a file. Raises APIError 404, or 400 if it is over."""
    async with storage.database.writing() as session:
        row = await _load_pending(session, project_id, upload_id)
        row.status = CANCELLED
        answer = upload_body(row)
        await answered(session, answer)
    await _tidy(storage, upload_id)
    return answer


async def sweep_uploads(storage: Storage) -> int:
    """Remove the parts of uploads that are over; of how many uploads."""
    is_over = (UploadRow.status != PENDING) | (UploadRow.expires_at <= now_s())
    async with storage.database.reading() as session:
        found = await session.scalars(select(UploadRow.id).where(UploadRow.has_blobs, is_over))
        upload_ids = list(found)
    for upload_id in upload_ids:
        await _remove_blobs(storage, upload_id)
    return len(upload_ids)


def upload_body(row: UploadRow, file: FileRow | None = None) -> dict[str, Any]:
    """An upload as OpenAI writes it."""
    is_expired = row.status == PENDING and row.expires_at <= now_s()
    return {
        "id": row.id,
        "object": "upload",
        "bytes": row.num_bytes,
        "created_at": row.created_at,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": EXPIRED if is_expired else row.status,
        "expires_at": row.expires_at,
        "file": None if file is None else file_body(file),
    }


def part_key(part_id: str) -> str:
    """Where the bytes of a part are."""
    return f"parts/{part_id}"


async def _begin_part(
    storage: Storage, project_id: str, upload_id: str
) -> tuple[UploadPartRow, int]:
    """A row that nobody sees yet, and how many bytes it may have."""
    async with storage.database.writing() as session:
        upload = await _load_pending(session, project_id, upload_id)
        await _verify_room(session, upload)
        upload.has_blobs = True
        row = UploadPartRow(
            id=new_id("part"),
            project_id=project_id,
            created_at=now_s(),
            upload_id=upload.id,
            num_bytes=0,
            is_whole=False,
        )
        session.add(row)
        return row, min(MAX_PART_BYTES, upload.num_bytes)


async def _verify_room(session: Any, upload: UploadRow) -> None:
    """A client may send parts again that it lost sight of, but not without end."""
    part = UploadPartRow
    known = select(func.count(), func.coalesce(func.sum(part.num_bytes), 0))
    row = (await session.execute(known.where(part.upload_id == upload.id))).one()
    if row[0] >= MAX_NUM_PARTS or row[1] > MAX_TIMES_SENT * upload.num_bytes:
        raise APIError(
            f"The upload has too many parts: {row[0]:,} with {row[1]:,} bytes.",
            param="upload_id",
            code="too_many_parts",
        )


async def _load_pending(session: Any, project_id: str, upload_id: str) -> UploadRow:
    row = await load_owned(session, UploadRow, project_id, upload_id, WHAT, lock=True)
    status = upload_body(row)["status"]
    if status != PENDING:
        raise APIError(f"The upload is {status}.", code="invalid_upload_status", param="upload_id")
    return row


async def _named_parts(session: Any, upload: UploadRow, part_ids: list[str]) -> list[UploadPartRow]:
    known = owned(UploadPartRow, upload.project_id).where(UploadPartRow.upload_id == upload.id)
    rows = {row.id: row for row in await session.scalars(known) if row.is_whole}
    if len(set(part_ids)) != len(part_ids):
        raise APIError("Invalid 'part_ids': a part is named twice.", param="part_ids")
    for index, part_id in enumerate(part_ids):
        if part_id not in rows:
            raise APIError(
                f"Invalid 'part_ids[{index}]': the upload has no such part.",
                param=f"part_ids[{index}]",
                code="invalid_value",
            )
    return [rows[part_id] for part_id in part_ids]


def _verify_size(upload: UploadRow, parts: list[UploadPartRow]) -> None:
    num_bytes = sum(part.num_bytes for part in parts)
    if num_bytes != upload.num_bytes:
        raise APIError(
            f"Invalid 'part_ids': the parts have {num_bytes} bytes together, and the upload was "
            f"created for {upload.num_bytes}.",
            param="part_ids",
        )


async def _joined(
    storage: Storage, parts: list[UploadPartRow], digest: Any
) -> AsyncIterator[bytes]:
    for part in parts:
        async for piece in storage.blobs.read(
            part_key(part.id), 0, part.num_bytes, may_vanish=True
        ):
            digest.update(piece)
            yield piece


async def _bounded(pieces: AsyncIterator[bytes], max_bytes: int) -> AsyncIterator[bytes]:
    num_bytes = 0
    async for piece in pieces:
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise APIError(
                f"Invalid 'data': a part of this upload may have {max_bytes:,} bytes.",
                status=413,
                param="data",
            )
        yield piece


async def _tidy(storage: Storage, upload_id: str) -> None:
    """Remove the parts of an upload that is over, whatever becomes of them."""
    try:
        await _remove_blobs(storage, upload_id)
    except StorageError:
        log.warning("the parts of %s are removed later", upload_id)


async def _remove_blobs(storage: Storage, upload_id: str) -> None:
    """The parts of an upload that is over."""
    async with storage.database.reading() as session:
        found = await session.scalars(
            select(UploadPartRow.id).where(UploadPartRow.upload_id == upload_id)
        )
        part_ids = list(found)
    for part_id in part_ids:
        await _remove_part(storage, part_id)
    async with storage.database.writing() as session:
        (await session.get_one(UploadRow, upload_id)).has_blobs = False


async def _remove_part(storage: Storage, part_id: str) -> None:
    await storage.blobs.delete(part_key(part_id))
    async with storage.database.writing() as session:
        await session.execute(delete(UploadPartRow).where(UploadPartRow.id == part_id))
