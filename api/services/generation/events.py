"""Writing chunks as server-sent events.

All chunks of an answer share everything but their choice, so that is encoded once; a chunk is
then three joins and one small `orjson.dumps`. All chunks that are ready go out in one piece.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from api.errors import APIError, error_body, from_engine_error, server_error
from api.protocol.base import StreamOptions
from api.services.generation.usage import Usage
from api.services.requests import Identity
from api.settings import ErrorFormat, ServerSettings
from engine.errors import EngineError

DONE = b"data: [DONE]\n\n"
_OBFUSCATION_STEP = 16

log = logging.getLogger("servax.api")


class ChunkWriter:
    """Makes the events of one answer.

    Arguments:
        object_name: `chat.completion.chunk` or `text_completion`.
        options: the request's `stream_options`.
    """

    def __init__(
        self,
        identity: Identity,
        object_name: str,
        options: StreamOptions | None,
        settings: ServerSettings,
    ) -> None:
        head = orjson.dumps(chunk_head(identity, object_name))
        self._head = b"data: " + head[:-1] + b',"choices":['
        has_options = options is not None
        self.includes_usage = settings.enable_force_include_usage or (
            has_options and bool(options.include_usage)
        )
        self.is_usage_continuous = has_options and bool(options.continuous_usage_stats)
        self._is_bare = not self.includes_usage and not self.is_usage_continuous
        self._is_obfuscated = has_options and bool(options.include_obfuscation)

    def choice(
        self, choice: bytes, usage: Usage | None = None, extra: bytes = b"", text: str = ""
    ) -> bytes:
        """A chunk with one choice.

        Arguments:
            choice: the choice as JSON.
            usage: tokens so far, used with `continuous_usage_stats`.
            extra: more members, as JSON with a leading comma.
            text: what `obfuscation` is to hide the length of.
        """
        tail = extra if self._is_bare else self._usage_so_far(usage) + extra
        if self._is_obfuscated:
            tail += b',"obfuscation":"' + padding(text).encode() + b'"'
        return self._head + choice + b"]" + tail + b"}\n\n"

    def usage(self, usage: Usage, metrics: dict[str, Any] | None = None) -> bytes:
        """The chunk without choices that ends a stream with `include_usage`; b"" without it."""
        if not self.includes_usage:
            return b""
        extra = b"" if metrics is None else b',"metrics":' + orjson.dumps(metrics)
        return self._head + b'],"usage":' + orjson.dumps(usage.as_dict()) + extra + b"}\n\n"

    def _usage_so_far(self, usage: Usage | None) -> bytes:
        if self.is_usage_continuous and usage is not None:
            return b',"usage":' + orjson.dumps(usage.as_dict())
        return b',"usage":null' if self.includes_usage else b""


def chunk_head(identity: Identity, object_name: str) -> dict[str, Any]:
    """What all chunks of an answer begin with."""
    return {
        "id": identity.response_id,
        "object": object_name,
        "created": identity.created,
        "model": identity.model,
        "service_tier": "default",
        "system_fingerprint": identity.fingerprint,
    }


class EventStream:
    """The events of an answer whose engine request is already running.

    A generator that was never started does nothing when it is closed; this closes the source as
    well, so that an answer nobody read is aborted too.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], source: AsyncGenerator[Any, None]
    ) -> None:
        self._events = events
        self._source = source

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._events)

    async def aclose(self) -> None:
        """Close the events, then what feeds them. Calling it again does nothing."""
        await self._events.aclose()
        await self._source.aclose()


async def ended(
    events: AsyncGenerator[bytes, None], style: ErrorFormat
) -> AsyncGenerator[bytes, None]:
    """`events`, then exactly one `[DONE]`; a failure becomes an error event before it."""
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                yield event
    except Exception as error:
        yield b"data: " + orjson.dumps(error_body(told(error), style)) + b"\n\n" + DONE
        return
    yield DONE


def told(error: Exception) -> APIError:
    """What a client is told of an error that ended its stream; a fault of ours is logged."""
    if isinstance(error, APIError):
        return error
    if isinstance(error, EngineError):
        return from_engine_error(error)
    log.exception("a stream failed", exc_info=error)
    return server_error()


def padding(text: str) -> str:
    """Random text that makes text and padding together a multiple of `_OBFUSCATION_STEP`."""
    length = _OBFUSCATION_STEP - len(text.encode()) % _OBFUSCATION_STEP
    return secrets.token_urlsafe(length)[:length]
