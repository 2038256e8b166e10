"""What a request builds on: the responses before it, its conversation, items it refers to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import APIError
from api.protocol.responses.items import ITEMS, InputItem, ItemReference, input_items, stored_form
from api.protocol.responses.request import PromptFields
from api.services.responses.exchange import Exchange
from api.services.responses.objects.ids import item_id
from api.services.responses.request.conversion import Placed
from api.storage.conversations import load_conversation
from api.storage.items import conversation_items, find_item, output_of
from api.storage.responses import context_of, find_response
from api.storage.tables.responses import ConversationRow
from engine.errors import InvalidParameterError

UNFINISHED = frozenset({"queued", "in_progress"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The conversation that a request is part of.

    Attributes:
        items: all of it, oldest first, the request's own last.
        own: the request's items as they are kept, with ids.
        before: those that others keep: its conversation, or the responses before it.
        ancestors: ids of the responses before it, oldest first.
        num_before: the next position of its conversation when that was read.
    """

    items: Sequence[Placed]
    own: Sequence[dict[str, Any]] = ()
    before: Sequence[dict[str, Any]] = ()
    ancestors: Sequence[str] = ()
    num_before: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class _Before:
    """What comes before a request; see `History`."""

    items: Sequence[dict[str, Any]] = ()
    ancestors: Sequence[str] = ()
    num_before: int = 0
    is_unkept: bool = False


async def load_history(exchange: Exchange, request: PromptFields, response_id: str) -> History:
    """Everything before a request, then what it adds.

    Raises:
        APIError: 404, something it builds on does not exist.
        InvalidParameterError: a response it builds on is not finished.
    """
    given = input_items(request.input)
    known = exchange.remembered
    if known is not None and known.id == request.previous_response_id:
        before = _Before(known.items, is_unkept=True)
        return _joined(before, given, response_id)
    needs_storage = (
        request.previous_response_id is not None
        or request.conversation is not None
        or any(isinstance(item, ItemReference) for item in given)
    )
    if not needs_storage:
        return _joined(_Before(), given, response_id)
    project_id = exchange.project_id
    async with exchange.storage.database.reading() as session:
        before = await _before(session, project_id, request)
        own = [
            await resolved(session, project_id, item, f"input[{i}]") for i, item in enumerate(given)
        ]
    return _joined(before, own, response_id)


def _joined(before: _Before, own: Sequence[InputItem], response_id: str) -> History:
    earlier = ITEMS.validate_python(list(before.items))
    items = [Placed(item) for item in earlier]
    items += [Placed(item, f"input[{index}]") for index, item in enumerate(own)]
    new = [*earlier, *own] if before.is_unkept else own  # nobody else keeps what was not kept
    kept = [_with_id(stored_form(item), response_id, index) for index, item in enumerate(new)]
    return History(
        items=items,
        own=kept,
        before=() if before.is_unkept else before.items,
        ancestors=before.ancestors,
        num_before=before.num_before,
    )


def _with_id(item: dict[str, Any], response_id: str, index: int) -> dict[str, Any]:
    new_id = item_id(response_id, item["type"], index, is_input=True)
    return {"id": item.get("id") or new_id} | item


async def _before(session: AsyncSession, project_id: str, request: PromptFields) -> _Before:
    if request.conversation_id is not None:
        row = await _conversation(session, project_id, request.conversation_id)
        items = await conversation_items(session, row.id, row.num_positions)
        return _Before(items, num_before=row.num_positions)
    if request.previous_response_id is None:
        return _Before()
    row = await find_response(session, project_id, request.previous_response_id)
    if row is None or row.is_deleted:
        raise APIError(
            f"Previous response with id '{request.previous_response_id[:128]}' not found.",
            status=404,
            param="previous_response_id",
            code="previous_response_not_found",
        )
    if row.status in UNFINISHED:
        raise InvalidParameterError(
            "Invalid 'previous_response_id': that response is not finished.",
            param="previous_response_id",
        )
    items = [*await context_of(session, row), *await output_of(session, row)]
    return _Before(items, ancestors=(*row.ancestors, row.id))


async def _conversation(
    session: AsyncSession, project_id: str, conversation_id: str
) -> ConversationRow:
    try:
        return await load_conversation(session, project_id, conversation_id)
    except APIError as error:
        raise APIError(
            error.message, status=error.status, param="conversation", code=error.code
        ) from None


async def resolved(session: AsyncSession, project_id: str, item: InputItem, path: str) -> InputItem:
    """An item, or the one it refers to. Raises APIError 404, naming `path`."""
    if not isinstance(item, ItemReference):
        return item
    found = await find_item(session, project_id, item.id)
    if found is None:
        raise APIError(
            f"Item with id '{item.id}' not found.",
            status=404,
            param=f"{path}.id",
            code="item_not_found",
        )
    return ITEMS.validate_python([found])[0]
