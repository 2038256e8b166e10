"""Items, whoever holds them: a response or a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage.tables.responses import ConversationRow, ItemRow, ResponseRow

Item = dict[str, Any]


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
    """What was in a conversation when `end` was its next position."""
    query = select(ItemRow.body).where(*_was_in(conversation_id, end))
    return list(await session.scalars(query.order_by(ItemRow.position)))


async def num_conversation_items(session: AsyncSession, conversation_id: str, end: int) -> int:
    """How many of these there are."""
    query = select(func.count()).select_from(ItemRow).where(*_was_in(conversation_id, end))
    return int(await session.scalar(query) or 0)


def _was_in(conversation_id: str, end: int) -> tuple[ColumnElement[bool], ...]:
    is_later = or_(ItemRow.removed_at.is_(None), ItemRow.removed_at >= end)
    return ItemRow.holder_id == conversation_id, ItemRow.position < end, is_later


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


async def find_item(session: AsyncSession, project_id: str, item_id: str) -> Item | None:
    """An item of the project by its id, the newest if several have it. One that is only kept for
    responses that were made of it is none."""
    query = (
        select(ItemRow)
        .where(
            ItemRow.project_id == project_id,
            ItemRow.item_id == item_id,
            ItemRow.removed_at.is_(None),
        )
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
    removed_at: int | None = None,
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
            removed_at=removed_at,
        )
        for index, item in enumerate(items)
    )


async def lock_conversation(session: AsyncSession, conversation_id: str) -> bool:
    """Whether there is a conversation, which stays as it is until the transaction ends."""
    query = select(ConversationRow.id).where(ConversationRow.id == conversation_id)
    return await session.scalar(query.with_for_update()) is not None


async def remove_unneeded(session: AsyncSession, conversation_id: str) -> None:
    """Delete what was removed from a conversation and no response needs any more."""
    needing = select(ResponseRow.id).where(
        ResponseRow.conversation_id == ItemRow.holder_id,
        ResponseRow.num_before > ItemRow.position,
        ResponseRow.num_before <= ItemRow.removed_at,
    )
    removed = (ItemRow.holder_id == conversation_id, ItemRow.removed_at.is_not(None))
    # One at a time: of two who delete the last responses that need an item, the later one sees that
    # the other's is gone. Items, because their conversation may be gone too.
    await lock_conversation(session, conversation_id)
    locked = select(ItemRow.position).where(*removed).order_by(ItemRow.position)
    await session.execute(locked.with_for_update())
    await session.execute(delete(ItemRow).where(*removed, ~needing.exists()))
