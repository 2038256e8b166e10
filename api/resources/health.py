"""Is it alive, is it ready, how busy is it, what is it."""

from __future__ import annotations

import orjson
from quart import Blueprint, Response

from api.context import loaded_context, server_state
from api.errors import engine_failed, unavailable
from api.keys.auth import public
from api.version import server_version

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
@public
async def health() -> Response:
    """200 and nothing from when the model is loaded until the engine is gone for good, else 503.

    As in vLLM, scripts wait for it before they send. An engine that is started again keeps it 200:
    its requests wait for it.
    """
    loaded_context()
    return Response(b"", headers={"content-length": "0"})


@blueprint.route("/ping", methods=["GET", "POST"])
@public
async def ping() -> Response:
    """The same as /health, by the name some hosts ask for."""
    return await health()


@blueprint.get("/ready")
@public
async def ready() -> Response:
    """200 only if the device has just finished a step, made for this question if need be."""
    state = server_state()
    if state.admission.is_draining:
        raise unavailable("The server is shutting down.", "server_shutting_down")
    if state.failure is not None:
        raise engine_failed()
    engine = state.engine if state.context is not None else None
    await state.readiness.verify(engine, state.settings.ready_step_age_s)
    return Response(b"", headers={"content-length": "0"})


@blueprint.get("/version")
@public
async def version() -> Response:
    """The version of this server."""
    return json_response({"version": server_version()})


@blueprint.get("/load")
async def load() -> Response:
    """How many requests are using the engine or waiting for it."""
    return json_response({"server_load": server_state().admission.num_working})


def json_response(value: object) -> Response:
    """A 200 answer with a JSON body."""
    return Response(orjson.dumps(value), headers={"content-type": "application/json"})
