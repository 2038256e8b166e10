"""Make, list, retrieve and cancel batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.errors import APIError
from api.http.noted_fields import read_fields
from api.keys.tenant import Tenant
from api.protocol.batches import BatchesQuery, CreateBatchRequest
from api.services.access.idempotency import Answered, unasked
from api.services.batches.names import (
    CANCELLING,
    IN_PROGRESS,
    VALIDATING,
    WHAT,
    WINDOW_S,
    batch_body,
    queue_of,
)
from api.services.files.names import PROCESSED, now_s
from api.storage.ids import new_id
from api.storage.owned import find_owned, id_of, load_owned, owned
from api.storage.paging import PageQuery, page_body, page_of
from api.storage.store import Storage
from api.storage.tables.batches import BatchRow
from api.storage.tables.files import FileRow


async def create_batch(
    storage: Storage,
    tenant: Tenant,
    body: Mapping[str, Any],
    model: str,
    *,
    batch_id: str | None = None,
    strict_fields: bool,
) -> dict[str, Any]:
    """Queue a batch for servers of `model`; one that is there already stays as it is.

    Raises:
        APIError: 400 a field is wrong, or the file is not one for batches.
    """
    asked = read_fields(CreateBatchRequest, body, strict_fields=strict_fields)
    expires_after = asked.output_expires_after
    now = now_s()
    row = BatchRow(
        id=batch_id or new_id("batch"),
        project_id=tenant.project_id,
        key_id=tenant.key_id,
        created_at=now,
        queue=queue_of(model),
        is_open=True,
        endpoint=asked.endpoint,
        input_file_id=asked.input_file_id,
        completion_window=asked.completion_window,
        user_metadata=asked.metadata,
        output_expires_after_s=expires_after.seconds if expires_after else None,
        status=VALIDATING,
        expires_at=now + WINDOW_S,
    )
    async with storage.database.writing() as session:
        if made := await find_owned(session, BatchRow, row.project_id, row.id):
            return batch_body(made)
        file = await find_owned(session, FileRow, tenant.project_id, asked.input_file_id, lock=True)
        _verify_input(file, asked.input_file_id, now)
        session.add(row)
        await session.flush()
        return batch_body(row)


def _verify_input(file: FileRow | None, file_id: str, now: int) -> None:
    is_there = file is not None and file.status == PROCESSED
    if file is None or not is_there or (file.expires_at is not None and file.expires_at <= now):
        raise APIError(
            f"Invalid 'input_file_id': no such file: {ascii(file_id)[1:-1]}.",
            param="input_file_id",
            code="invalid_value",
        )
    if file.purpose != "batch":
        raise APIError(
            f"Invalid 'input_file_id': its purpose is '{file.purpose}', not 'batch'.",
            param="input_file_id",
            code="invalid_file_purpose",
        )


async def list_batches(storage: Storage, project_id: str, query: BatchesQuery) -> dict[str, Any]:
    """A page of the project's batches. Raises APIError 400 for a bad cursor."""
    page_query = PageQuery(
        after=query.after, before=query.before, limit=query.limit, order=query.order
    )
    async with storage.database.reading() as session:
        page = await page_of(
            session, owned(BatchRow, project_id), id_of(BatchRow), page_query, "batch"
        )
    return page_body(page, batch_body)


async def retrieve_batch(storage: Storage, project_id: str, batch_id: str) -> dict[str, Any]:
    """One batch. Raises APIError 404."""
    async with storage.database.reading() as session:
        return batch_body(await load_owned(session, BatchRow, project_id, batch_id, WHAT))


async def cancel_batch(
    storage: Storage, project_id: str, batch_id: str, answered: Answered = unasked
) -> dict[str, Any]:
    """Begin no more lines; what is done or under way goes to the output file.

    Raises:
        APIError: 404; 409 it is past cancelling.
    """
    async with storage.database.writing() as session:
        row = await load_owned(session, BatchRow, project_id, batch_id, WHAT, lock=True)
        if row.status in {VALIDATING, IN_PROGRESS}:
            row.status, row.cancelling_at = CANCELLING, now_s()
        elif row.status != CANCELLING:
            raise APIError(
                f"Cannot cancel a batch with status '{row.status}'.",
                status=409,
                code="invalid_batch_status",
            )
        answer = batch_body(row)
        await answered(session, answer)
    return answer
