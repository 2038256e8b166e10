"""Routes of conversations."""

from __future__ import annotations

from quart import Blueprint, Response, request

from api.http.json_body import read_json_object
from api.http.query import read_query
from api.idempotency import answered, id_of
from api.keys.auth import without_engine
from api.protocol.responses.queries import IncludeQuery, ItemsQuery
from api.resources.responses import exchange, shown
from api.services.responses.conversation import conversations

blueprint = Blueprint("conversations", __name__)

_ONE = "/v1/conversations/<conversation_id>"


@blueprint.post("/v1/conversations")
@without_engine
async def create() -> Response:
    """A new conversation."""
    body = await read_json_object(request)
    return shown(await conversations.create(exchange(), body, id_of("conversation")))


@blueprint.get(_ONE)
async def retrieve(conversation_id: str) -> Response:
    """One conversation."""
    return shown(await conversations.retrieve(exchange(), conversation_id))


@blueprint.post(_ONE)
@without_engine
async def update(conversation_id: str) -> Response:
    """Change its metadata."""
    body = await read_json_object(request)
    return shown(await conversations.update(exchange(), conversation_id, body))


@blueprint.delete(_ONE)
async def remove(conversation_id: str) -> Response:
    """Delete it."""
    return shown(await conversations.remove(exchange(), conversation_id))


@blueprint.post(f"{_ONE}/items")
@without_engine
async def add_items(conversation_id: str) -> Response:
    """Put items at its end."""
    body, query = await read_json_object(request), read_query(request, IncludeQuery)
    added = conversations.add_items(exchange(), conversation_id, body, query, answered())
    return shown(await added)


@blueprint.get(f"{_ONE}/items")
async def list_items(conversation_id: str) -> Response:
    """Its items, in pages."""
    query = read_query(request, ItemsQuery)
    return shown(await conversations.list_items(exchange(), conversation_id, query))


@blueprint.get(f"{_ONE}/items/<item_id>")
async def retrieve_item(conversation_id: str, item_id: str) -> Response:
    """One of its items."""
    query = read_query(request, IncludeQuery)
    found = conversations.retrieve_item(exchange(), conversation_id, item_id, query)
    return shown(await found)


@blueprint.delete(f"{_ONE}/items/<item_id>")
async def remove_item(conversation_id: str, item_id: str) -> Response:
    """Delete one of its items."""
    return shown(await conversations.remove_item(exchange(), conversation_id, item_id))
