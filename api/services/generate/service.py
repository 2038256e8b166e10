"""POST /inference/v1/generate: token ids in, token ids out."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from api.context import ServerContext
from api.protocol.generate import (
    AbortGenerationsRequest,
    GenerateSampling,
    GenerateTokensRequest,
)
from api.protocol.later_fields import GENERATE, GENERATE_SAMPLING, refuse_later_fields
from api.protocol.parse import parse_body
from api.protocol.structured import StructuredFields
from api.services.generate.derender import derendering
from api.services.generate.wire import GenerateJob, generate_events, whole_answer
from api.services.generation.events import EventStream, ended
from api.services.generation.merging import begin, merge
from api.services.generation.output import OutputSettings
from api.services.generation.run import Generation
from api.services.guidance.structured import build_grammar
from api.services.guidance.thinking import span_after, thinking_budget, thought_ends
from api.services.naming import naming, within
from api.services.requests import (
    Answer,
    cache_salt,
    verify_model,
    verify_special_spacing,
    verify_stream_options,
)
from api.services.sampling import build_sampling, choose_max_tokens, num_sequences
from engine.commands import EndRequests
from engine.errors import InvalidParameterError
from engine.request import GenerateRequest, Grammar, ReasoningSpan
from engine.validation import verify_request

_PREFIX = "generate-tokens-"
_SAMPLING = within("sampling_params")


async def generate_tokens(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Continue a prompt of token ids.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    refuse_later_fields(body, GENERATE)
    with naming(_SAMPLING):
        refuse_later_fields(_object(body.get("sampling_params")), GENERATE_SAMPLING)
    strict = context.settings.strict_fields
    parsed = parse_body(GenerateTokensRequest, body, strict_fields=strict, known=GENERATE)
    unknown = parsed.unknown + _unknown_sampling(body, strict)
    _verify_mode(parsed.request, body)
    job = await prepare(context, parsed.request, http_request_id)
    if not parsed.request.stream:
        return Answer(body=await whole_answer(job), unknown_fields=unknown)
    source = merge([job.generation])
    events = ended(generate_events(job, await begin(source)), context.settings.error_format)
    return Answer(events=EventStream(events, source), unknown_fields=unknown)


async def abort_generations(context: ServerContext, body: Mapping[str, Any]) -> None:
    """End the requests with these ids; their answers end with the finish reason `abort`."""
    parsed = parse_body(AbortGenerationsRequest, body, strict_fields=context.settings.strict_fields)
    names = tuple(parsed.request.request_ids)
    if names:  # to the engine, none at all would mean all of them
        await context.engine.control(EndRequests(names))


async def prepare(
    context: ServerContext, request: GenerateTokensRequest, http_request_id: str | None
) -> GenerateJob:
    """Check everything; nothing has reached the engine yet."""
    verify_model(context, request.model)
    verify_stream_options(request)
    given_id = request.request_id or http_request_id or secrets.token_hex(8)
    request_id = _PREFIX + given_id
    span = _reasoning(context, request)
    with naming(_SAMPLING):
        grammar = await _grammar(context, request, span)
    generate = _generate_request(context, request, grammar, span)
    unique_id = f"{request_id}-0-{secrets.token_hex(4)}"
    generate = msgspec.structs.replace(generate, request_id=unique_id, names=(request_id, given_id))
    verify_request(generate, context.engine.info, prompt_param="token_ids")
    answering = await derendering(context, request, request_id)
    interval = context.settings.stream_interval
    plain = OutputSettings.of(request.sampling_params, interval)
    settings = answering.settings if answering else plain
    generation = Generation(context, generate, settings)
    return GenerateJob(context, request, request_id, generation, answering)


def _verify_mode(request: GenerateTokensRequest, body: Mapping[str, Any]) -> None:
    """Raise InvalidParameterError for fields that do not go with the output mode."""
    mode = request.output_mode
    if mode == "derender" and request.stream:
        message = "Invalid 'output_mode': 'derender' is only allowed when 'stream' is false."
        raise InvalidParameterError(message, param="output_mode")
    if mode != "derender" and request.parse_context is not None:
        message = "Invalid 'parse_context': only allowed with the output mode 'derender'."
        raise InvalidParameterError(message, param="parse_context")
    if mode != "tokens" and _object(body["sampling_params"]).get("detokenize") is False:
        message = f"Invalid 'sampling_params.detokenize': the output mode is '{mode}'."
        raise InvalidParameterError(message, param="sampling_params.detokenize")


async def _grammar(
    context: ServerContext, request: GenerateTokensRequest, span: ReasoningSpan | None
) -> Grammar | None:
    """`structured_outputs`; where thoughts are open it begins after them."""
    fields = StructuredFields(structured_outputs=request.sampling_params.structured_outputs)
    grammar = await build_grammar(context, fields)
    if grammar is None:
        return None
    is_open = span is not None and span.is_open
    ends = thought_ends(context, context.formats) if is_open else ()
    param = f"sampling_params.{grammar.param}"
    return msgspec.structs.replace(grammar, begins_after=ends, param=param)


def _reasoning(context: ServerContext, request: GenerateTokensRequest) -> ReasoningSpan | None:
    """Where thoughts stand: as `reasoning_ended` says, else as the prompt shows.

    Raises:
        InvalidParameterError: they go on, and nobody knows how they end.
    """
    span = span_after(context, request.token_ids)
    is_ended = request.is_reasoning_ended
    if span is None:
        if is_ended is False:
            raise InvalidParameterError(
                "Unsupported parameter: 'reasoning_ended' cannot be false: how this model ends its "
                "thoughts is not known; see --reasoning-parser.",
                param="reasoning_ended",
                code="unsupported_parameter",
            )
        return None
    return span if is_ended is None else msgspec.structs.replace(span, is_open=not is_ended)


def _generate_request(
    context: ServerContext,
    request: GenerateTokensRequest,
    grammar: Grammar | None,
    span: ReasoningSpan | None,
) -> GenerateRequest:
    fields = request.sampling_params
    room = context.engine.info.max_model_len - len(request.token_ids)
    with naming(_SAMPLING):
        verify_special_spacing(context, fields)
        if fields.best_of is not None and fields.best_of != fields.num_choices:
            message = "Invalid 'best_of': only allowed when it equals 'n'."
            raise InvalidParameterError(message, param="best_of")
        if request.stream and fields.prompt_logprobs is not None:
            message = "Invalid 'prompt_logprobs': only allowed when 'stream' is false."
            raise InvalidParameterError(message, param="prompt_logprobs")
        count = num_sequences(fields)
        sampling = build_sampling(
            context,
            fields,
            max_tokens=choose_max_tokens(
                fields.max_tokens, "max_tokens", context.default_sampling, room, allow_zero=False
            ),
            logprobs=0 if fields.logprobs is None and fields.logprob_token_ids else fields.logprobs,
            prompt_logprobs=fields.prompt_logprobs,
            names={},
        )
        budget = thinking_budget(context.formats, fields.thinking_token_budget)
    sampling = msgspec.structs.replace(
        sampling,
        thinking_token_budget=budget,
        skip_reading_prefix_cache=bool(fields.skip_reading_prefix_cache),
    )
    return GenerateRequest(
        request_id="",
        prompt_token_ids=tuple(request.token_ids),
        sampling=sampling,
        num_sequences=count,
        priority=request.priority or 0,
        cache_salt=cache_salt([request.cache_salt, None]),
        arrival_time_s=time.time(),
        grammar=grammar,
        reasoning=span,
    )


def _unknown_sampling(body: Mapping[str, Any], strict: bool) -> tuple[str, ...]:
    with naming(_SAMPLING):
        given = _object(body["sampling_params"])
        parsed = parse_body(GenerateSampling, given, strict_fields=strict, known=GENERATE_SAMPLING)
    return tuple(f"sampling_params.{name}" for name in parsed.unknown)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]
