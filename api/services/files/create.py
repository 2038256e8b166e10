"""A form becomes a file: row, blob, row. Killed anywhere in between, the sweeper tidies up."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, cast

from api.errors import APIError
from api.http.multipart import FormReader, Part, shown
from api.http.noted_fields import note_unknown, read_fields
from api.protocol.files import CreateFileFields
from api.protocol.parse import refuse_unknown
from api.services.files.names import (
    PROCESSED,
    UPLOADING,
    blob_key,
    clean_filename,
    file_body,
    now_s,
)
from api.services.files.remove import discard
from api.storage.ids import new_id
from api.storage.store import Storage
from api.storage.tables.files import FileRow

_BRACKETS = re.compile(r"(\w{1,64})\[(\w{1,64})\]")


async def create_file(
    storage: Storage, project_id: str, form: FormReader, *, strict_fields: bool
) -> dict[str, Any]:
    """Store what a form brings.

    Raises:
        APIError: 400 the form is not one of a file; StorageError.
    """
    row: FileRow | None = None
    fields: dict[str, Any] = {}
    try:
        async for part in form.parts():
            if part.name != "file":
                put_field(fields, part.name, await part.text())
            elif row is not None:
                raise APIError("Only one 'file' can be uploaded at a time.", param="file")
            else:
                row = await begin_file(storage, project_id, clean_filename(part.filename))
                row.num_bytes = await storage.blobs.write(blob_key(row.id), part.data())
        asked = read_fields(CreateFileFields, fields, strict_fields=strict_fields)
        return await _finish(storage, row, asked)
    except BaseException:
        if row is not None:
            await discard(storage, row.id)
        raise


async def _finish(storage: Storage, row: FileRow | None, asked: CreateFileFields) -> dict[str, Any]:
    if row is None:
        raise APIError(
            "Missing required parameter: 'file'.", param="file", code="missing_required_parameter"
        )
    expires_after_s = asked.expires_after.seconds if asked.expires_after else None
    return file_body(await finish_file(storage, row, asked.purpose, expires_after_s))


async def begin_file(storage: Storage, project_id: str, filename: str) -> FileRow:
    """A row that nobody sees yet, so that a blob without an owner cannot be."""
    row = FileRow(
        id=new_id("file"),
        project_id=project_id,
        created_at=now_s(),
        num_bytes=0,
        filename=filename,
        purpose="",
        status=UPLOADING,
        touched_at=now_s(),
    )
    async with storage.database.writing() as session:
        session.add(row)
    return row


async def finish_file(
    storage: Storage, row: FileRow, purpose: str, expires_after_s: int | None
) -> FileRow:
    """From now on the file exists."""
    async with storage.database.writing() as session:
        return await publish(session, row.id, row.num_bytes, purpose, expires_after_s)


async def publish(
    session: Any, file_id: str, num_bytes: int, purpose: str, expires_after_s: int | None
) -> FileRow:
    """The same within a transaction of the caller's."""
    row: FileRow = await session.get_one(FileRow, file_id)
    row.num_bytes = num_bytes
    row.purpose = purpose
    row.status = PROCESSED
    row.created_at = now_s()
    row.expires_at = None if expires_after_s is None else row.created_at + expires_after_s
    return row


def put_field(fields: dict[str, Any], name: str, value: str) -> None:
    """`a[b]` is member b of object a; digits are numbers where the SDKs write them so. Raises
    APIError 400 for what is there already."""
    match = _BRACKETS.fullmatch(name)
    if match is None:
        _put(fields, shown(name), value, shown(name))
        return
    members = fields.setdefault(match[1], {})
    if not isinstance(members, dict):
        raise _several(match[1])
    is_number = match[2] == "seconds" and value.isascii() and value.isdigit() and len(value) < 16
    path = f"{match[1]}.{match[2]}"
    _put(cast(dict[str, Any], members), match[2], int(value) if is_number else value, path)


def _put(fields: dict[str, Any], name: str, value: str | int, path: str) -> None:
    if name in fields:
        raise _several(path)
    fields[name] = value


def _several(path: str) -> APIError:
    return APIError(f"Invalid '{path}': given several times.", param=path, code="invalid_value")


async def part_of(form: FormReader, name: str, *, strict_fields: bool) -> AsyncIterator[Part]:
    """The one part called `name`; others are unknown fields. Raises APIError 400 without it."""
    found = False
    async for part in form.parts():
        if part.name == name and not found:
            found = True
            yield part
        else:
            if strict_fields:
                refuse_unknown((shown(part.name),))
            note_unknown((shown(part.name),))
            async for _ in part.data():
                pass
    if not found:
        raise APIError(
            f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter"
        )
