"""POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from api.context import ServerContext
from api.errors import error_body
from api.protocol.anthropic import CountTokensRequest, MessagesRequest
from api.protocol.chat import ChatCompletionRequest
from api.protocol.later_fields import ANTHROPIC, CHAT, refuse_later_fields
from api.protocol.parse import Parsed, parse_body
from api.services.anthropic.conversion import RENAMED, chat_body, prompt_fields
from api.services.anthropic.wire import encode, message_events, whole_message
from api.services.chat.job import ChatJob
from api.services.chat.service import prepare
from api.services.generation.events import EventStream, told
from api.services.generation.merging import begin, merge
from api.services.guidance.tool_plan import plan_tools, shown_tools
from api.services.naming import naming
from api.services.prompts.rendering import render_chat
from api.services.render.service import render_job
from api.services.requests import Answer, make_identity, verify_model

_NESTED = (
    (re.compile(r"^(tools\[\d+\])\.function\.parameters\b"), r"\1.input_schema"),
    (re.compile(r"^(tools\[\d+\]|tool_choice)\.function\b"), r"\1"),
    (re.compile(r"^response_format\.json_schema\b"), "response_format"),
)
"""Where this API has less objects in one another; the first that fits."""


async def create_message(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Answer a conversation.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    parsed = _parsed(context, body)
    job = await _prepare(context, parsed.request, "msg_", http_request_id)
    unknown = parsed.unknown + tuple(map(_spell, job.without_effect))
    if not parsed.request.stream:
        return Answer(body=await whole_message(job), unknown_fields=unknown)
    source = merge([job.generation])
    events = _ended(message_events(job, await begin(source)))
    return Answer(events=EventStream(events, source), unknown_fields=unknown)


async def render_message(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """What these messages would give the engine, as a body for /inference/v1/generate.

    Raises:
        APIError, EngineError: the request was refused.
    """
    parsed = _parsed(context, body)
    job = await _prepare(context, parsed.request, "chatcmpl-", http_request_id)
    with naming(_spell):
        rendered = await render_job(job)
    rendered["stream"] = bool(parsed.request.stream)
    unknown = parsed.unknown + tuple(map(_spell, job.without_effect))
    return Answer(body=orjson.dumps(rendered), unknown_fields=unknown)


async def count_tokens(context: ServerContext, body: Mapping[str, Any]) -> Answer:
    """Tokens of the prompt that these messages make.

    Raises:
        APIError, EngineError: the request was refused.
    """
    strict = context.settings.strict_fields
    parsed = parse_body(CountTokensRequest, body, strict_fields=strict)
    request = parsed.request
    verify_model(context, request.model)
    with naming(_spell):
        chat = _chat_request({"model": request.model} | _given(context, request))
        rendered = await render_chat(context, chat, shown_tools(context, plan_tools(chat)))
    count = len(rendered.token_ids)
    # nothing is ever edited out of a conversation
    answer = {"input_tokens": count, "context_management": {"original_input_tokens": count}}
    return Answer(body=orjson.dumps(answer), unknown_fields=parsed.unknown)


def _parsed(context: ServerContext, body: Mapping[str, Any]) -> Parsed[MessagesRequest]:
    refuse_later_fields(body, ANTHROPIC)
    strict = context.settings.strict_fields
    return parse_body(MessagesRequest, body, strict_fields=strict, known=ANTHROPIC)


async def _prepare(
    context: ServerContext, request: MessagesRequest, prefix: str, http_request_id: str | None
) -> ChatJob:
    with naming(_spell):
        chat = _chat_request(chat_body(request, context.chat_template))
        identity = make_identity(context, prefix, chat, http_request_id)
        return await prepare(context, chat, http_request_id, identity=identity)


def _given(context: ServerContext, request: CountTokensRequest) -> dict[str, Any]:
    fields = prompt_fields(request, context.chat_template)
    return {name: value for name, value in fields.items() if value is not None}


def _chat_request(body: dict[str, Any]) -> ChatCompletionRequest:
    refuse_later_fields(body, CHAT)
    return parse_body(ChatCompletionRequest, body, strict_fields=True, known=CHAT).request


def _spell(param: str) -> str:
    """What this API calls a field of chat completions."""
    for place, ours in _NESTED:
        param = place.sub(ours, param)
    name = re.split(r"\W", param, maxsplit=1)[0]
    return RENAMED.get(name, name) + param.removeprefix(name)


async def _ended(events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """`events`, which end with `message_stop`; a failure becomes an `error` event instead."""
    try:
        async with contextlib.aclosing(events):
            async for event in events:
                yield event
    except Exception as error:
        yield encode(error_body(told(error), "anthropic"))
