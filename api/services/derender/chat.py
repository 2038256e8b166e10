"""POST /v1/chat/completions/derender: a whole answer, or one event of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.derender import (
    DerenderChatRequest,
    DerenderChatStreamRequest,
    GeneratedResponse,
)
from api.protocol.parse import parse_body
from api.services.chat.wire import encode_answer, make_choice, prompt_members
from api.services.derender.answering import Answering, make_answering
from api.services.derender.chat_chunk import derender_chunk
from api.services.derender.tokens import count_prompt, read_choice
from api.services.generation.usage import Usage
from api.services.requests import Answer, verify_model


async def derender_chat(context: ServerContext, body: Mapping[str, Any]) -> Answer:
    """Answer as /v1/chat/completions would have.

    Raises:
        APIError, EngineError: the request was refused.
    """
    strict = context.settings.strict_fields
    if body.get("stream") is True:
        chunk = parse_body(DerenderChatStreamRequest, body, strict_fields=strict)
        event = chunk.request
        verify_model(context, event.model)
        ids = event.prompt_token_ids or event.generate_chunk.prompt_token_ids
        answering = await make_answering(context, body, ids, event.generate_chunk)
        answer = await asyncio.to_thread(derender_chunk, answering, event)
        return Answer(
            body=orjson.dumps(answer), unknown_fields=chunk.unknown + answering.unknown_fields
        )
    parsed = parse_body(DerenderChatRequest, body, strict_fields=strict)
    request = parsed.request
    verify_model(context, request.model)
    given = request.generate_response
    ids = request.prompt_token_ids or given.prompt_token_ids
    answering = await make_answering(context, body, ids, given)
    encoded = await asyncio.to_thread(_whole, answering, given, request.prompt_tokens)
    return Answer(body=encoded, unknown_fields=parsed.unknown + answering.unknown_fields)


def _whole(answering: Answering, given: GeneratedResponse, num_prompt_tokens: int | None) -> bytes:
    answer = answering.answer
    read = [
        read_choice(answer.context, answering.settings, choice, f"generate_response.choices[{i}]")
        for i, choice in enumerate(given.choices)
    ]
    choices = [
        make_choice(answer, choice.index, one.choice)
        for choice, one in zip(given.choices, read, strict=True)
    ]
    usage = Usage(
        count_prompt(num_prompt_tokens, len(answer.prompt.token_ids), given.usage),
        sum(len(one.choice.token_ids) for one in read),
        0 if given.usage is None else given.usage.num_cached_tokens,
        sum(one.num_reasoning_tokens for one in read),
    )
    prompt = prompt_members(answer, given.prompt_logprobs)
    return encode_answer(answer, choices, usage, prompt, metrics=given.metrics_body)
