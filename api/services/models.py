"""GET /v1/models: what can be asked for."""

from __future__ import annotations

import hashlib

import orjson

from api.context import ServerContext
from api.protocol.models import ModelCard, ModelList, ModelPermission
from api.services.requests import verify_model


def list_models(context: ServerContext) -> bytes:
    """All served names, as JSON."""
    cards = [_card(context, name) for name in context.model_names]
    return orjson.dumps(ModelList(data=cards).model_dump())


def retrieve_model(context: ServerContext, name: str) -> bytes:
    """One served name, as JSON.

    Raises:
        APIError: 404, it is not served.
    """
    verify_model(context, name)
    return orjson.dumps(_card(context, name).model_dump())


def _card(context: ServerContext, name: str) -> ModelCard:
    permission = ModelPermission(
        id=f"modelperm-{hashlib.sha256(name.encode()).hexdigest()[:16]}", created=context.created
    )
    return ModelCard(
        id=name,
        created=context.created,
        root=context.model_root,
        max_model_len=context.engine.info.max_model_len,
        permission=[permission],
    )
