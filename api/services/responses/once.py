"""A line of a batch, or a request with an `Idempotency-Key`, makes one response, though it may be
run again after a crash.

The response is committed with its conversation's new items before the line's result is, or the
key's answer: a server that dies in between leaves it behind. Its id follows from the batch and the
line, or from the key, so the next run finds it and gives it as the answer. One that failed makes
room for a new try, unless it called an MCP server: calls are made by one run (`stored.mcp_claims`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import orjson

from api.errors import APIError
from api.protocol.responses.queries import RetrieveQuery
from api.services.generation.events import EventStream
from api.services.requests import Answer
from api.services.responses.exchange import Exchange
from api.services.responses.service import create_response
from api.services.responses.stored.mcp_claims import take_up_calls, verify_uncalled
from api.services.responses.stored.retrieval import retrieve, stream_again
from api.services.responses.stored.rows import TAKEN
from api.storage.owned import find_owned
from api.storage.responses import remove_response
from api.storage.tables.responses import ResponseRow


async def respond_once(exchange: Exchange, body: Mapping[str, Any], response_id: str) -> Answer:
    """As POST /v1/responses, with this id.

    Raises:
        APIError, EngineError: the request was refused or failed; 409, an earlier run of it called
            an MCP server, and made no response.
    """
    is_streamed = body.get("stream") is True
    if await _is_made(exchange, response_id):
        return await _answer(exchange, response_id, is_streamed=is_streamed)
    claim = functools.partial(take_up_calls, exchange, response_id)
    try:
        return await create_response(exchange, body, response_id=response_id, claim=claim)
    except APIError as error:
        # a worker that lost its lease unnoticed was quicker
        if error.code != TAKEN or not await _is_made(exchange, response_id):
            raise
        return await _answer(exchange, response_id, is_streamed=is_streamed)


async def _answer(exchange: Exchange, response_id: str, *, is_streamed: bool) -> Answer:
    """What an earlier run made."""
    query = RetrieveQuery(stream=is_streamed)
    if not is_streamed:
        return Answer(body=orjson.dumps(await retrieve(exchange, response_id, query)))
    events = await stream_again(exchange, response_id, query)
    return Answer(events=EventStream(events, events))


async def _is_made(exchange: Exchange, response_id: str) -> bool:
    """Whether an earlier run made it; of one that failed nothing stays."""
    async with exchange.storage.database.reading() as session:
        row = await find_owned(session, ResponseRow, exchange.project_id, response_id)
        if row is not None and row.is_deleted:
            row = None
        if row is not None and (row.status != "failed" or row.is_background):
            return True
        await verify_uncalled(session, exchange.project_id, response_id)
    if row is not None:
        async with exchange.storage.database.writing() as session:
            await remove_response(
                session, await session.get_one(ResponseRow, row.id, with_for_update=True)
            )
    return False
