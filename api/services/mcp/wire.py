"""Messages of JSON-RPC out of what a server sends: one JSON body, or server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import orjson

from api.nesting import is_deeper
from api.services.mcp.faults import McpFault

Message = dict[str, Any]

MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""Of one answer, with everything that comes before it in its stream."""

MAX_NESTING = 64
"""Of one message. Parts of it are wrapped into items and events, which must be writable."""


async def messages_of(answer: httpx.Response) -> AsyncGenerator[Message, None]:
    """What the server says, message by message.

    Raises:
        McpFault: it is too much, is compressed or is not JSON.
    """
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise McpFault("The MCP server compressed its answer, which was not asked for.")
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = b"".join([piece async for piece in _bounded(answer)])
        yield read_message(body)
    elif kind == "text/event-stream":
        async for data in _events(_bounded(answer)):
            yield read_message(data)
    else:
        raise McpFault("The MCP server answered with neither JSON nor an event stream.")


def read_message(data: bytes) -> Message:
    """One message. Raises McpFault for what is none, or is too deep."""
    try:
        message: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        message = None
    if not isinstance(message, dict):
        raise McpFault("The MCP server sent what is no JSON-RPC message.")
    if is_too_deep(message):
        raise McpFault(f"The MCP server's message is nested deeper than {MAX_NESTING} levels.")
    return message


def is_too_deep(value: Any) -> bool:
    """Whether what a server sends, or is sent, is nested deeper than `MAX_NESTING`."""
    return is_deeper(value, MAX_NESTING)


async def _bounded(answer: httpx.Response) -> AsyncIterator[bytes]:
    size = 0
    async for piece in answer.aiter_raw():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise McpFault(f"The MCP server's answer is longer than {MAX_ANSWER_BYTES} bytes.")
        yield piece


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event; those without are left out."""
    data: list[bytes] = []
    async for line in _lines(pieces):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data = []
    if data:
        yield b"\n".join(data)


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Lines, whichever of the three ends they have."""
    rest: list[bytes] = []
    is_after_return = False
    async for piece in pieces:
        text = piece[1:] if is_after_return and piece.startswith(b"\n") else piece
        is_after_return = piece.endswith(b"\r")
        *whole, last = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            yield b"".join([*rest, line])
            rest = []
        if last:
            rest.append(last)
    if rest:
        yield b"".join(rest)
