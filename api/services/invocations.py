"""POST /invocations: the field that only one kind of request has tells which one it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from api.context import ServerContext
from api.services.chat.service import create_chat_completion
from api.services.completions.service import create_completion
from api.services.generate.service import generate_tokens
from api.services.requests import Answer
from engine.errors import InvalidParameterError

Service = Callable[[ServerContext, Mapping[str, Any], str | None], Awaitable[Answer]]

SERVICES: dict[str, Service] = {
    "messages": create_chat_completion,
    "prompt": create_completion,
    "prompt_embeds": create_completion,
    "token_ids": generate_tokens,
}


async def invoke(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Answer as the endpoint would whose field the body has.

    Raises:
        InvalidParameterError: it has none of them.
        APIError, EngineError: the request was refused or failed.
    """
    for name, service in SERVICES.items():
        if name in body:
            return await service(context, body, http_request_id)
    raise InvalidParameterError(
        f"Missing required parameter: one of {', '.join(map(repr, SERVICES))}.",
        param="messages",
        code="missing_required_parameter",
    )
