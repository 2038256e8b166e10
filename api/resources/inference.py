"""Routes of vLLM's that OpenAI has nothing like."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from api.context import context
from api.http.json_body import read_json_object
from api.http.sse import run_unless_disconnected
from api.keys.auth import for_operator
from api.resources.answers import respond
from api.services.generate.service import abort_generations, generate_tokens
from api.services.generative_scoring import score

blueprint = Blueprint("inference", __name__)


@blueprint.post("/inference/v1/generate")
async def generate() -> Response:
    """Continue a prompt of token ids."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(generate_tokens(context(), body, g.request_id)))


@blueprint.post("/inference/v1/abort_requests")
@for_operator
async def abort_requests() -> Response:
    """End these requests."""
    await abort_generations(context(), await read_json_object(request))
    return Response(b"")


@blueprint.post("/generative_scoring")
async def generative_scoring() -> Response:
    """Score items by the next token."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(score(context(), body, g.request_id)))
