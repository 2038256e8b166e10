"""What is done once, written down before it is done.

One approval makes one call, however many requests bring it: of whichever branch, in whichever
conversation or in none, kept or not. A response claims the approvals of its request when it
begins. When it ends, those whose calls it did not make are free again. Of a response that its
client waited for and whose process died nobody knows what it called, so its claims stay.

A request that is run again after a crash (`once`) makes its calls in one run. A run claims them
before the first; the next one, if there is no response by then, makes none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import APIError
from api.services.responses.events.dialects import TERMINAL
from api.services.responses.exchange import Exchange
from api.services.responses.mcp.servers import McpServers
from api.services.responses.mcp.told import Approved
from api.services.responses.objects.open_items import Event, Item
from api.storage.errors import StorageError
from api.storage.inserting import insert_new
from api.storage.tables.mcp_claims import McpClaimRow
from engine.errors import InvalidParameterError

Events = AsyncGenerator[list[Event], None]

UNKNOWN_OUTCOME = APIError(
    "An earlier run of this request called an MCP server and did not come to its end. What came of "
    "its calls is not known, so they are not made again.",
    status=409,
    code="mcp_call_outcome_unknown",
)


async def claimed(
    exchange: Exchange, response_id: str, servers: McpServers, events: Events
) -> Events:
    """`events` of a response that its client waits for, while its approvals are its own.

    Raises:
        InvalidParameterError: another response has one of them.
        StorageError: they cannot be claimed.
    """
    async with exchange.storage.database.writing() as session:
        await take_up(session, exchange.project_id, response_id, servers.approved)
    is_over = False
    try:
        async with contextlib.aclosing(events):
            async for ready in events:
                if ready and ready[-1]["type"] in TERMINAL:
                    is_over = True
                    await _give_back(exchange, response_id, servers)
                yield ready
    finally:
        if not is_over:
            await asyncio.shield(_give_back(exchange, response_id, servers))


async def take_up(
    session: AsyncSession, project_id: str, response_id: str, approved: Sequence[Approved]
) -> None:
    """These approvals are those of this response.

    Raises:
        InvalidParameterError: another response has one of them.
    """
    for each in sorted(approved, key=_subject):  # one order for all, so that none waits for another
        await _insert(session, project_id, each.request.id, response_id)
        row = await session.get(McpClaimRow, (project_id, each.request.id))
        if row is None or row.response_id != response_id:
            param = f"{each.path}.approval_request_id"
            raise InvalidParameterError(
                f"Invalid '{param}': this request was answered already.", param=param
            )


async def let_go(session: AsyncSession, response_id: str, called: Collection[str]) -> None:
    """A response is over: approvals whose calls it did not make can be given again.

    Arguments:
        called: ids of the requests for approval whose calls it made.
    """
    await session.execute(
        delete(McpClaimRow).where(
            McpClaimRow.response_id == response_id,
            McpClaimRow.subject_id.not_in([*called, response_id]),
        )
    )


def called_in(output: Sequence[Item]) -> set[str]:
    """The requests for approval whose calls are in an output, and so may have been made."""
    return {item["approval_request_id"] for item in output if _is_approved(item)}


async def take_up_calls(exchange: Exchange, response_id: str) -> None:
    """From now on this run of a request makes its calls.

    Raises:
        APIError: 409, another run began to.
        StorageError: it cannot be written down.
    """
    project_id = exchange.project_id
    async with exchange.storage.database.writing() as session:
        if not await _insert(session, project_id, response_id, response_id):
            raise UNKNOWN_OUTCOME


async def verify_uncalled(session: AsyncSession, project_id: str, response_id: str) -> None:
    """Raise APIError 409 if an earlier run of a request began to call."""
    if await session.get(McpClaimRow, (project_id, response_id)) is not None:
        raise UNKNOWN_OUTCOME


async def _insert(
    session: AsyncSession, project_id: str, subject_id: str, response_id: str
) -> bool:
    """Whether there was no such claim."""
    row = {"project_id": project_id, "subject_id": subject_id, "response_id": response_id}
    inserting = insert_new(session, McpClaimRow).values(row)
    added = await session.execute(inserting.returning(McpClaimRow.subject_id))
    return added.first() is not None


async def _give_back(exchange: Exchange, response_id: str, servers: McpServers) -> None:
    """If that cannot be written down, the approvals stay taken."""
    if servers.called.issuperset(map(_subject, servers.approved)):
        return
    with contextlib.suppress(StorageError):
        async with exchange.storage.database.writing() as session:
            await let_go(session, response_id, servers.called)


def _subject(approved: Approved) -> str:
    return approved.request.id


def _is_approved(item: Item) -> bool:
    return item["type"] == "mcp_call" and item["approval_request_id"] is not None
