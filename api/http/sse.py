"""Server-sent events: a response whose generator is closed whatever becomes of the client.

How a disconnect arrives (Quart 0.22 on Hypercorn 0.18): Hypercorn's reader sees the end of the
socket and queues `http.disconnect`; Quart's receiver task ends on it and cancels the task that
runs the view *or* sends its response. So a view that awaits the engine is cancelled where it
stands, and a streaming body has `aclose()` called. Either way the engine's generator is closed
and aborts what is unfinished. `api.http.http1` sees to it that Hypercorn never stops reading.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import orjson
from quart import Response, request

from api.context import server_state
from api.errors import APIError, error_body, from_engine_error, server_error
from api.http.access import request_state
from api.settings import ErrorFormat
from engine.errors import EngineError

Result = TypeVar("Result")

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}

log = logging.getLogger("servax.api")


def sse_response(events: AsyncIterator[bytes]) -> Response:
    """A 200 answer that writes each item of `events` as it comes, in one piece.

    `events` yields complete events (`data: ...\\n\\n`, several may be joined) and is closed when
    it ends, when the client goes away, and when the response is never started.
    """
    settings = server_state().settings
    body = EventBody(events, settings.error_format, settings.sse_keep_alive_interval_s)
    request_state(request.scope).closers.append(body.aclose)
    response = Response(body, headers=HEADERS)
    response.timeout = None
    return response


class EventBody:
    """The asynchronous iterator Quart sends: `events`, keep-alive comments, and a last resort.

    An exception that `events` lets through is a bug of the route; it still becomes an error
    event and `[DONE]`, so that a client never sees a stream that just stops.
    """

    def __init__(
        self, events: AsyncIterator[bytes], style: ErrorFormat, keep_alive_interval_s: float
    ) -> None:
        self._events = events
        self._style: ErrorFormat = style
        self._interval_s = keep_alive_interval_s or None
        self._next: asyncio.Task[bytes | None] | None = None
        self._is_ended = False
        self._closing = asyncio.Lock()

    def __aiter__(self) -> EventBody:
        return self

    async def __anext__(self) -> bytes:
        if self._is_ended:
            raise StopAsyncIteration
        try:
            return await self._next_event()
        except StopAsyncIteration:
            self._is_ended = True
            raise
        except Exception as error:
            self._is_ended = True
            return self._failure(error)

    async def aclose(self) -> None:
        """Close `events`, waiting for its clean-up. It may be called again, even meanwhile."""
        self._is_ended = True
        async with self._closing:
            pending, self._next = self._next, None
            if pending is not None:
                pending.cancel()
                await asyncio.gather(pending, return_exceptions=True)
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()

    async def _next_event(self) -> bytes:
        if self._interval_s is None:
            return await anext(self._events)
        if self._next is None:
            self._next = asyncio.ensure_future(_first(self._events))
        done, _ = await asyncio.wait({self._next}, timeout=self._interval_s)
        if not done:
            return KEEP_ALIVE
        finished, self._next = self._next, None
        item = finished.result()
        if item is None:
            raise StopAsyncIteration
        return item

    def _failure(self, error: Exception) -> bytes:
        if isinstance(error, APIError):
            told = error
        elif isinstance(error, EngineError):
            told = from_engine_error(error)
        else:
            log.exception("a stream failed", exc_info=error)
            told = server_error()
        return b"data: " + orjson.dumps(error_body(told, self._style)) + b"\n\n" + DONE


async def _first(events: AsyncIterator[bytes]) -> bytes | None:
    """The next event, or None at the end (a task cannot raise StopAsyncIteration)."""
    async for event in events:
        return event
    return None


async def run_unless_disconnected(work: Coroutine[Any, Any, Result]) -> Result:
    """Run what a non-streaming answer needs; a disconnect cancels it and waits for its clean-up.

    Plain `await` is cancelled too (see the module docstring). The task of its own makes sure
    that clean-up, which tells the engine to abort, runs to its end even if the connection's
    task is cancelled a second time meanwhile.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
