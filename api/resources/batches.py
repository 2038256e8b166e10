"""Routes of batches."""

from __future__ import annotations

from typing import Any

import orjson
from quart import Blueprint, Response, request

from api.context import caller, context, server_state, storage
from api.http.json_body import read_json_object
from api.http.query import read_query
from api.idempotency import answered, id_of
from api.keys.auth import without_engine
from api.protocol.batches import BatchesQuery
from api.resources.answers import json_response
from api.services.batches import service

blueprint = Blueprint("batches", __name__)


@blueprint.post("/v1/batches")
@without_engine
async def create_batch() -> Response:
    """Have a file of requests answered."""
    body = await read_json_object(request)
    model = context().model_names[0]
    strict = server_state().settings.strict_fields
    batch_id = id_of("batch")
    made = await service.create_batch(
        storage(), caller(), body, model, batch_id=batch_id, strict_fields=strict
    )
    server_state().wake_jobs()
    return _shown(made)


@blueprint.get("/v1/batches")
async def list_batches() -> Response:
    """Batches, in pages."""
    query = read_query(request, BatchesQuery)
    return _shown(await service.list_batches(storage(), caller().project_id, query))


@blueprint.get("/v1/batches/<batch_id>")
async def retrieve_batch(batch_id: str) -> Response:
    """One batch."""
    return _shown(await service.retrieve_batch(storage(), caller().project_id, batch_id))


@blueprint.post("/v1/batches/<batch_id>/cancel")
@without_engine
async def cancel_batch(batch_id: str) -> Response:
    """Begin no more lines of a batch."""
    project_id = caller().project_id
    return _shown(await service.cancel_batch(storage(), project_id, batch_id, answered()))


def _shown(body: dict[str, Any]) -> Response:
    return json_response(orjson.dumps(body))
