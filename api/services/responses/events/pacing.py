"""Events in fewer, longer lists, so that writing them down costs one commit for many."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from api.services.responses.objects.open_items import Event
from api.services.responses.objects.open_mcp_items import SETTLED_AFTER

Events = AsyncGenerator[list[Event], None]


async def gathered(events: Events, interval_s: float) -> Events:
    """What came within `interval_s` of the first, as one list; what a server of tools is called
    after, at once: it is written down before the call, so that none is made twice."""
    loop = asyncio.get_running_loop()
    waiting: list[Event] = []
    due_s = 0.0
    coming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            timeout_s = max(0.0, due_s - loop.time()) if waiting else None
            done, _ = await asyncio.wait({coming}, timeout=timeout_s)
            if not done:
                yield waiting
                waiting = []
                continue
            if coming.exception() is not None and waiting:
                yield waiting  # they were made, whatever comes after
            ready = coming.result()
            if ready is None:
                break
            due_s = due_s if waiting else loop.time() + interval_s
            waiting = waiting + ready
            if loop.time() >= due_s or waiting[-1]["type"] in SETTLED_AFTER:
                yield waiting
                waiting = []
            coming = asyncio.ensure_future(anext(events, None))
        if waiting:
            yield waiting
    finally:
        coming.cancel()
        with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
            await asyncio.gather(coming, return_exceptions=True)
        await events.aclose()
