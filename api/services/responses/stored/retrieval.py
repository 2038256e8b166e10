"""Responses that were made before: shown, streamed again, listed, deleted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from api.errors import APIError
from api.protocol.responses.queries import ItemsQuery, RetrieveQuery
from api.services.generation.events import DONE
from api.services.responses.conversation.listing import included, page_of_items
from api.services.responses.events.dialects import TERMINAL, DialectWriter
from api.services.responses.events.restoring import Written, ending
from api.services.responses.exchange import Exchange
from api.services.responses.objects.open_items import Event
from api.services.responses.objects.snapshot import Snapshot
from api.services.responses.stored.mcp_claims import called_in, let_go
from api.storage.responses import context_of, events_after, load_response, remove_response
from api.storage.tables.responses import ResponseRow
from engine.errors import InvalidParameterError

DELETED = {"code": "server_error", "message": "The response was deleted."}

POLL_S = 0.1
"""How often the events of a response that another worker makes are looked for."""


async def retrieve(exchange: Exchange, response_id: str, query: RetrieveQuery) -> dict[str, Any]:
    """A response as it is now. Raises APIError 404."""
    row = await _load(exchange, response_id)
    if query.starting_after is not None:
        raise InvalidParameterError(
            "Invalid 'starting_after': only allowed when 'stream' is true.",
            param="starting_after",
        )
    return shown(row, query)


def shown(row: ResponseRow, query: RetrieveQuery | None = None) -> dict[str, Any]:
    """The response object of a row."""
    include = () if query is None else query.include or ()
    return {**row.body, "output": [included(item, include) for item in row.body["output"]]}


async def stream_again(
    exchange: Exchange, response_id: str, query: RetrieveQuery
) -> AsyncGenerator[bytes, None]:
    """Its events after `starting_after`, as they were and as they come. The last one is told in any
    case: events that a client saw and nobody wrote down before the server died have its number.

    Raises:
        APIError: 404; 400, there are no events of it.
    """
    row = await _load(exchange, response_id)
    if not row.has_events:
        raise InvalidParameterError(
            "Invalid 'stream': this response was made without 'stream' and not in the background.",
            param="stream",
        )
    last = -1 if query.starting_after is None else query.starting_after
    writer = DialectWriter(
        exchange.dialect_for(None if exchange.dialect else row.request.get("event_dialect")),
        is_legacy=exchange.context.settings.legacy_reasoning_events,
        is_padded=bool(query.include_obfuscation),
        last=max(0, last),
    )
    return told_of_the_cut(_followed(follow(exchange, row.id, row.body), last, writer), writer)


async def told_of_the_cut(
    written: AsyncGenerator[bytes, None], writer: DialectWriter
) -> AsyncGenerator[bytes, None]:
    """What is read from the storage, and if that fails, an end that says so."""
    async with contextlib.aclosing(written):
        try:
            async for piece in written:
                yield piece
        except APIError as error:
            yield writer.cut(error)


async def _followed(
    following: AsyncGenerator[list[Event], None], last: int, writer: DialectWriter
) -> AsyncGenerator[bytes, None]:
    async with contextlib.aclosing(following) as batches:
        async for events in batches:
            num_known = sum(
                event["sequence_number"] <= last and event["type"] not in TERMINAL
                for event in events
            )
            for event in events[:num_known]:
                writer.note(event)
            written = writer.write(events[num_known:])
            if written or events[-1]["type"] in TERMINAL:
                yield written or DONE


async def follow(
    exchange: Exchange, response_id: str, body: Snapshot
) -> AsyncGenerator[list[Event], None]:
    """All events of a response, in lists, until the one that ends it. One that is deleted meanwhile
    ends as failed.

    Arguments:
        body: the response, as it was when it was last seen.

    Raises:
        APIError: 503, the storage cannot be used now, or the server ends.
    """
    last, written = -1, Written()
    while True:
        async with exchange.storage.database.reading() as session:
            events = await events_after(session, response_id, last)
            row = await session.get(ResponseRow, response_id)
        if events:
            last = events[-1]["sequence_number"]
            written.take(events)
            yield events
            if events[-1]["type"] in TERMINAL:
                return
        elif row is None or row.is_deleted:
            yield ending(body, written, "failed", error=DELETED)
            return
        await exchange.context.unless_ending(asyncio.sleep(POLL_S))


async def list_input_items(
    exchange: Exchange, response_id: str, query: ItemsQuery
) -> dict[str, Any]:
    """What a response was made of, one page. Raises APIError 404."""
    async with exchange.storage.database.reading() as session:
        row = await load_response(session, exchange.project_id, response_id)
        items = await context_of(session, row)
    return page_of_items(items, query)


async def delete_response(exchange: Exchange, response_id: str) -> dict[str, Any]:
    """Take a response away; one that is running stops. Raises APIError 404."""
    async with exchange.storage.database.writing() as session:
        row = await load_response(session, exchange.project_id, response_id, lock=True)
        if row.is_open and row.is_background:
            told = await events_after(session, row.id, -1)
            begun = [event["item"] for event in told if "item" in event]
            await let_go(session, row.id, called_in(begun))
        await remove_response(session, row)
    return {"id": row.id, "object": "response", "deleted": True}


async def _load(exchange: Exchange, response_id: str) -> ResponseRow:
    async with exchange.storage.database.reading() as session:
        return await load_response(session, exchange.project_id, response_id)
