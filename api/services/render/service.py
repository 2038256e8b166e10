"""POST */render: what a request would give the engine, as a body for /inference/v1/generate."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.base import GenerationFields
from api.protocol.later_fields import (
    CHAT,
    COMPLETIONS,
    Neutral,
    refuse_fields,
    refuse_later_fields,
    refuse_media,
)
from api.protocol.parse import parse_body
from api.protocol.render import RenderChatRequest, RenderCompletionRequest
from api.services.chat import service as chat
from api.services.chat.job import ChatJob
from api.services.completions import service as completions
from api.services.prompts.rendering import RenderedPrompt
from api.services.render.sampling import rendered_sampling
from api.services.requests import Answer
from engine.request import GenerateRequest

_OFFSETS = "return_token_offsets"
NOT_RENDERED: Mapping[str, Neutral] = {
    "use_beam_search": (None, False),
    "best_of": (None,),
    "store": (None, False),
}
NOT_RENDERED_COMPLETIONS: Mapping[str, Neutral] = {
    **NOT_RENDERED,
    "echo": (None, False),
    "prompt_embeds": (None, []),
}
"""Fields that one call of /inference/v1/generate cannot answer, with the values that ask for
nothing."""
REASON = "cannot be rendered: /inference/v1/generate could not answer it"


async def render_chat_completion(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Render a conversation.

    Raises:
        APIError, EngineError: the request was refused.
    """
    refuse_later_fields(body, _without_offsets(CHAT))
    refuse_fields(body, NOT_RENDERED, REASON)
    refuse_media(body)
    strict = context.settings.strict_fields
    parsed = parse_body(RenderChatRequest, body, strict_fields=strict, known=CHAT)
    job = await chat.prepare(context, parsed.request, http_request_id)
    unknown = parsed.unknown + job.without_effect
    rendered = await render_job(job, has_offsets=bool(parsed.request.return_token_offsets))
    return Answer(body=orjson.dumps(rendered), unknown_fields=unknown)


async def render_job(job: ChatJob, *, has_offsets: bool = False) -> dict[str, Any]:
    """What a chat request gives the engine."""
    request = job.request
    offsets = None
    if has_offsets:
        offsets = await _offsets(
            job.context,
            request,
            job.prompt,
            job.prompt.uncut_text or job.prompt.text or "",
            bool(request.add_special_tokens),
        )
    salt = request.cache_salt
    if request.prompt_cache_key is not None:  # both, as /v1/chat/completions would use them
        salt = job.generation.request.cache_salt
    return _rendered(
        job.identity.response_id, request, job.generation.request, offsets=offsets, salt=salt
    )


async def render_completion(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Render the prompts of a completion, each by itself.

    Raises:
        APIError, EngineError: the request was refused.
    """
    refuse_later_fields(body, _without_offsets(COMPLETIONS))
    refuse_fields(body, NOT_RENDERED_COMPLETIONS, REASON)
    strict = context.settings.strict_fields
    parsed = parse_body(RenderCompletionRequest, body, strict_fields=strict, known=COMPLETIONS)
    request = parsed.request
    job = await completions.prepare(context, request, http_request_id)
    rendered: list[dict[str, Any]] = []
    given = completions.split_prompts(request)
    for text, prompt, generation in zip(given, job.prompts, job.generations, strict=True):
        offsets = None
        if request.return_token_offsets and isinstance(text, str) and not request.suffix:
            offsets = await _offsets(context, request, prompt, text, request.add_special_tokens)
        rendered.append(
            _rendered(
                job.identity.response_id,
                request,
                generation.request,
                offsets=offsets,
                salt=request.cache_salt,
            )
        )
    return Answer(body=orjson.dumps(rendered), unknown_fields=parsed.unknown)


def _without_offsets(table: Mapping[str, Neutral]) -> dict[str, Neutral]:
    return {name: neutral for name, neutral in table.items() if name != _OFFSETS}


def _rendered(
    request_id: str,
    request: GenerationFields,
    generate: GenerateRequest,
    *,
    offsets: Sequence[tuple[int, int]] | None,
    salt: str | None,
) -> dict[str, Any]:
    options, thoughts = request.stream_options, generate.reasoning
    return {
        "request_id": request_id,
        "token_ids": generate.prompt_token_ids,
        "token_offsets": offsets,
        "features": None,
        "content_parts": None,
        "sampling_params": rendered_sampling(request, generate),
        "model": request.model,
        "reasoning_ended": None if thoughts is None else not thoughts.is_open,
        "reasoning_parser_kwargs": None,
        "return_token_ids": request.return_token_ids,
        "output_mode": "tokens",
        "stream": bool(request.stream),
        "stream_options": None if options is None else options.model_dump(exclude_none=True),
        "cache_salt": salt,
        "priority": generate.priority,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
    }


async def _offsets(
    context: ServerContext,
    request: GenerationFields,
    prompt: RenderedPrompt,
    text: str,
    adds_special: bool,
) -> list[tuple[int, int]]:
    """Which characters of the text the tokens stand for that were kept of it."""
    offsets = await asyncio.to_thread(
        context.tokenizer.offsets, text, add_special_tokens=adds_special
    )
    num_kept = len(prompt.token_ids)
    return offsets[:num_kept] if request.truncation_side == "right" else offsets[-num_kept:]
