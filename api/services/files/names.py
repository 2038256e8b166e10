"""Files as clients see them, and under which keys their bytes are."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import ColumnElement, or_

from api.errors import APIError
from api.protocol.files import MAX_FILENAME
from api.storage.tables.files import FileRow

PROCESSED = "processed"
UPLOADING = "uploading"
DELETED = "deleted"
WHAT = "File object"


def blob_key(file_id: str) -> str:
    """Where the bytes of a file are."""
    return f"files/{file_id}"


def file_body(row: FileRow) -> dict[str, Any]:
    """A file as OpenAI writes it."""
    return {
        "id": row.id,
        "object": "file",
        "bytes": row.num_bytes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "filename": row.filename,
        "purpose": row.purpose,
        "status": PROCESSED,
        "status_details": None,
    }


def is_shown(now: int) -> tuple[ColumnElement[bool], ...]:
    """Conditions of files that exist for clients."""
    return (
        FileRow.status == PROCESSED,
        or_(FileRow.expires_at.is_(None), FileRow.expires_at > now),
    )


def now_s() -> int:
    """Unix time in whole seconds."""
    return int(time.time())


def clean_filename(given: str | None, param: str = "file") -> str:
    """The last part of a client's path. Raises APIError 400, naming `param`, for one that is too
    long or that no system could use."""
    name = (given or "").replace("\\", "/").rpartition("/")[2] or "upload"
    if len(name) > MAX_FILENAME:
        raise APIError(
            f"Invalid '{param}': its name has more than {MAX_FILENAME} characters.",
            param=param,
            code="string_above_max_length",
        )
    if "\0" in name:
        raise APIError(
            f"Invalid '{param}': its name has U+0000 in it.", param=param, code="invalid_value"
        )
    return name.encode("utf-8", "replace").decode()
