"""Bodies that are read piece by piece: uploads.

Quart takes whatever arrives into memory, as fast as it arrives. For the routes of uploads the body
has no limit of its own here, and a gate instead: `api.http.access` asks it before it hands on the
next piece, so what the route has not taken yet stays below a few pieces, and TCP slows the client
down.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, cast

from quart import Request
from quart.wrappers.request import Body

from api.errors import APIError
from api.http.access import request_state

UPLOADS = re.compile(r"/v1/(files|uploads/[^/]+/parts)")
"""Paths of such routes. Others with these words are no routes and take no body at all."""

MAX_WAITING_BYTES = 2**20


class UploadBody(Body):
    """A body that is taken while it comes."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.has_room = asyncio.Event()
        self.has_room.set()

    def append(self, data: bytes) -> None:
        """Take a piece from the server."""
        super().append(data)
        if len(self._data) >= MAX_WAITING_BYTES:
            self.has_room.clear()

    async def __anext__(self) -> bytes:
        data = await super().__anext__()
        self.has_room.set()
        return data


class ServerRequest(Request):
    """Quart's request, whose body may be an upload."""

    def __init__(self, method: str, scheme: str, path: str, *rest: Any, **options: Any) -> None:
        is_upload = method == "POST" and UPLOADS.fullmatch(path) is not None
        if is_upload:
            options["max_content_length"] = None
        super().__init__(method, scheme, path, *rest, **options)
        if is_upload:
            body = UploadBody()
            self.body = body
            request_state(cast(Any, self.scope)).body_gate = body.has_room

    async def pieces(self, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            APIError: 413 it is longer than `max_bytes`; 408 nothing came for the body's time limit.
        """
        if self.content_length is not None and self.content_length > max_bytes:
            raise _too_large(max_bytes)
        num_bytes = 0
        while True:
            try:
                async with asyncio.timeout(self.body_timeout):
                    piece = await anext(self.body)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise APIError(
                    "The request body did not arrive in time.", status=408, code="request_timeout"
                ) from None
            num_bytes += len(piece)
            if num_bytes > max_bytes:
                raise _too_large(max_bytes)
            yield piece


def _too_large(max_bytes: int) -> APIError:
    return APIError(
        f"The request body is larger than this server accepts, which is {max_bytes:,} bytes.",
        status=413,
        code="request_too_large",
    )
