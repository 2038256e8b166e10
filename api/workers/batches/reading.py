"""Lines of the input file, one at a time, however large the file."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, AsyncIterator

from api.batch_lines import MAX_LINE_BYTES, BatchRequest, LineError, parse_line
from api.errors import APIError
from api.http.json_body import SMALL_BODY_BYTES, verify_complexity
from api.services.files.names import blob_key
from api.storage.store import Storage
from api.storage.tables.batches import BatchRow
from api.storage.tables.files import FileRow

Line = tuple[int, bytes]
"""Index in the file, blank lines counted, from 0; and the bytes without the line break."""


RESPONSES = "/v1/responses"
OWN_ID = APIError(
    "Unsupported parameter: 'request_id' cannot be given in a batch; the ids of its responses "
    "follow from the batch's.",
    param="request_id",
    code="unsupported_parameter",
)


class InputGoneError(Exception):
    """The input file is no longer there."""


async def input_lines(storage: Storage, batch: BatchRow) -> AsyncGenerator[Line]:
    """Lines of a batch's input that are not blank.

    Raises:
        InputGoneError: its bytes were removed.
    """
    async with storage.database.reading() as session:
        file = await session.get(FileRow, batch.input_file_id)
    if file is None:
        raise InputGoneError
    async for line in split_lines(storage.blobs.read(blob_key(file.id), 0, file.num_bytes)):
        yield line


async def split_lines(pieces: AsyncIterator[bytes]) -> AsyncGenerator[Line]:
    """Lines that are not blank, without the mark of UTF-8 that some editors begin a file with. One
    that is too long is cut, one byte over the limit."""
    index, rest = 0, bytearray()
    async for piece in pieces:
        parts = piece.split(b"\n")
        for part in parts[:-1]:
            rest += part[: MAX_LINE_BYTES + 1 - len(rest)]
            if line := _told(index, rest):
                yield index, line
            index += 1
            rest.clear()
        rest += parts[-1][: MAX_LINE_BYTES + 1 - len(rest)]
    if line := _told(index, rest):
        yield index, line


def _told(index: int, line: bytearray) -> bytes:
    told = bytes(line).removeprefix(codecs.BOM_UTF8) if index == 0 else bytes(line)
    return told if told.strip() else b""


async def parse(line: bytes, endpoint: str, *, strict_fields: bool) -> BatchRequest:
    """A line as a request for the batch's endpoint. Raises LineError."""
    if len(line) <= SMALL_BODY_BYTES:
        request = parse_line(line, (endpoint,), strict_fields=strict_fields)
    else:
        request = await asyncio.to_thread(_parse_large, line, endpoint, strict_fields)
    if endpoint == RESPONSES and request.body.get("request_id") is not None:
        raise LineError(request.custom_id, OWN_ID)
    return request


def _parse_large(line: bytes, endpoint: str, strict_fields: bool) -> BatchRequest:
    try:
        verify_complexity(line)
    except APIError as error:
        raise LineError(None, error) from None
    return parse_line(line, (endpoint,), strict_fields=strict_fields)
