"""Responses and what belongs to them: items, events, the conversation they are part of."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage import ids
from api.storage.owned import find_owned, not_found
from api.storage.tables.responses import EventsRow, ItemRow, ResponseRow

Item = dict[str, Any]
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


async def items_of(session: AsyncSession, holder_ids: Sequence[str]) -> list[Item]:
    """Items of responses, in the order of `holder_ids` and within each."""
    rows = await session.scalars(
        select(ItemRow).where(ItemRow.holder_id.in_(holder_ids)).order_by(ItemRow.position)
    )
    by_holder: dict[str, list[Item]] = {holder_id: [] for holder_id in holder_ids}
    for row in rows:
        by_holder[row.holder_id].append(row.body)
    return [item for holder_id in holder_ids for item in by_holder[holder_id]]


async def conversation_items(session: AsyncSession, conversation_id: str, end: int) -> list[Item]:
    """Items of a conversation at the positions [0, end)."""
    query = select(ItemRow.body).where(ItemRow.holder_id == conversation_id, ItemRow.position < end)
    return list(await session.scalars(query.order_by(ItemRow.position)))


async def own_items(session: AsyncSession, row: ResponseRow) -> list[Item]:
    """The items of a response's request."""
    return await _side(session, row.id, is_output=False)


async def output_of(session: AsyncSession, row: ResponseRow) -> list[Item]:
    """What the model made."""
    return await _side(session, row.id, is_output=True)


async def _side(session: AsyncSession, response_id: str, *, is_output: bool) -> list[Item]:
    query = select(ItemRow.body).where(
        ItemRow.holder_id == response_id, ItemRow.is_output == is_output
    )
    return list(await session.scalars(query.order_by(ItemRow.position)))


async def context_of(session: AsyncSession, row: ResponseRow) -> list[Item]:
    """All that a response was made of: its conversation, the responses before it, its input."""
    root = row if not row.ancestors else await session.get(ResponseRow, row.ancestors[0])
    before: list[Item] = []
    if root is not None and root.conversation_id is not None:
        before = await conversation_items(session, root.conversation_id, root.num_before)
    own = await own_items(session, row)
    return [*before, *await items_of(session, row.ancestors), *own]


async def find_item(session: AsyncSession, project_id: str, item_id: str) -> Item | None:
    """An item of the project by its id, the newest if several have it."""
    query = (
        select(ItemRow)
        .where(ItemRow.project_id == project_id, ItemRow.item_id == item_id)
        .order_by(ItemRow.holder_id.desc())
        .limit(1)
    )
    row = (await session.scalars(query)).first()
    return None if row is None else row.body


def add_items(
    session: AsyncSession,
    project_id: str,
    holder_id: str,
    items: Sequence[Item],
    *,
    first: int = 0,
    is_output: bool = False,
) -> None:
    """Put items, which have ids, at [first, first + number of items)."""
    session.add_all(
        ItemRow(
            holder_id=holder_id,
            position=first + index,
            project_id=project_id,
            item_id=item["id"],
            is_output=is_output,
            body=item,
        )
        for index, item in enumerate(items)
    )


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
    await session.flush()
    at: ResponseRow | None = row
    while at is not None and at.is_deleted and not await _is_built_on(session, at):
        await session.execute(delete(ItemRow).where(ItemRow.holder_id == at.id))
        await session.delete(at)
        await session.flush()
        at = None if at.parent_id is None else await session.get(ResponseRow, at.parent_id)


async def _is_built_on(session: AsyncSession, row: ResponseRow) -> bool:
    """Whether there is a response whose `previous_response_id` it is."""
    later = select(ResponseRow.id).where(ResponseRow.parent_id == row.id)
    return await session.scalar(later.limit(1)) is not None
