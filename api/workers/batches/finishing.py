"""Results become files, and the batch comes to its end, all in one transaction at the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
from sqlalchemy import delete, select

from api.services.batches.names import EXPIRED
from api.services.files.create import begin_file, publish
from api.services.files.names import blob_key, now_s
from api.services.files.remove import discard
from api.services.webhooks.events import emit
from api.storage.store import Storage
from api.storage.tables.batches import BatchLineRow, BatchRow
from api.storage.tables.files import FileRow
from api.workers.batches.answering import expired_line
from api.workers.batches.reading import InputGoneError, input_lines
from api.workers.job import Job

FETCH = 500
PURPOSE = "batch_output"


async def finish(storage: Storage, job: Job[BatchRow], final: str) -> None:
    """Write output and error file, and end the batch with status `final`.

    Raises:
        LeaseLostError, StorageError: nothing is changed; it can be tried again.
    """
    counts = _Counts()
    output = await _write(
        storage, job.row, "output", _results(storage, job.row.id, is_success=True)
    )
    errors = None
    try:
        failures = _failures(storage, job.row, final, counts)
        errors = await _write(storage, job.row, "error", failures)
        async with job.writing() as (session, row):
            for name, file in (("output_file_id", output), ("error_file_id", errors)):
                if file is not None:
                    seconds = row.output_expires_after_s
                    await publish(session, file.id, file.num_bytes, PURPOSE, seconds)
                    setattr(row, name, file.id)
            row.num_failed += counts.num_expired
            row.status, row.is_open = final, False
            setattr(row, f"{final}_at", now_s())
            await session.execute(delete(BatchLineRow).where(BatchLineRow.batch_id == row.id))
            await emit(session, row.project_id, f"batch.{final}", row.id)
    except BaseException:
        for file in (output, errors):
            if file is not None:
                await asyncio.shield(discard(storage, file.id))
        raise


class _Counts:
    """What is found out while writing."""

    num_expired = 0


async def _write(
    storage: Storage, batch: BatchRow, kind: str, lines: AsyncIterator[bytes]
) -> FileRow | None:
    """A file that is not shown yet; None when there are no lines."""
    first = await anext(lines, None)
    if first is None:
        return None
    file = await begin_file(storage, batch.project_id, f"{batch.id}_{kind}.jsonl")
    try:
        file.num_bytes = await storage.blobs.write(blob_key(file.id), _after(first, lines))
    except BaseException:
        await asyncio.shield(discard(storage, file.id))
        raise
    return file


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in rest:
        yield line


async def _results(storage: Storage, batch_id: str, *, is_success: bool) -> AsyncIterator[bytes]:
    """Lines of results in the order of the input, some hundred at a time."""
    last = -1
    while True:
        query = (
            select(BatchLineRow.line_index, BatchLineRow.result)
            .where(
                BatchLineRow.batch_id == batch_id,
                BatchLineRow.is_success == is_success,
                BatchLineRow.line_index > last,
            )
            .order_by(BatchLineRow.line_index)
            .limit(FETCH)
        )
        async with storage.database.reading() as session:
            rows = (await session.execute(query)).all()
        if not rows:
            return
        yield b"".join(row.result for row in rows)
        last = rows[-1].line_index


async def _failures(
    storage: Storage, batch: BatchRow, final: str, counts: _Counts
) -> AsyncIterator[bytes]:
    """The error file: lines that were refused; of an expired batch also those without a turn."""
    async for lines in _results(storage, batch.id, is_success=False):
        yield lines
    if final != EXPIRED:
        return
    done = await done_lines(storage, batch.id)
    try:
        async for index, line in input_lines(storage, batch):
            if index not in done:
                counts.num_expired += 1
                yield expired_line(_custom_id(line))
    except InputGoneError:
        return


async def done_lines(storage: Storage, batch_id: str) -> set[int]:
    """Indices of the lines that have a result."""
    query = select(BatchLineRow.line_index).where(BatchLineRow.batch_id == batch_id)
    async with storage.database.reading() as session:
        return set(await session.scalars(query))


def _custom_id(line: bytes) -> object:
    try:
        return orjson.loads(line).get("custom_id")
    except (orjson.JSONDecodeError, AttributeError):
        return None
