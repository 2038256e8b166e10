"""Routes of completions."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from api.context import context
from api.http.json_body import read_json_object
from api.http.sse import run_unless_disconnected
from api.resources.answers import respond
from api.services.completions.service import create_completion
from api.services.derender.completions import derender_completion
from api.services.render.service import render_completion

blueprint = Blueprint("completions", __name__)


@blueprint.post("/v1/completions")
async def completions() -> Response:
    """Continue one or several prompts."""
    body = await read_json_object(request)
    work = create_completion(context(), body, g.request_id)
    return respond(await run_unless_disconnected(work))


@blueprint.post("/v1/completions/render")
async def completions_render() -> Response:
    """What each prompt would give the engine."""
    body = await read_json_object(request)
    work = render_completion(context(), body, g.request_id)
    return respond(await run_unless_disconnected(work))


@blueprint.post("/v1/completions/derender")
async def completions_derender() -> Response:
    """Token ids back to a completion."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(derender_completion(context(), body)))
