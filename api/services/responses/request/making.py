"""From a request to a job: everything is checked and rendered, nothing has reached the engine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from api.context import ServerContext
from api.protocol.chat import ChatCompletionRequest
from api.protocol.later_fields import CHAT, refuse_later_fields
from api.protocol.parse import Parsed, parse_body
from api.protocol.responses.later import RESPONSES, refuse_later
from api.protocol.responses.request import ResponsesRequest
from api.services.chat.job import ChatJob
from api.services.chat.service import prepare
from api.services.generation.single_tokens import token_by_token
from api.services.naming import naming
from api.services.requests import Identity
from api.services.responses.exchange import Exchange
from api.services.responses.mcp.asked import verify_servers
from api.services.responses.mcp.toolbox import EMPTY, Toolbox
from api.services.responses.objects.ids import call_ids
from api.services.responses.request.compatibility import verify_official
from api.services.responses.request.conversion import Placed, Told, chat_body, whole_conversation
from api.services.responses.request.job import ResponseJob
from api.services.responses.request.truncation import fitting, within_room
from api.services.responses.request.wording import spell
from api.storage import ids
from engine.errors import InvalidParameterError

MAX_CHOSEN_ID = 120
"""Characters; ids of items are made of it and are a little longer."""


def read_request(exchange: Exchange, body: Mapping[str, Any]) -> Parsed[ResponsesRequest]:
    """The body, with what cannot be honoured refused.

    Raises:
        InvalidParameterError: `param` names the field.
    """
    settings = exchange.context.settings
    if settings.responses_compatibility_mode:
        verify_official(body, exchange)
    refuse_later(body)
    parsed = parse_body(
        ResponsesRequest, body, strict_fields=settings.strict_fields, known=RESPONSES
    )
    _verify_together(parsed.request)
    verify_servers(parsed.request, settings.allowed_mcp_domains)
    return parsed


def _verify_together(request: ResponsesRequest) -> None:
    """Fields that do not go with each other."""
    if request.stream_options is not None and not request.stream:
        raise _only("stream_options", "'stream' is true")
    if request.background and request.store is False:
        raise _only("background", "'store' is true")
    if request.tool_outputs_mode == "hold" and not _can_be_held(request):
        raise _only("tool_outputs_mode", "'stream' and 'store' are true and 'background' is not")
    if request.previous_response_id is not None and request.conversation is not None:
        raise _only("conversation", "there is no 'previous_response_id'")
    if request.conversation is not None and request.store is False:
        raise _only("conversation", "'store' is true")


def _can_be_held(request: ResponsesRequest) -> bool:
    return bool(request.stream) and request.store is not False and not request.background


def new_response_id(
    request: ResponsesRequest, project_id: str, response_id: str | None = None
) -> str:
    """The id of the answer: vLLM's `request_id`, or `response_id`, or a new one."""
    given = request.request_id
    if given is None:
        return response_id or ids.new_id("response")
    if not ids.is_sane(given):
        raise InvalidParameterError(
            "Invalid 'request_id': expected letters, digits, '-' and '_'.", param="request_id"
        )
    chosen = given if given.startswith("resp_") else f"resp_{given}"
    if ids.is_reserved(chosen):
        raise InvalidParameterError(
            "Invalid 'request_id': only the server makes ids of this form.", param="request_id"
        )
    made = ids.project_id_of(chosen, project_id)
    if len(made) > MAX_CHOSEN_ID:
        raise InvalidParameterError(
            "Invalid 'request_id': string too long.",
            param="request_id",
            code="string_above_max_length",
        )
    return made


async def make_job(
    context: ServerContext,
    request: ResponsesRequest,
    body: Mapping[str, Any],
    *,
    items: Sequence[Placed],
    response_id: str,
    created_at: int | None = None,
    num_before: int = 0,
    left: int | None = None,
    toolbox: Toolbox = EMPTY,
) -> ResponseJob:
    """Check and render.

    Arguments:
        items: the conversation, with what the request adds.
        created_at: of a response that was begun before.
        num_before: items of its output that there are already.
        left: what earlier turns left of `max_output_tokens`, for a turn after what tools gave.
        toolbox: tools of servers.

    Raises:
        APIError, EngineError: the request was refused.
    """
    identity = Identity(
        response_id=response_id,
        created=int(time.time()) if created_at is None else created_at,
        model=context.model_names[0],
        fingerprint=context.settings.fingerprint_value or context.engine.info.fingerprint,
        given_id=request.request_id or "",
    )
    run = token_by_token(context.engine.generate) if request.wants_logprobs else None

    async def turn(limit: int | None) -> ChatJob:
        async def attempt(kept: Sequence[Told]) -> ChatJob:
            fields = chat_body(request, body, kept, toolbox) | _limits(body, limit)
            chat = _chat_request(fields)
            return await prepare(context, chat, None, identity=identity, run=run)

        told = whole_conversation(request, items)
        is_cut = request.truncation == "auto"
        return await (fitting(attempt, told) if is_cut else attempt(told))

    with naming(spell):
        chat = await (turn(None) if left is None else within_room(turn, left))
    return ResponseJob(
        response_id=response_id,
        created_at=identity.created,
        request=request,
        chat=_with_own_ids(chat, response_id, num_before),
    )


def _limits(body: Mapping[str, Any], limit: int | None) -> dict[str, int]:
    """The limits of one turn among several."""
    if limit is None:
        return {}
    least = body.get("min_tokens")
    bounded = {} if least is None else {"min_tokens": min(least, limit)}
    return bounded | {"max_completion_tokens": limit}


def _chat_request(body: dict[str, Any]) -> ChatCompletionRequest:
    refuse_later_fields(body, CHAT)
    return parse_body(ChatCompletionRequest, body, strict_fields=True, known=CHAT).request


def _with_own_ids(chat: ChatJob, response_id: str, num_before: int) -> ChatJob:
    """Ids of calls follow from the response's."""
    make = call_ids(f"{response_id}:{num_before}", chat.reading.make_call_id())
    reading = dataclasses.replace(chat.reading, make_call_id=make)
    return dataclasses.replace(chat, reading=reading)


def _only(param: str, condition: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': only allowed when {condition}.", param=param)
