"""POST /v1/chat/completions: from the body to an answer."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from api.context import ServerContext
from api.protocol.chat import ChatCompletionRequest
from api.protocol.later_fields import CHAT, refuse_later_fields, refuse_media
from api.protocol.parse import parse_body
from api.services.chat.grammar import build_chat_grammar
from api.services.chat.job import ChatJob, answering_role, echoed_text
from api.services.chat.reading import (
    formats_of,
    make_reading,
    opens_thoughts,
    output_settings,
    special_marks,
)
from api.services.chat.stream import chat_events
from api.services.chat.wire import answer_of, whole_answer
from api.services.generation import beams
from api.services.generation.collect import Choice
from api.services.generation.events import EventStream, ended
from api.services.generation.merging import begin, merge
from api.services.generation.output import OutputChunk
from api.services.generation.run import Generation, Run
from api.services.guidance.thinking import reasoning_span, thinking_budget
from api.services.guidance.tool_plan import plan_tools, shown_tools
from api.services.prompts.rendering import render_chat, truncated
from api.services.requests import (
    Answer,
    Identity,
    cache_salt,
    engine_request_id,
    make_identity,
    verify_model,
    verify_special_spacing,
    verify_streaming,
)
from api.services.sampling import (
    build_sampling,
    choose_max_tokens,
    num_sequences,
    verify_logprob_token_ids,
)
from api.storage import ids
from engine.errors import InvalidParameterError
from engine.request import GenerateRequest
from engine.validation import verify_request

Chunks = AsyncGenerator[list[tuple[int, OutputChunk]], None]
Keep = Callable[[ChatJob, bytes], Awaitable[None]]
"""Keeps an answer, given as when it is not streamed."""


async def create_chat_completion(
    context: ServerContext,
    body: Mapping[str, Any],
    http_request_id: str | None = None,
    keep: Keep | None = None,
    kept_id: str | None = None,
) -> Answer:
    """Answer a conversation.

    Arguments:
        keep: for `store`; None: this route keeps nothing.
        kept_id: of an answer that is kept; None: a new one.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    refuse_later_fields(body, CHAT)
    refuse_media(body)
    parsed = parse_body(
        ChatCompletionRequest, body, strict_fields=context.settings.strict_fields, known=CHAT
    )
    request = parsed.request
    keep = _keep(request, keep)
    identity = make_identity(context, "chatcmpl-", request, http_request_id)
    if keep is not None:  # ids that clients choose may come again; a kept one is found by its own
        kept_id = kept_id or ids.new_id("chat_completion")
        identity = dataclasses.replace(identity, response_id=kept_id)
    job = await prepare(context, request, http_request_id, identity=identity)
    unknown = parsed.unknown + job.without_effect
    if not request.stream:
        answer = await whole_answer(job)
        if keep is not None:
            await keep(job, answer)
        return Answer(body=answer, unknown_fields=unknown)
    source = merge([job.generation])
    if keep is not None:
        source = _kept(job, source, keep)
    events = ended(chat_events(job, await begin(source)), context.settings.error_format)
    return Answer(events=EventStream(events, source), unknown_fields=unknown)


def _keep(request: ChatCompletionRequest, keep: Keep | None) -> Keep | None:
    """`keep` if the answer is to be kept. Raises InvalidParameterError where it cannot be."""
    if not request.store:
        return None
    if keep is None:
        raise InvalidParameterError(
            "Unsupported parameter: 'store' is not supported on this route.",
            param="store",
            code="unsupported_parameter",
        )
    return keep


async def _kept(job: ChatJob, source: Chunks, keep: Keep) -> Chunks:
    """`source`; its end is told when the answer was kept."""
    choices = [Choice() for _ in range(job.request.num_choices)]
    async with contextlib.aclosing(source):
        async for ready in source:
            for _, chunk in ready:
                choices[chunk.sequence_index].add(chunk)
            if all(choice.finish_reason is not None for choice in choices):
                await keep(job, answer_of(job, choices))
            yield ready


async def prepare(
    context: ServerContext,
    request: ChatCompletionRequest,
    http_request_id: str | None,
    *,
    identity: Identity | None = None,
    run: Run | None = None,
) -> ChatJob:
    """Check everything and render the prompt; nothing has reached the engine yet.

    Arguments:
        identity: of the answer; None: that of a new chat completion.
        run: what answers instead of the engine.
    """
    verify_model(context, request.model)
    verify_streaming(request)
    verify_special_spacing(context, request)
    num_top = _num_top(request)
    verify_logprob_token_ids(request, has_logprobs=num_top is not None)
    plan = plan_tools(request)
    formats = formats_of(context, plan)
    shown = frozenset(special_marks(formats, context.tokenizer).values())
    run = run or beams.runner(context, request, shown)
    count = num_sequences(request)
    limit, param = _requested_max_tokens(request)
    rendered = await render_chat(context, request, shown_tools(context, plan))
    prompt = await truncated(context, rendered, request, limit)
    info = context.engine.info
    room = info.max_model_len - len(prompt.token_ids)
    max_tokens = choose_max_tokens(limit, param, context.default_sampling, room, allow_zero=False)
    is_ranked = count > request.num_choices
    sampling = build_sampling(
        context,
        request,
        max_tokens=max_tokens,
        logprobs=0 if num_top is None and is_ranked else num_top,
        prompt_logprobs=request.prompt_logprobs,
        names={"logprobs": "top_logprobs", "max_tokens": param},
    )
    text = prompt.text or ""
    is_open = opens_thoughts(formats, request, text)
    held = await build_chat_grammar(
        context, request, formats, plan, is_open=is_open, prompt_text=text
    )
    budget = thinking_budget(formats, request.thinking_token_budget)
    sampling = msgspec.structs.replace(sampling, thinking_token_budget=budget)
    identity = identity or make_identity(context, "chatcmpl-", request, http_request_id)
    generate = GenerateRequest(
        request_id=engine_request_id(identity),
        names=identity.names,
        prompt_token_ids=prompt.token_ids,
        sampling=sampling,
        num_sequences=count,
        priority=request.priority or 0,
        cache_salt=cache_salt([request.cache_salt, request.prompt_cache_key]),
        arrival_time_s=time.time(),
        grammar=held.grammar,
        reasoning=reasoning_span(context, formats, is_open=is_open),
    )
    verify_request(generate, info, prompt_param="messages")
    settings = output_settings(context, formats, request, is_open=is_open)
    return ChatJob(
        context=context,
        request=request,
        identity=identity,
        prompt=prompt,
        generation=Generation(context, generate, settings, run),
        plan=plan,
        reading=make_reading(formats, request, plan, is_open=is_open),
        role=answering_role(context, request),
        echoed=echoed_text(context, request),
        num_top=sampling.num_alternatives if num_top is not None else None,
        unenforced=held.unenforced,
    )


def _requested_max_tokens(request: ChatCompletionRequest) -> tuple[int | None, str]:
    """The newer spelling wins when both are given."""
    if request.max_completion_tokens is not None:
        return request.max_completion_tokens, "max_completion_tokens"
    return request.max_tokens, "max_tokens"


def _num_top(request: ChatCompletionRequest) -> int | None:
    if request.logprobs:
        return request.top_logprobs or 0
    if request.top_logprobs:
        raise InvalidParameterError(
            "Invalid 'top_logprobs': only allowed when 'logprobs' is true.", param="top_logprobs"
        )
    return None
