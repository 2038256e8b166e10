"""Responses: their context, their events, and how they go."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage import ids
from api.storage.items import (
    Item,
    add_items,
    conversation_items,
    items_of,
    lock_conversation,
    num_conversation_items,
    own_items,
    remove_unneeded,
)
from api.storage.owned import find_owned, not_found
from api.storage.tables.responses import EventsRow, ItemRow, ResponseRow

Event = dict[str, Any]

COMPRESSION = 1
"""zlib's quickest: events repeat each other so much that more gains little."""


async def find_response(
    session: AsyncSession, project_id: str, response_id: str, *, lock: bool = False
) -> ResponseRow | None:
    """A response by its id, or by the one that its client chose."""
    row = await find_owned(session, ResponseRow, project_id, response_id, lock=lock)
    own_id = ids.project_id_of(response_id, project_id)
    if row is not None or own_id == response_id:
        return row
    return await find_owned(session, ResponseRow, project_id, own_id, lock=lock)


async def load_response(
    session: AsyncSession, project_id: str, response_id: str, *, lock: bool = False
) -> ResponseRow:
    """A response that was not deleted. Raises APIError 404 without one."""
    row = await find_response(session, project_id, response_id, lock=lock)
    if row is None or row.is_deleted:
        raise not_found("response", response_id)
    return row


async def context_of(session: AsyncSession, row: ResponseRow) -> list[Item]:
    """All that a response was made of: its conversation, the responses before it, its input."""
    root = row if not row.ancestors else await session.get(ResponseRow, row.ancestors[0])
    before: list[Item] = []
    if root is not None and root.conversation_id is not None:
        before = await conversation_items(session, root.conversation_id, root.num_before)
    own = await own_items(session, row)
    return [*before, *await items_of(session, row.ancestors), *own]


async def keep_context(session: AsyncSession, row: ResponseRow, before: Sequence[Item]) -> None:
    """A new response will find what it was made of, whatever is deleted from now on. If some of it
    was deleted since it was read, all of it stays as that of a deleted response does.

    Arguments:
        before: what comes before the items of its request, as it was read.
    """
    if not before or await _is_there(session, row, len(before)):
        return
    gone = ResponseRow(
        id=ids.new_id("response"),
        project_id=row.project_id,
        created_at=row.created_at,
        key_id=row.key_id,
        status="completed",
        body={},
        request={},
        ancestors=[],
        is_background=False,
        is_deleted=True,
        has_events=False,
        queue=row.queue,
        is_open=False,
    )
    session.add(gone)
    add_items(session, gone.project_id, gone.id, before, removed_at=0)
    row.parent_id, row.ancestors, row.num_before = gone.id, [gone.id], 0


async def _is_there(session: AsyncSession, row: ResponseRow, num_items: int) -> bool:
    """Whether a new response still has what it builds on, which nobody can delete before the
    transaction ends."""
    if row.parent_id is not None:  # while it is there, so is all before it
        parent = select(ResponseRow.id).where(ResponseRow.id == row.parent_id)
        return await session.scalar(parent.with_for_update(read=True, key_share=True)) is not None
    assert row.conversation_id is not None
    if not await lock_conversation(session, row.conversation_id):
        return False
    num_left = await num_conversation_items(session, row.conversation_id, row.num_before)
    return num_left == num_items


def add_events(session: AsyncSession, response_id: str, events: Sequence[Event]) -> None:
    """Write down events that follow those written before."""
    lines = b"\n".join(map(orjson.dumps, events))
    session.add(
        EventsRow(
            response_id=response_id,
            first=events[0]["sequence_number"],
            count=len(events),
            data=zlib.compress(lines, COMPRESSION),
        )
    )


async def events_after(
    session: AsyncSession, response_id: str, sequence_number: int
) -> list[Event]:
    """All events that were written down with a greater number."""
    query = (
        select(EventsRow)
        .where(
            EventsRow.response_id == response_id,
            EventsRow.first + EventsRow.count > sequence_number + 1,
        )
        .order_by(EventsRow.first)
    )
    rows = (await session.scalars(query)).all()
    events: list[Event] = [
        orjson.loads(line) for row in rows for line in zlib.decompress(row.data).split(b"\n")
    ]
    return [event for event in events if event["sequence_number"] > sequence_number]


async def num_events(session: AsyncSession, response_id: str) -> int:
    """Events that were written down."""
    query = select(func.coalesce(func.sum(EventsRow.count), 0))
    return int((await session.scalars(query.where(EventsRow.response_id == response_id))).one())


async def remove_response(session: AsyncSession, row: ResponseRow) -> None:
    """Take a response away from its owner. Its items stay while later responses build on it."""
    row.is_deleted, row.is_open = True, False
    row.lease_number += 1  # whoever makes it cannot write any more
    row.body, row.request, row.outputs = {}, {}, {}
    await session.execute(delete(EventsRow).where(EventsRow.response_id == row.id))
    await session.execute(update(ItemRow).where(ItemRow.holder_id == row.id).values(removed_at=0))
    await session.flush()
    at: ResponseRow | None = row
    while at is not None and at.is_deleted and not await _is_built_on(session, at):
        await session.execute(delete(ItemRow).where(ItemRow.holder_id == at.id))
        await session.delete(at)
        await session.flush()
        if at.num_before and at.conversation_id is not None:
            await remove_unneeded(session, at.conversation_id)
        # Locked, so that of two who go at once the later one sees that the other is gone.
        at = await _locked(session, at.parent_id)


async def _locked(session: AsyncSession, response_id: str | None) -> ResponseRow | None:
    if response_id is None:
        return None
    return await session.get(ResponseRow, response_id, with_for_update=True)


async def _is_built_on(session: AsyncSession, row: ResponseRow) -> bool:
    """Whether there is a response whose `previous_response_id` it is."""
    later = select(ResponseRow.id).where(ResponseRow.parent_id == row.id)
    return await session.scalar(later.limit(1)) is not None
