"""A response's row from its beginning to its end, whoever writes it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import APIError
from api.services.responses.conversation.history import History
from api.services.responses.exchange import Exchange
from api.services.responses.objects.snapshot import Snapshot
from api.services.webhooks.events import emit
from api.storage.conversations import append_items, load_conversation
from api.storage.items import add_items
from api.storage.leases import now_ms
from api.storage.responses import keep_context
from api.storage.tables.responses import ResponseRow

FOREGROUND = "responses"
"""The queue of responses whose client waits for them; workers only end those whose maker died."""

LEASE_MS = 15_000

TAKEN = "duplicate_request_id"
"""The code of an id that there is already."""

KEPT = frozenset({"completed", "incomplete"})
"""Statuses of responses that become part of their conversation."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Who works on a response.

    Attributes:
        queue: whose workers may claim it.
        is_open: somebody has to: the one who writes it down now, or whoever claims it.
        owner: the one who writes it down now; None: whoever claims it.
    """

    queue: str = FOREGROUND
    is_open: bool = False
    owner: str | None = None


@contextlib.asynccontextmanager
async def writing(exchange: Exchange) -> AsyncGenerator[AsyncSession, None]:
    """A transaction that makes a response.

    Raises:
        APIError: 409, its id is taken.
        StorageError: it could not be written down.
    """
    try:
        async with exchange.storage.database.writing() as session:
            yield session
    except IntegrityError:
        raise APIError(
            "There is a response with this 'request_id' already.",
            status=409,
            param="request_id",
            code=TAKEN,
        ) from None


async def write_begin(
    session: AsyncSession,
    exchange: Exchange,
    response: Snapshot,
    history: History,
    request: dict[str, Any],
    *,
    work: Work,
    has_events: bool,
    usage: dict[str, Any],
) -> ResponseRow:
    """The response exists from now on, with all that it is made of.

    Arguments:
        request: the body, to be continued or taken over.
        usage: of its prompt, if nothing was made yet.
    """
    conversation = response["conversation"]
    row = ResponseRow(
        id=response["id"],
        project_id=exchange.project_id,
        created_at=response["created_at"],
        key_id=exchange.context.tenant.key_id,
        status=response["status"],
        body=response,
        request=request,
        parent_id=history.ancestors[-1] if history.ancestors else None,
        ancestors=list(history.ancestors),
        conversation_id=None if conversation is None else conversation["id"],
        num_before=history.num_before,
        is_background=response["background"],
        has_events=has_events,
        usage=usage,
        queue=work.queue,
        is_open=work.is_open,
        lease_owner=work.owner,
        lease_until=0 if work.owner is None else now_ms() + LEASE_MS,
    )
    await keep_context(session, row, history.before)
    session.add(row)
    add_items(session, row.project_id, row.id, history.own)
    return row


async def write_end(
    session: AsyncSession, row: ResponseRow, response: Snapshot, own: Sequence[dict[str, Any]]
) -> None:
    """The response is over: its last form, its output, its conversation's new items, and the
    event that tells webhooks.

    Arguments:
        own: the items of its request.
    """
    row.status, row.body, row.is_open = response["status"], response, False
    output = response["output"]
    add_items(session, row.project_id, row.id, output, first=len(own), is_output=True)
    if row.conversation_id is not None and row.status in KEPT:
        # a conversation that was deleted meanwhile gets nothing
        with contextlib.suppress(APIError):
            conversation = await load_conversation(
                session, row.project_id, row.conversation_id, lock=True
            )
            await append_items(session, conversation, [*own, *output])
    if row.is_background:
        await emit(session, row.project_id, f"response.{row.status}", row.id)
