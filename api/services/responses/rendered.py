"""POST /v1/responses/render: what a request would give the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from api.protocol.later_fields import Neutral, refuse_fields
from api.services.naming import naming
from api.services.render.service import REASON, render_job
from api.services.requests import Answer, verify_model
from api.services.responses.conversation.history import load_history
from api.services.responses.exchange import Exchange
from api.services.responses.request.beginning import known_toolbox
from api.services.responses.request.making import make_job, new_response_id, read_request
from api.services.responses.request.wording import spell

NOT_RENDERED: Mapping[str, Neutral] = {
    "background": (None, False),
    "store": (None, False),
    "tool_outputs_mode": (None, "continue"),
}


async def render_response(exchange: Exchange, body: Mapping[str, Any]) -> Answer:
    """What a response's request and all before it give the engine, as a body for
    /inference/v1/generate. Nothing is kept.

    Raises:
        APIError, EngineError: the request was refused.
    """
    refuse_fields(body, NOT_RENDERED, REASON)
    parsed = read_request(exchange, body)
    request = parsed.request
    verify_model(exchange.context, request.model)
    response_id = new_response_id(request, exchange.project_id)
    history = await load_history(exchange, request, response_id)
    job = await make_job(
        exchange.context,
        request,
        body,
        items=history.items,
        response_id=response_id,
        toolbox=known_toolbox(request, history.items),
    )
    with naming(spell):
        rendered = await render_job(job.chat)
    rendered["stream"] = bool(request.stream)
    unknown = parsed.unknown + tuple(map(spell, job.chat.without_effect))
    return Answer(body=orjson.dumps(rendered), unknown_fields=unknown)
