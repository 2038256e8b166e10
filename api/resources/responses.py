"""Routes of the Responses API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from quart import Blueprint, Response, request

from api.context import context, server_state
from api.http.json_body import read_json_object
from api.http.query import read_query
from api.http.sse import run_unless_disconnected, sse_response
from api.idempotency import id_of
from api.keys.auth import without_engine
from api.protocol.responses.queries import ItemsQuery, RetrieveQuery
from api.resources.answers import json_response, respond
from api.services.responses.exchange import DIALECT_HEADER, Exchange
from api.services.responses.once import respond_once
from api.services.responses.rendered import render_response
from api.services.responses.service import create_response
from api.services.responses.stored import background, retrieval
from api.services.responses.tokens import compact, count_input_tokens
from api.services.responses.tool_outputs import give_outputs

blueprint = Blueprint("responses", __name__)


def exchange() -> Exchange:
    """The current request's."""
    state = server_state()
    return Exchange(
        context=context(),
        opened=state.storage,
        wake_jobs=state.wake_jobs,
        request_id=request.headers.get("X-Request-Id"),
        dialect=request.headers.get(DIALECT_HEADER, ""),
    )


def shown(body: Mapping[str, Any]) -> Response:
    """A 200 with JSON."""
    return json_response(orjson.dumps(body))


@blueprint.post("/v1/responses")
async def create() -> Response:
    """Answer a conversation."""
    body = await read_json_object(request)
    own_id = id_of("response")
    if own_id is None:
        return respond(await run_unless_disconnected(create_response(exchange(), body)))
    return respond(await run_unless_disconnected(respond_once(exchange(), body, own_id)))


@blueprint.get("/v1/responses/<response_id>")
async def retrieve(response_id: str) -> Response:
    """A response, or its events again."""
    query = read_query(request, RetrieveQuery)
    if query.stream:
        return sse_response(await retrieval.stream_again(exchange(), response_id, query))
    return shown(await retrieval.retrieve(exchange(), response_id, query))


@blueprint.delete("/v1/responses/<response_id>")
async def delete(response_id: str) -> Response:
    """Delete a response."""
    return shown(await retrieval.delete_response(exchange(), response_id))


@blueprint.post("/v1/responses/<response_id>/tool_outputs")
async def tool_outputs(response_id: str) -> Response:
    """Go on with what tools gave."""
    body = await read_json_object(request)
    work = give_outputs(exchange(), response_id, body)
    return respond(await run_unless_disconnected(work))


@blueprint.post("/v1/responses/<response_id>/cancel")
@without_engine
async def cancel(response_id: str) -> Response:
    """End a background response."""
    return shown(await background.cancel(exchange(), response_id))


@blueprint.get("/v1/responses/<response_id>/input_items")
async def input_items(response_id: str) -> Response:
    """What a response was made of."""
    query = read_query(request, ItemsQuery)
    return shown(await retrieval.list_input_items(exchange(), response_id, query))


@blueprint.post("/v1/responses/input_tokens")
async def input_tokens() -> Response:
    """Count a prompt's tokens."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(count_input_tokens(exchange(), body)))


@blueprint.post("/v1/responses/render")
async def render() -> Response:
    """What a request would give the engine."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(render_response(exchange(), body)))


@blueprint.post("/v1/responses/compact")
async def compaction() -> Response:
    """Shorten a conversation."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(compact(exchange(), body)))
