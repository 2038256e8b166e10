"""Conversations and their items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage.ids import can_be_kept
from api.storage.items import Item, add_items, remove_unneeded
from api.storage.owned import load_owned, not_found
from api.storage.tables.responses import ConversationRow, ItemRow, RemovedItemRow


async def load_conversation(
    session: AsyncSession, project_id: str, conversation_id: str, *, lock: bool = False
) -> ConversationRow:
    """A conversation. Raises APIError 404 without one."""
    return await load_owned(
        session, ConversationRow, project_id, conversation_id, "conversation", lock=lock
    )


async def append_items(
    session: AsyncSession, row: ConversationRow, items: Sequence[Item]
) -> list[Item]:
    """Put items at the end of a conversation that is locked; an id that it has already is given
    anew, so that each item of a conversation has its own."""
    query = select(ItemRow.item_id).where(
        *_is_in(row.id), ItemRow.item_id.in_([item["id"] for item in items])
    )
    taken = set(await session.scalars(query))
    fresh: list[Item] = []
    for item in items:
        item_id: Any = item["id"]
        if item_id in taken:
            item_id = f"{item_id[:96]}_{row.num_positions + len(fresh):x}"
        taken.add(item_id)
        fresh.append(item | {"id": item_id})
    add_items(session, row.project_id, row.id, fresh, first=row.num_positions)
    row.num_positions += len(fresh)
    return fresh


async def load_item(session: AsyncSession, row: ConversationRow, item_id: str) -> ItemRow:
    """One item. Raises APIError 404 without one."""
    query = select(ItemRow).where(*_is_in(row.id), ItemRow.item_id == item_id)
    found = (await session.scalars(query)).first() if can_be_kept(item_id) else None
    if found is None:
        raise not_found("item", item_id)
    return found


async def remove_item(session: AsyncSession, row: ConversationRow, item: ItemRow) -> None:
    """Take an item out of a conversation that is locked; its place is remembered. It stays while a
    response that was made of it is there."""
    place = RemovedItemRow(holder_id=row.id, item_id=item.item_id, position=item.position)
    await session.merge(place)
    item.removed_at = row.num_positions
    row.num_positions += 1
    await session.flush()
    await remove_unneeded(session, row.id)


async def places_of_removed(
    session: AsyncSession, conversation_id: str, item_ids: Sequence[str]
) -> dict[str, int]:
    """How many items come before each of these that was removed, by its id."""
    possible = [item_id for item_id in item_ids if can_be_kept(item_id)]
    if not possible:
        return {}
    num_before = (
        select(func.count())
        .where(*_is_in(conversation_id), ItemRow.position < RemovedItemRow.position)
        .scalar_subquery()
    )
    query = select(RemovedItemRow.item_id, num_before).where(
        RemovedItemRow.holder_id == conversation_id, RemovedItemRow.item_id.in_(possible)
    )
    return {row[0]: row[1] for row in await session.execute(query)}


async def remove_conversation(session: AsyncSession, row: ConversationRow) -> None:
    """Delete a conversation that is locked. Its items stay while responses that were made of them
    are there."""
    await session.execute(delete(RemovedItemRow).where(RemovedItemRow.holder_id == row.id))
    await session.execute(
        update(ItemRow).where(*_is_in(row.id)).values(removed_at=row.num_positions)
    )
    await remove_unneeded(session, row.id)
    await session.delete(row)


def _is_in(conversation_id: str) -> tuple[ColumnElement[bool], ...]:
    """Of items that were not removed."""
    return ItemRow.holder_id == conversation_id, ItemRow.removed_at.is_(None)
