"""POST /inference/v1/generate: token ids in, token ids out."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.generate import GenerateSampling, GenerateTokensRequest
from api.protocol.later_fields import GENERATE, GENERATE_SAMPLING, refuse_later_fields
from api.protocol.parse import parse_body
from api.services import logprobs as wire
from api.services.collect import Choice, collect
from api.services.events import EventStream, ended
from api.services.generation import Generation, begin, merge, usage_of
from api.services.naming import naming, within
from api.services.output import OutputChunk, OutputSettings
from api.services.requests import (
    Answer,
    cache_salt,
    verify_model,
    verify_special_spacing,
)
from api.services.sampling import build_sampling, choose_max_tokens, num_sequences
from engine.errors import InvalidParameterError
from engine.request import GenerateRequest
from engine.validation import verify_request

WEIGHT_VERSION = "default"
_PREFIX = "generate-tokens-"
_SAMPLING = within("sampling_params")


@dataclasses.dataclass(frozen=True, slots=True)
class GenerateJob:
    """A request that was accepted."""

    context: ServerContext
    request: GenerateTokensRequest
    request_id: str
    generation: Generation


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
    job = prepare(context, parsed.request, http_request_id)
    if not parsed.request.stream:
        return Answer(body=await _whole_answer(job), unknown_fields=unknown)
    source = merge([job.generation])
    events = ended(_events(job, await begin(source)), context.settings.error_format)
    return Answer(events=EventStream(events, source), unknown_fields=unknown)


def prepare(
    context: ServerContext, request: GenerateTokensRequest, http_request_id: str | None
) -> GenerateJob:
    """Check everything; nothing has reached the engine yet."""
    verify_model(context, request.model)
    if request.stream_options is not None and not request.stream:
        message = "Invalid 'stream_options': only allowed when 'stream' is true."
        raise InvalidParameterError(message, param="stream_options")
    request_id = _PREFIX + (request.request_id or http_request_id or secrets.token_hex(8))
    generate = _generate_request(context, request, request_id)
    verify_request(generate, context.engine.info, prompt_param="token_ids")
    settings = OutputSettings.of(request.sampling_params)
    return GenerateJob(context, request, request_id, Generation(context, generate, settings))


def _generate_request(
    context: ServerContext, request: GenerateTokensRequest, request_id: str
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
            logprobs=fields.logprobs,
            prompt_logprobs=fields.prompt_logprobs,
            names={},
        )
    return GenerateRequest(
        request_id=f"{request_id}-0-{secrets.token_hex(4)}",
        prompt_token_ids=tuple(request.token_ids),
        sampling=sampling,
        num_sequences=count,
        priority=request.priority or 0,
        cache_salt=cache_salt([request.cache_salt, None]),
        arrival_time_s=time.time(),
    )


def _unknown_sampling(body: Mapping[str, Any], strict: bool) -> tuple[str, ...]:
    with naming(_SAMPLING):
        given = _object(body["sampling_params"])
        parsed = parse_body(GenerateSampling, given, strict_fields=strict, known=GENERATE_SAMPLING)
    return tuple(f"sampling_params.{name}" for name in parsed.unknown)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


async def _whole_answer(job: GenerateJob) -> bytes:
    """The answer when `stream` is false, encoded."""
    num_choices = job.request.sampling_params.num_choices
    choices = (await collect([job.generation], num_choices))[0]
    request, tokenizer = job.request, job.context.tokenizer
    answer = {
        "request_id": job.request_id,
        "model": job.context.model_names[0],
        "created": int(time.time()),
        "usage": usage_of([job.generation]).as_dict(),
        "prompt_logprobs": wire.prompt_logprobs(tokenizer, job.generation.prompt_logprobs),
        "prompt_token_id_logprobs": None,
        "prompt_token_ids": request.token_ids if request.return_token_ids else None,
        "mm_placeholders": None,
        "metrics": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "output_mode": request.output_mode,
        "choices": [_choice(job, index, choice) for index, choice in enumerate(choices)],
    }
    return orjson.dumps(answer)


def _choice(job: GenerateJob, index: int, piece: Choice | OutputChunk) -> dict[str, Any]:
    """A choice, or what a chunk adds to one."""
    choice: dict[str, Any] = {
        "index": index,
        "finish_reason": piece.finish_reason,
        "stop_reason": piece.stop_reason,
        "token_ids": piece.token_ids,
        "routed_experts": None,
        "sampling_mask": None,
        "weight_versions": _weight_versions(piece),
        "logprobs": _logprobs(job, piece),
    }
    if job.request.output_mode == "text":
        choice["text"] = piece.text
    return choice


def _weight_versions(piece: Choice | OutputChunk) -> list[dict[str, Any]] | None:
    if piece.finish_reason is None:
        return None
    num_tokens = piece.num_tokens if isinstance(piece, OutputChunk) else len(piece.token_ids)
    return [{"version": WEIGHT_VERSION, "start": 0, "end": num_tokens}]


def _logprobs(job: GenerateJob, piece: Choice | OutputChunk) -> dict[str, Any] | None:
    num_top = job.generation.request.sampling.logprobs
    if num_top is None:
        return None
    as_ids = job.context.settings.return_tokens_as_token_ids
    return wire.chat_logprobs(job.context.tokenizer, piece.logprobs, num_top, as_ids)


async def _events(
    job: GenerateJob, stream: AsyncGenerator[list[tuple[int, OutputChunk]], None]
) -> AsyncGenerator[bytes, None]:
    """One event per chunk, the usage last when it was asked for."""
    options = job.request.stream_options
    is_continuous = options is not None and bool(options.continuous_usage_stats)
    async with contextlib.aclosing(stream):
        async for ready in stream:
            usage = usage_of([job.generation]).as_dict() if is_continuous else None
            yield b"".join(
                _event(job, [_choice(job, chunk.sequence_index, chunk)], usage)
                for _, chunk in ready
            )
    if options is not None and options.include_usage:
        yield _event(job, [], usage_of([job.generation]).as_dict())


def _event(job: GenerateJob, choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
    event = {
        "request_id": job.request_id,
        "usage": usage,
        "output_mode": job.request.output_mode,
        "choices": choices,
    }
    return b"data: " + orjson.dumps(event) + b"\n\n"
