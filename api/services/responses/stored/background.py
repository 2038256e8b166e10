"""`background: true`: the response is a job. Whoever runs it writes its events down first; streams
read them from there, whichever worker they ask."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.context import ServerContext
from api.errors import APIError, retry_headers
from api.keys.tenant import Tenant
from api.protocol.responses.items import ITEMS
from api.protocol.responses.request import ResponsesRequest
from api.services.generation.merging import merge
from api.services.responses.conversation.history import History
from api.services.responses.events.frame import ResponseFrame
from api.services.responses.events.pacing import gathered
from api.services.responses.events.restoring import Written, ending
from api.services.responses.events.resuming import resumed
from api.services.responses.events.run import ResponseRun
from api.services.responses.exchange import Exchange
from api.services.responses.mcp.told import Approved
from api.services.responses.objects.snapshot import Snapshot
from api.services.responses.request.beginning import begin_job
from api.services.responses.request.conversion import Placed
from api.services.responses.stored.mcp_claims import called_in, let_go, take_up
from api.services.responses.stored.recorder import Events
from api.services.responses.stored.rows import Work, write_begin, write_end, writing
from api.storage.items import own_items
from api.storage.responses import add_events, context_of, events_after, load_response
from api.storage.tables.responses import ResponseRow

PACE_S = 0.05
"""Events of so long are written down together."""

CANCEL_S = 1.0
"""For so long a worker is waited for that is asked to stop."""

MAX_OPEN = 1000
"""Background responses of one project that are not over."""


def queue_of(context: ServerContext) -> str:
    """The queue of replicas that serve this model."""
    return f"response {context.model_names[0]}"[:128]


def pinned(body: dict[str, Any]) -> dict[str, Any]:
    """The request with a seed, so that whoever makes it makes the same."""
    return body if body.get("seed") is not None else body | {"seed": secrets.randbits(63)}


async def enqueue(
    exchange: Exchange,
    frame: ResponseFrame,
    history: History,
    body: dict[str, Any],
    approved: Sequence[Approved],
) -> Snapshot:
    """Write a response down for whichever worker is free; what it is now.

    Arguments:
        approved: calls that it makes first.

    Raises:
        APIError: 429, there are too many already; 409, its id is taken.
        InvalidParameterError: another response makes one of the approved calls.
        StorageError: it could not be written down.
    """
    events = frame.queued()
    async with writing(exchange) as session:
        await _verify_room(session, exchange.project_id)
        await take_up(session, exchange.project_id, events[-1]["response"]["id"], approved)
        row = await write_begin(
            session,
            exchange,
            events[-1]["response"],
            history,
            body,
            work=Work(queue=queue_of(exchange.context), is_open=True),
            has_events=True,
            usage=frame.usage,
        )
        add_events(session, row.id, events)
    return row.body


async def make_again(
    context: ServerContext, row: ResponseRow, session: AsyncSession
) -> tuple[ResponseFrame, Events, list[dict[str, Any]]]:
    """A response's frame, the events that are missing of it, and the items of its request.

    Raises:
        APIError, EngineError: it cannot be made any more.
    """
    items = await context_of(session, row)
    own, known = await own_items(session, row), await events_after(session, row.id, -1)
    tenant = Tenant(project_id=row.project_id, key_id=row.key_id)
    first_own = len(items) - len(own)
    job, servers = await begin_job(
        context.for_tenant(tenant),
        ResponsesRequest.model_validate(row.request),
        row.request,
        items=[
            Placed(item, f"input[{index - first_own}]" if index >= first_own else "")
            for index, item in enumerate(ITEMS.validate_python(items))
        ],
        response_id=row.id,
        created_at=row.created_at,
        known=known,
    )
    run = ResponseRun(job, servers=servers)
    events = run.events(merge([job.chat.generation]))
    return run.frame, gathered(resumed(events, known), PACE_S), own


async def cancel(exchange: Exchange, response_id: str) -> Snapshot:
    """End a background response now, whichever worker makes it; one that is over stays as it is.

    Its worker stops when it writes next, and ends it with all the tokens that were made. A worker
    that has nothing to write is not waited for.

    Raises:
        APIError: 404; 400, it was not made in the background.
    """
    database = exchange.storage.database
    async with database.writing() as session:
        row = await load_response(session, exchange.project_id, response_id, lock=True)
        if not row.is_background:
            raise APIError(
                "Cannot cancel a synchronous response.",
                param="response_id",
                code="invalid_value",
            )
        row.is_cancelled = row.is_open
    asked_s = time.monotonic()
    while row.is_open and row.lease_owner and time.monotonic() < asked_s + CANCEL_S:
        await asyncio.sleep(PACE_S)
        async with database.reading() as session:
            row = await load_response(session, exchange.project_id, response_id)
    async with database.writing() as session:
        row = await load_response(session, exchange.project_id, response_id, lock=True)
        if row.is_open:
            await end_now(session, row, "cancelled")
            row.lease_number += 1  # a worker that has it can write nothing more
    return row.body


async def end_now(
    session: AsyncSession, row: ResponseRow, status: str, error: dict[str, Any] | None = None
) -> None:
    """End a response that nobody makes any more."""
    known = await events_after(session, row.id, -1)
    events = ending(row.body, Written(known), status, error=error, usage=row.usage)
    add_events(session, row.id, events)
    await write_end(session, row, events[-1]["response"], await own_items(session, row))
    if row.is_background:
        await let_go(session, row.id, called_in(row.body["output"]))


async def _verify_room(session: AsyncSession, project_id: str) -> None:
    query = select(func.count()).where(
        ResponseRow.is_open, ResponseRow.is_background, ResponseRow.project_id == project_id
    )
    if int(await session.scalar(query) or 0) >= MAX_OPEN:
        raise APIError(
            f"There are {MAX_OPEN} background responses already that are not over.",
            status=429,
            code="rate_limit_exceeded",
            headers=retry_headers(10.0),
        )
