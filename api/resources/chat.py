"""Routes of chat completions."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from api.context import context, storage
from api.http.json_body import read_json_object
from api.http.sse import run_unless_disconnected
from api.idempotency import id_of
from api.resources.answers import respond
from api.services.chat.batch import create_batch_chat_completion
from api.services.chat.service import create_chat_completion
from api.services.chat.stored import keeper
from api.services.derender.chat import derender_chat
from api.services.render.service import render_chat_completion

blueprint = Blueprint("chat", __name__)


@blueprint.post("/v1/chat/completions")
async def chat_completions() -> Response:
    """Answer a conversation."""
    body = await read_json_object(request)
    keep = keeper(storage()) if body.get("store") is True else None
    kept_id = id_of("chat_completion")
    work = create_chat_completion(context(), body, g.request_id, keep, kept_id)
    return respond(await run_unless_disconnected(work))


@blueprint.post("/v1/chat/completions/batch")
async def chat_completions_batch() -> Response:
    """Answer several conversations."""
    body = await read_json_object(request)
    work = create_batch_chat_completion(context(), body, g.request_id)
    return respond(await run_unless_disconnected(work))


@blueprint.post("/v1/chat/completions/render")
async def chat_completions_render() -> Response:
    """What the conversation would give the engine."""
    body = await read_json_object(request)
    work = render_chat_completion(context(), body, g.request_id)
    return respond(await run_unless_disconnected(work))


@blueprint.post("/v1/chat/completions/derender")
async def chat_completions_derender() -> Response:
    """Token ids back to a chat's answer."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(derender_chat(context(), body)))
