"""One URL for every kind of request, as SageMaker calls it."""

from __future__ import annotations

from quart import Blueprint, Response, g, request

from api.context import context
from api.http.json_body import read_json_object
from api.http.sse import run_unless_disconnected
from api.resources.answers import respond
from api.services.invocations import invoke

blueprint = Blueprint("invocations", __name__)


@blueprint.post("/invocations")
async def invocations() -> Response:
    """The endpoint whose fields the body has."""
    body = await read_json_object(request)
    return respond(await run_unless_disconnected(invoke(context(), body, g.request_id)))
