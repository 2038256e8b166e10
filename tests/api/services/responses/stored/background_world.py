"""Background responses and workers that make them, in one process; what tests see of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from api.protocol.responses.queries import RetrieveQuery
from api.services.responses.stored import retrieval
from api.storage.responses import events_after
from api.workers import runner as runners
from api.workers.responses import BackgroundResponses, LeftResponses

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'
EVERYTHING = f"<think>\nHm, Rome.\n</think>\n\nLet me look.\n{CALL}"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
FIELDS: dict[str, Any] = {"background": True, "tools": [LOOK]}


@asynccontextmanager
async def working(asker: Any, **options: Any) -> AsyncGenerator[Any, None]:
    """One process's workers; at the end they hand over at once."""
    database = asker.storage.database
    kinds = [BackgroundResponses(asker.speaker.context, database), LeftResponses()]
    runner = runners.JobRunner(database, kinds, poll_s=0.02, **options)
    runner.start()
    try:
        yield runner
    finally:
        await runner.stop(0.0)


def slow(asker: Any, step_s: float = 0.01) -> None:
    generate = asker.speaker.engine.generate

    async def slowly(request: Any) -> AsyncGenerator[Any, None]:
        stream = generate(request)
        try:
            async for deltas in stream:
                await asyncio.sleep(step_s)
                yield deltas
        finally:
            await stream.aclose()

    asker.speaker.engine.generate = slowly


async def retrieved(asker: Any, response_id: str) -> dict[str, Any]:
    return await retrieval.retrieve(asker.exchange, response_id, RetrieveQuery())


async def until(asker: Any, response_id: str, is_so: Callable[[dict[str, Any]], bool]) -> Any:
    async with asyncio.timeout(60):
        while not is_so(body := await retrieved(asker, response_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return body


async def until_closed(asker: Any) -> None:
    """Until the engine was told that nobody wants its answer."""
    async with asyncio.timeout(60):
        while not asker.speaker.engine.closed:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_over(body: dict[str, Any]) -> bool:
    return body["status"] not in {"queued", "in_progress"}


async def streamed(asker: Any, response_id: str, after: int | None = None) -> list[Any]:
    query = RetrieveQuery(stream=True, starting_after=after)
    async with asyncio.timeout(60):
        sent = [
            event
            async for event in await retrieval.stream_again(asker.exchange, response_id, query)
        ]
    lines = b"".join(sent).decode().removesuffix("\n\n").split("\n\n")
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.split("\ndata: ")[1]) for line in lines[:-1]]


def joined(events: list[Any]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for event in events:
        if event["type"].endswith(".delta"):
            texts[event["type"]] = texts.get(event["type"], "") + event["delta"]
    return texts


def without_ids(output: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in item.items() if k not in {"id", "call_id"}} for item in output]


async def known(asker: Any, response_id: str) -> list[Any]:
    async with asker.storage.database.reading() as session:
        return await events_after(session, response_id, -1)


async def until_events(asker: Any, response_id: str, count: int) -> None:
    async with asyncio.timeout(60):
        while len(await known(asker, response_id)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
