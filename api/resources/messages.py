"""Routes of Anthropic's Messages API."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from api.context import context
from api.http.json_body import read_json_object
from api.http.sse import run_unless_disconnected
from api.resources.answers import respond
from api.services.anthropic.service import count_tokens, create_message, render_message

blueprint = Blueprint("messages", __name__)


@blueprint.post("/v1/messages")
async def messages() -> Response:
    """Answer a conversation."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(create_message(context(), body, g.request_id)))


@blueprint.post("/v1/messages/count_tokens")
async def count() -> Response:
    """Count a conversation's tokens."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(count_tokens(context(), body)))


@blueprint.post("/v1/messages/render")
async def render() -> Response:
    """What the conversation would give the engine."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(render_message(context(), body, g.request_id)))
