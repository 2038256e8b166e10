"""A line of a batch makes one response, though it may be run again after a crash.

The response is committed with its conversation's new items before the line's result is: a worker
that dies in between leaves it behind. Its id follows from the batch and the line, so the next
worker finds it and gives it as the answer. One that failed makes room for a new try.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from api.errors import APIError
from api.services.requests import Answer
from api.services.responses.exchange import Exchange
from api.services.responses.rows import TAKEN
from api.services.responses.service import create_response
from api.storage.owned import find_owned
from api.storage.responses import remove_response
from api.storage.tables.responses import ResponseRow


async def respond_once(exchange: Exchange, body: Mapping[str, Any], response_id: str) -> Answer:
    """As POST /v1/responses, with this id.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    if body.get("store") is not False and (made := await _made(exchange, response_id)) is not None:
        return made
    try:
        return await create_response(exchange, body, response_id=response_id)
    except APIError as error:
        # a worker that lost its lease unnoticed was quicker
        made = await _made(exchange, response_id) if error.code == TAKEN else None
        if made is None:
            raise
        return made


async def _made(exchange: Exchange, response_id: str) -> Answer | None:
    """The answer of an earlier run; of one that failed nothing stays."""
    async with exchange.storage.database.reading() as session:
        row = await find_owned(session, ResponseRow, exchange.project_id, response_id)
    if row is None or row.is_deleted:
        return None
    if row.status != "failed" or row.is_background:
        return Answer(body=orjson.dumps(row.body))
    async with exchange.storage.database.writing() as session:
        await remove_response(session, await session.get_one(ResponseRow, row.id))
    return None
