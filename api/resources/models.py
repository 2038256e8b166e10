"""Routes of models."""

from __future__ import annotations

from quart import Blueprint, Response

from api.context import context
from api.resources.answers import json_response
from api.services.models import list_models, retrieve_model

blueprint = Blueprint("models", __name__)


@blueprint.get("/v1/models")
async def models() -> Response:
    """List the models that can be asked for."""
    return json_response(list_models(context()))


@blueprint.get("/v1/models/<path:name>")
async def model(name: str) -> Response:
    """One model; its name may hold slashes."""
    return json_response(retrieve_model(context(), name))
