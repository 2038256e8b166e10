"""Conversations: made, shown, changed, deleted, and their items."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic
from sqlalchemy.ext.asyncio import AsyncSession

from api.http.noted_fields import read_fields
from api.protocol.responses.conversations import (
    CreateConversationRequest,
    CreateItemsRequest,
    UpdateConversationRequest,
)
from api.protocol.responses.items import InputItem, stored_form
from api.protocol.responses.later import refuse_later_items
from api.protocol.responses.queries import IncludeQuery, ItemsQuery
from api.services.access.idempotency import Answered, unasked
from api.services.responses.conversation.history import resolved
from api.services.responses.conversation.listing import Item, included, item_list, page_of_items
from api.services.responses.exchange import Exchange
from api.services.responses.objects.ids import item_id
from api.services.responses.request.conversion import sealed_text
from api.storage import ids
from api.storage.conversations import (
    append_items,
    load_conversation,
    load_item,
    places_of_removed,
    remove_conversation,
)
from api.storage.conversations import remove_item as remove_item_of
from api.storage.items import conversation_items
from api.storage.owned import find_owned
from api.storage.tables.responses import ConversationRow

Body = dict[str, Any]
Model = TypeVar("Model", bound=pydantic.BaseModel)


async def create(
    exchange: Exchange, body: Mapping[str, Any], conversation_id: str | None = None
) -> Body:
    """A new conversation; one that has this id already stays as it is. Raises
    InvalidParameterError, APIError."""
    request = _read(exchange, body, CreateConversationRequest)
    row = ConversationRow(
        id=conversation_id or ids.new_id("conversation"),
        project_id=exchange.project_id,
        created_at=int(time.time()),
        tags=request.metadata or {},
        num_positions=0,
    )
    async with exchange.storage.database.writing() as session:
        if made := await find_owned(session, ConversationRow, row.project_id, row.id):
            return shown(made)
        session.add(row)
        await append_items(session, row, await _new_items(session, row, request.items or ()))
    return shown(row)


async def retrieve(exchange: Exchange, conversation_id: str) -> Body:
    """Raises APIError 404."""
    async with exchange.storage.database.reading() as session:
        return shown(await load_conversation(session, exchange.project_id, conversation_id))


async def update(exchange: Exchange, conversation_id: str, body: Mapping[str, Any]) -> Body:
    """Give it other metadata. Raises InvalidParameterError, APIError 404."""
    request = _read(exchange, body, UpdateConversationRequest)
    async with exchange.storage.database.writing() as session:
        row = await _locked(session, exchange, conversation_id)
        row.tags = request.metadata or {}
    return shown(row)


async def remove(exchange: Exchange, conversation_id: str) -> Body:
    """Delete it with its items; responses that were part of it stay as they are. Raises APIError
    404."""
    async with exchange.storage.database.writing() as session:
        await remove_conversation(session, await _locked(session, exchange, conversation_id))
    return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}


async def add_items(
    exchange: Exchange,
    conversation_id: str,
    body: Mapping[str, Any],
    query: IncludeQuery,
    answered: Answered = unasked,
) -> Body:
    """Put items at its end; a list of those. Raises InvalidParameterError, APIError."""
    request = _read(exchange, body, CreateItemsRequest)
    async with exchange.storage.database.writing() as session:
        row = await _locked(session, exchange, conversation_id)
        added = await append_items(session, row, await _new_items(session, row, request.items))
        answer = item_list([included(item, query.include or ()) for item in added], has_more=False)
        await answered(session, answer)
    return answer


async def list_items(exchange: Exchange, conversation_id: str, query: ItemsQuery) -> Body:
    """One page of its items. Raises APIError."""
    async with exchange.storage.database.reading() as session:
        row = await load_conversation(session, exchange.project_id, conversation_id)
        items = await conversation_items(session, row.id, row.num_positions)
        cursors = [
            cursor for cursor in (query.after, query.before) if cursor and ids.is_sane(cursor)
        ]
        gone = await places_of_removed(session, row.id, cursors)
    return page_of_items(items, query, gone)


async def retrieve_item(
    exchange: Exchange, conversation_id: str, wanted_id: str, query: IncludeQuery
) -> Item:
    """Raises APIError 404."""
    async with exchange.storage.database.reading() as session:
        row = await load_conversation(session, exchange.project_id, conversation_id)
        item = await load_item(session, row, wanted_id)
    return included(item.body, query.include or ())


async def remove_item(exchange: Exchange, conversation_id: str, wanted_id: str) -> Body:
    """Take an item out of it; the conversation it was in. Raises APIError 404."""
    async with exchange.storage.database.writing() as session:
        row = await _locked(session, exchange, conversation_id)
        await remove_item_of(session, row, await load_item(session, row, wanted_id))
    return shown(row)


def shown(row: ConversationRow) -> Body:
    """A conversation as clients see it."""
    return {
        "id": row.id,
        "object": "conversation",
        "created_at": row.created_at,
        "metadata": row.tags,
    }


def _read(exchange: Exchange, body: Mapping[str, Any], model: type[Model]) -> Model:
    refuse_later_items(body.get("items"), "items")
    strict = exchange.context.settings.strict_fields
    return read_fields(model, body, strict_fields=strict)


async def _locked(
    session: AsyncSession, exchange: Exchange, conversation_id: str
) -> ConversationRow:
    return await load_conversation(session, exchange.project_id, conversation_id, lock=True)


async def _new_items(
    session: AsyncSession, row: ConversationRow, given: Sequence[InputItem]
) -> list[Item]:
    """The items with ids; what is referred to is copied."""
    items: list[Item] = []
    for index, item in enumerate(given):
        found = await resolved(session, row.project_id, item, f"items[{index}]")
        sealed_text(found, f"items[{index}]")  # or every response to it would be refused
        kept = stored_form(found)
        items.append({"id": kept.get("id") or _id_of(kept, row, index)} | kept)
    return items


def _id_of(item: Item, row: ConversationRow, index: int) -> str:
    """A new id, which is nobody else's."""
    unique = ids.new_id("item").removeprefix("item_")
    return item_id(unique, item["type"], index)
