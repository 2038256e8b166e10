"""Several generations as one stream, and a stream whose first chunks are waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

from api.services.generation.output import OutputChunk
from api.services.generation.run import Generation

Item = TypeVar("Item")


async def merge(
    generations: Sequence[Generation],
) -> AsyncGenerator[list[tuple[int, OutputChunk]], None]:
    """Chunks of all generations as they come, each with the index of its generation.

    The first failure ends it; closing it closes all.
    """
    if len(generations) == 1:
        async with contextlib.aclosing(generations[0].chunks()) as stream:
            async for chunks in stream:
                yield [(0, chunk) for chunk in chunks]
        return
    queue: asyncio.Queue[list[tuple[int, OutputChunk]] | BaseException | None] = asyncio.Queue()
    pumps = [
        asyncio.create_task(_pump(index, generation, queue))
        for index, generation in enumerate(generations)
    ]
    try:
        num_running = len(pumps)
        while num_running:
            ready, num_ended = _drain(await queue.get(), queue)
            num_running -= num_ended
            if ready:
                yield ready
    except Exception:
        for generation in generations:
            generation.excuse()
        raise
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(index: int, generation: Generation, queue: asyncio.Queue[Any]) -> None:
    try:
        async with contextlib.aclosing(generation.chunks()) as stream:
            async for chunks in stream:
                queue.put_nowait([(index, chunk) for chunk in chunks])
    except Exception as error:  # travels to the consumer, who raises it
        queue.put_nowait(error)
        return
    queue.put_nowait(None)


def _drain(first: Any, queue: asyncio.Queue[Any]) -> tuple[list[tuple[int, OutputChunk]], int]:
    """Everything that is ready now, and how many generations have ended."""
    ready: list[tuple[int, OutputChunk]] = []
    num_ended = 0
    item = first
    while True:
        if isinstance(item, BaseException):
            raise item
        if item is None:
            num_ended += 1
        else:
            ready.extend(item)
        if queue.empty():
            return ready, num_ended
        item = queue.get_nowait()


async def begin(stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Wait for the first chunks, so that a refusal is an HTTP status and not an event.

    Returns a generator that gives them again and then the rest.
    """
    try:
        first = await anext(stream)
    except BaseException:
        await stream.aclose()
        raise
    return _continued(first, stream)


async def _continued(first: Item, stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    async with contextlib.aclosing(stream):
        yield first
        async for item in stream:
            yield item
