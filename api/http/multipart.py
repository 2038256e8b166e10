"""`multipart/form-data` read part by part while it comes; nothing of a file is kept.

Werkzeug's decoder does the parsing. Fields may stand before or after the file: clients differ.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from api.errors import APIError

MAX_PARTS = 32
MAX_FIELD_BYTES = 64 * 1024
MAX_BUFFER_BYTES = 4 * 2**20
SLICE_BYTES = 64 * 1024


class Part:
    """One part of a form.

    Attributes:
        filename: None for a field.
    """

    def __init__(self, form: FormReader, name: str, filename: str | None, headers: Headers) -> None:
        self.name = name
        self.filename = filename
        self.headers = headers
        self._form = form

    async def data(self) -> AsyncIterator[bytes]:
        """Its bytes, as they come."""
        while True:
            event = await self._form.next_event()
            if isinstance(event, Data):
                if event.data:
                    yield event.data
                if not event.more_data:
                    return

    async def text(self) -> str:
        """All of it, as the value of a field. Raises APIError 400."""
        value = b""
        async for piece in self.data():
            value += piece
            if len(value) > MAX_FIELD_BYTES:
                raise APIError(
                    f"Invalid '{shown(self.name)}': string too long.",
                    param=shown(self.name),
                    code="string_above_max_length",
                )
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise APIError(
                f"Invalid '{shown(self.name)}': not UTF-8.", param=shown(self.name)
            ) from None


class FormReader:
    """The parts of one form, in order. Each must be read before the next."""

    def __init__(self, content_type: str, pieces: AsyncIterator[bytes]) -> None:
        """Raises APIError unless `content_type` is a form's: 415, or 400 without a boundary."""
        kind, options = parse_options_header(content_type)
        boundary = options.get("boundary", "")
        if kind.lower() != "multipart/form-data":
            raise APIError(
                "Unsupported Media Type: Only 'multipart/form-data' is allowed",
                status=415,
                code="unsupported_content_type",
            )
        if not boundary:
            raise APIError("Invalid 'Content-Type': the form has no boundary.")
        self._decoder = MultipartDecoder(
            boundary.encode("utf-8", "replace"), MAX_BUFFER_BYTES, max_parts=MAX_PARTS
        )
        self._pieces = _sliced(pieces)

    async def parts(self) -> AsyncIterator[Part]:
        """Each part. Raises APIError 400 for what is no form."""
        while True:
            event = await self.next_event()
            if isinstance(event, Epilogue):
                return
            if isinstance(event, (Field, File)):
                filename = event.filename if isinstance(event, File) else None
                yield Part(self, str(event.name or ""), filename, event.headers)

    async def next_event(self) -> Any:
        """The decoder's next event, feeding it as needed."""
        try:
            event = self._decoder.next_event()
            while isinstance(event, NeedData):
                self._decoder.receive_data(await anext(self._pieces, None))
                event = self._decoder.next_event()
        except RequestEntityTooLarge:
            raise _malformed("it has too many parts, or too large headers") from None
        except (ValueError, AttributeError, AssertionError):
            raise _malformed("it is cut off, or its parts are not well formed") from None
        return event


async def _sliced(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Small slices, so that the decoder's searches stay short."""
    async for piece in pieces:
        for start in range(0, len(piece), SLICE_BYTES):
            yield piece[start : start + SLICE_BYTES]


def shown(name: str) -> str:
    """A client's name of a field, fit for an error."""
    return ascii(name)[1:-1][:64]


def _malformed(why: str) -> APIError:
    return APIError(
        f"We could not parse the form of your request: {why}.", code="invalid_multipart_form"
    )
