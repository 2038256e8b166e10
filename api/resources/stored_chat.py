"""Routes of stored chat completions."""

from __future__ import annotations

import re

import orjson
from quart import Blueprint, Response, request

from api.context import context, storage
from api.http.json_body import read_json_object
from api.http.query import read_query
from api.keys.auth import without_engine
from api.protocol.responses.queries import CompletionsQuery, MessagesQuery
from api.resources.answers import json_response
from api.services.chat import stored as stored_chat
from engine.errors import InvalidParameterError

blueprint = Blueprint("stored_chat", __name__)

MAX_PAIRS = 16
_ONE = "/v1/chat/completions/<completion_id>"
_PAIR = re.compile(r"metadata\[([^\]]{1,64})\]")


@blueprint.get("/v1/chat/completions")
async def list_completions() -> Response:
    """Those that were kept, in pages."""
    pairs = [name for name in request.args if _PAIR.fullmatch(name)]
    wanted = _wanted()
    query = read_query(request, CompletionsQuery, known=pairs)
    found = stored_chat.list_completions(context(), storage(), query, wanted)
    return _shown(await found)


@blueprint.get(_ONE)
async def retrieve(completion_id: str) -> Response:
    """One of them."""
    return _shown(await stored_chat.retrieve(context(), storage(), completion_id))


@blueprint.post(_ONE)
@without_engine
async def update(completion_id: str) -> Response:
    """Change its metadata."""
    body = await read_json_object(request)
    return _shown(await stored_chat.update(context(), storage(), completion_id, body))


@blueprint.delete(_ONE)
async def remove(completion_id: str) -> Response:
    """Delete it."""
    return _shown(await stored_chat.remove(context(), storage(), completion_id))


@blueprint.get(f"{_ONE}/messages")
async def list_messages(completion_id: str) -> Response:
    """The messages of its request, in pages."""
    query = read_query(request, MessagesQuery)
    found = stored_chat.list_messages(context(), storage(), completion_id, query)
    return _shown(await found)


def _wanted() -> dict[str, str]:
    """`metadata[key]=value` of the query.

    Raises:
        InvalidParameterError: `metadata` is written otherwise, has too many pairs, or one twice.
    """
    pairs: dict[str, str] = {}
    for name, value in request.args.items():
        if name != "metadata" and not name.startswith("metadata["):
            continue
        found = _PAIR.fullmatch(name)
        if found is None:
            raise InvalidParameterError(
                "Invalid 'metadata': it is written as metadata[key]=value, with keys of 1 to 64 "
                "characters.",
                param="metadata",
            )
        if len(request.args.getlist(name)) > 1:
            raise InvalidParameterError(f"Invalid '{name}': given several times.", param=name)
        pairs[found[1]] = value
    if len(pairs) > MAX_PAIRS:
        raise InvalidParameterError(
            f"Invalid 'metadata': at most {MAX_PAIRS} pairs.", param="metadata"
        )
    return pairs


def _shown(body: dict[str, object]) -> Response:
    return json_response(orjson.dumps(body))
