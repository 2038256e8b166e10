"""Routes by which an operator pauses, frees, empties and profiles the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from quart import Blueprint, Response, request

from api.context import context, server_state
from api.http.json_body import parse_json_object, read_body, read_json_object
from api.http.noted_fields import Model, read_fields
from api.http.query import read_query
from api.keys.auth import for_operator
from api.protocol import management as protocol
from api.resources.health import json_response
from api.services.management import service as management
from api.services.management.server_info import server_info

blueprint = Blueprint("management", __name__)


@blueprint.post("/pause")
@for_operator
async def pause() -> Response:
    """Stop generating."""
    query = read_query(request, protocol.PauseQuery)
    return json_response(await management.pause(context(), query))


@blueprint.post("/resume")
@for_operator
async def resume() -> Response:
    """Generate again."""
    return json_response(await management.resume(context()))


@blueprint.get("/is_paused")
@for_operator
async def is_paused() -> Response:
    """Whether generation stands still."""
    return json_response({"is_paused": context().engine.suspension.is_paused})


@blueprint.post("/sleep")
@for_operator
async def sleep() -> Response:
    """Pause and free the device."""
    query = read_query(request, protocol.SleepQuery)
    return json_response(await management.sleep(context(), query))


@blueprint.post("/wake_up")
@for_operator
async def wake_up() -> Response:
    """Bring back what is missing, then generate again."""
    query = read_query(request, protocol.WakeUpQuery)
    return json_response(await management.wake_up(context(), query))


@blueprint.get("/is_sleeping")
@for_operator
async def is_sleeping() -> Response:
    """Whether the engine is paused or asleep, which vLLM does not tell apart."""
    return json_response({"is_sleeping": context().engine.suspension.is_paused})


@blueprint.post("/abort_requests")
@for_operator
async def abort_requests() -> Response:
    """End requests, all of them without a body."""
    body = parse_json_object(await read_body(request) or b"{}")
    protocol.verify_abort_body(body)
    asked = _read(protocol.AbortRequestsRequest, body)
    return json_response(await management.abort_requests(context(), asked))


@blueprint.post("/reset_prefix_cache")
@for_operator
async def reset_prefix_cache() -> Response:
    """Forget cached prefixes."""
    query = read_query(request, protocol.ResetPrefixCacheQuery)
    return json_response(await management.reset_prefix_cache(context(), query))


@blueprint.post("/reset_mm_cache")
@for_operator
async def reset_mm_cache() -> Response:
    """200: a text model has no cache of media, so it is empty."""
    context()
    return Response(b"")


@blueprint.post("/reset_encoder_cache")
@for_operator
async def reset_encoder_cache() -> Response:
    """200: a text model has no cache of encoder outputs, so it is empty."""
    context()
    return Response(b"")


@blueprint.post("/release_kv_cache_memory")
@for_operator
async def release_kv_cache_memory() -> Response:
    """Free the KV pages of a paused engine."""
    return json_response(await management.release_kv_cache_memory(context()))


@blueprint.get("/server_info")
@for_operator
async def info() -> Response:
    """Choices, variables and versions."""
    query = read_query(request, protocol.ServerInfoQuery)
    is_text = query.config_format == "text"
    return json_response(server_info(server_state(), is_text=is_text, environment=os.environ))


@blueprint.post("/start_profile")
@for_operator
async def start_profile() -> Response:
    """Begin a trace of the engine."""
    await management.start_profile(context())
    return Response(b"")


@blueprint.post("/stop_profile")
@for_operator
async def stop_profile() -> Response:
    """End the trace and write it."""
    await management.stop_profile(context())
    return Response(b"")


@blueprint.post("/scale_elastic_ep")
@for_operator
async def scale_elastic_ep() -> Response:
    """Refuse any other number of data-parallel groups than there are."""
    body = await read_json_object(request)
    asked = _read(protocol.ScaleElasticEPRequest, body)
    config = server_state().config
    size = config.data_parallel_size if config is not None else 1
    return json_response(management.scale_elastic_ep(size, asked))


@blueprint.post("/is_scaling_elastic_ep")
@for_operator
async def is_scaling_elastic_ep() -> Response:
    """False: the number of data-parallel groups never changes."""
    return json_response({"is_scaling_elastic_ep": False})


def _read(model: type[Model], body: Mapping[str, Any]) -> Model:
    return read_fields(model, body, strict_fields=server_state().settings.strict_fields)
