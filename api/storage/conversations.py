"""Conversations and their items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage.owned import load_owned, not_found
from api.storage.responses import Item, add_items
from api.storage.tables.responses import ConversationRow, ItemRow


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
        ItemRow.holder_id == row.id, ItemRow.item_id.in_([item["id"] for item in items])
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
    query = select(ItemRow).where(ItemRow.holder_id == row.id, ItemRow.item_id == item_id)
    found = (await session.scalars(query)).first()
    if found is None:
        raise not_found("item", item_id)
    return found


async def remove_conversation(session: AsyncSession, row: ConversationRow) -> None:
    """Delete a conversation and its items."""
    await session.execute(delete(ItemRow).where(ItemRow.holder_id == row.id))
    await session.delete(row)
