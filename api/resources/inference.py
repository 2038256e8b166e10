"""Routes of vLLM's token interface."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from api.context import context
from api.json_body import read_json_object
from api.resources.answers import respond
from api.services.generate import generate_tokens
from api.sse import run_unless_disconnected

blueprint = Blueprint("inference", __name__)


@blueprint.post("/inference/v1/generate")
async def generate() -> Response:
    """Continue a prompt of token ids."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(generate_tokens(context(), body, g.request_id)))
