"""POST /v1/completions: from the body to an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from api.context import ServerContext
from api.protocol.completions import MAX_PROMPTS, CompletionRequest
from api.protocol.later_fields import COMPLETIONS, refuse_later_fields
from api.protocol.parse import parse_body
from api.services.completions.infill import infill_prompt, verify_infill
from api.services.completions.prompt_embeds import read_prompt_embeds
from api.services.completions.wire import CompletionEvents, CompletionJob, whole_answer
from api.services.generation import beams
from api.services.generation.events import EventStream, ended
from api.services.generation.merging import begin, merge
from api.services.generation.output import OutputSettings
from api.services.generation.run import Generation
from api.services.guidance.structured import build_grammar
from api.services.guidance.thinking import span_after, thinking_budget
from api.services.prompts.encoding import encode_text, truncate
from api.services.prompts.rendering import RenderedPrompt
from api.services.requests import (
    Answer,
    cache_salt,
    engine_request_id,
    make_identity,
    stream_interval,
    verify_count,
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
from engine.errors import InvalidParameterError
from engine.prompt_embeds import embedded_prompt
from engine.request import (
    GenerateRequest,
    Grammar,
    PromptEmbeds,
    ReasoningSpan,
    SamplingParams,
)
from engine.validation import verify_request

MAX_CHOICES = 2048
"""Prompts times sequences per prompt."""


async def create_completion(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Continue one or several prompts.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    refuse_later_fields(body, COMPLETIONS)
    parsed = parse_body(
        CompletionRequest, body, strict_fields=context.settings.strict_fields, known=COMPLETIONS
    )
    job = await prepare(context, parsed.request, http_request_id)
    if not parsed.request.stream:
        return Answer(body=await whole_answer(job), unknown_fields=parsed.unknown)
    source = merge(job.generations)
    chunks = await begin(source)
    events = ended(CompletionEvents(job).events(chunks), context.settings.error_format)
    return Answer(events=EventStream(events, source), unknown_fields=parsed.unknown)


async def prepare(
    context: ServerContext, request: CompletionRequest, http_request_id: str | None
) -> CompletionJob:
    """Check everything and encode the prompts; nothing has reached the engine yet."""
    verify_model(context, request.model)
    verify_streaming(request)
    verify_special_spacing(context, request)
    verify_infill(context.tokenizer, request)
    verify_logprob_token_ids(request, has_logprobs=request.logprobs is not None)
    run = beams.runner(context, request)
    count = num_sequences(request)
    embedded = await read_prompt_embeds(context, request)
    given = [*embedded, *([] if embedded and not request.prompt else split_prompts(request))]
    verify_count(given, MAX_PROMPTS, "prompt")
    if len(given) * count > MAX_CHOICES:
        raise InvalidParameterError(
            f"Invalid 'n': {len(given)} prompts with {count} sequences each are more than "
            f"{MAX_CHOICES}.",
            param="n",
            code="integer_above_max_value",
        )
    prompts = [await _render(context, request, prompt) for prompt in given]
    identity = make_identity(context, "cmpl-", request, http_request_id)
    grammar = await build_grammar(context, request)
    settings = OutputSettings.of(request, stream_interval(context, request))
    shared: SamplingParams | None = None
    generations: list[Generation] = []
    for index, prompt in enumerate(prompts):
        max_tokens = _max_tokens(context, request, len(prompt.token_ids))
        if shared is None or shared.max_tokens != max_tokens:
            shared = _sampling(context, request, count, max_tokens)
        generate = _generate_request(request, prompt, shared, grammar)
        generate = msgspec.structs.replace(
            generate,
            request_id=engine_request_id(identity, index),
            names=identity.names,
            reasoning=_reasoning(context, request, prompt),
        )
        verify_request(generate, context.engine.info)
        generations.append(Generation(context, generate, settings, run))
    return CompletionJob(
        context=context,
        request=request,
        identity=identity,
        prompts=prompts,
        generations=generations,
    )


def split_prompts(request: CompletionRequest) -> list[str | list[int]]:
    """The request's prompts, each a text or token ids.

    Raises:
        InvalidParameterError: none, an empty one, or too many.
    """
    prompt: Any = request.prompt
    if prompt is None:
        raise InvalidParameterError(
            "Missing required parameter: 'prompt'.",
            param="prompt",
            code="missing_required_parameter",
        )
    is_single = isinstance(prompt, str) or (bool(prompt) and isinstance(prompt[0], int))
    prompts: list[str | list[int]] = [prompt] if is_single else list(prompt)
    if not prompts or any(len(item) == 0 for item in prompts):
        raise InvalidParameterError(
            "Invalid 'prompt': it is empty. Expected at least one character or token.",
            param="prompt",
            code="empty_array",
        )
    verify_count(prompts, MAX_PROMPTS, "prompt")
    return prompts


async def _render(
    context: ServerContext, request: CompletionRequest, prompt: str | list[int] | PromptEmbeds
) -> RenderedPrompt:
    if isinstance(prompt, PromptEmbeds):
        return RenderedPrompt(token_ids=embedded_prompt(prompt), text=None, embeds=prompt)
    if request.suffix:
        return await _render_infill(context, request, prompt, request.suffix)
    text = prompt if isinstance(prompt, str) else None
    ids = await _ids(context, request, prompt, add_special_tokens=request.add_special_tokens)
    kept = truncate(tuple(ids), request, context.engine.info, request.max_tokens)
    await asyncio.sleep(0)  # many prompts must not hold the event loop
    return RenderedPrompt(token_ids=kept, text=text if len(kept) == len(ids) else None)


async def _render_infill(
    context: ServerContext, request: CompletionRequest, prompt: str | list[int], suffix: str
) -> RenderedPrompt:
    prompt_ids = await _ids(context, request, prompt, add_special_tokens=False)
    suffix_ids = await encode_text(context, suffix, param="suffix", add_special_tokens=False)
    ids = infill_prompt(
        context.tokenizer, prompt_ids, suffix_ids, add_special_tokens=request.add_special_tokens
    )
    return RenderedPrompt(token_ids=ids, text=None)


async def _ids(
    context: ServerContext,
    request: CompletionRequest,
    prompt: str | list[int],
    *,
    add_special_tokens: bool,
) -> list[int]:
    if not isinstance(prompt, str):
        return prompt
    return await encode_text(
        context,
        prompt,
        param="prompt",
        add_special_tokens=add_special_tokens,
        is_bounded=request.truncate_prompt_tokens is None,
    )


def _max_tokens(context: ServerContext, request: CompletionRequest, num_prompt_tokens: int) -> int:
    return choose_max_tokens(
        request.max_tokens,
        "max_tokens",
        context.default_sampling,
        context.engine.info.max_model_len - num_prompt_tokens,
        allow_zero=bool(request.echo),
    )


def _sampling(
    context: ServerContext, request: CompletionRequest, count: int, max_tokens: int
) -> SamplingParams:
    """`echo` with `logprobs` needs those of the prompt; `best_of` needs the sampled ones."""
    prompt_logprobs = request.prompt_logprobs
    if request.echo and request.logprobs is not None and prompt_logprobs is None:
        prompt_logprobs = request.logprobs
    is_ranked = count > request.num_choices
    budget = thinking_budget(context.formats, request.thinking_token_budget)
    sampling = build_sampling(
        context,
        request,
        max_tokens=max_tokens,
        logprobs=0 if request.logprobs is None and is_ranked else request.logprobs,
        prompt_logprobs=prompt_logprobs,
        names={},
    )
    return msgspec.structs.replace(sampling, thinking_token_budget=budget)


def _reasoning(
    context: ServerContext, request: CompletionRequest, prompt: RenderedPrompt
) -> ReasoningSpan | None:
    has_budget = request.thinking_token_budget is not None
    return span_after(context, prompt.token_ids) if has_budget else None


def _generate_request(
    request: CompletionRequest,
    prompt: RenderedPrompt,
    sampling: SamplingParams,
    grammar: Grammar | None,
) -> GenerateRequest:
    return GenerateRequest(
        request_id="",
        prompt_token_ids=prompt.token_ids,
        prompt_embeds=prompt.embeds,
        sampling=sampling,
        num_sequences=num_sequences(request),
        priority=request.priority or 0,
        cache_salt=cache_salt([request.cache_salt, None]),
        arrival_time_s=time.time(),
        grammar=grammar,
    )
