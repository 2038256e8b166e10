"""An answer of /inference/v1/generate on the wire, whole or as events."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import AsyncGenerator
from typing import Any

import orjson

from api.context import ServerContext
from api.protocol.generate import GenerateTokensRequest
from api.services.derender.answering import Answering
from api.services.generate.derender import derendered_members
from api.services.generation import logprobs as wire
from api.services.generation.collect import Choice, collect
from api.services.generation.output import OutputChunk
from api.services.generation.run import Generation
from api.services.generation.usage import metrics_of, usage_of
from engine.request import SamplingParams, TokenLogprobs

WEIGHT_VERSION = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class GenerateJob:
    """A request that was accepted.

    Attributes:
        answering: how messages are read; only with the output mode `derender`.
    """

    context: ServerContext
    request: GenerateTokensRequest
    request_id: str
    generation: Generation
    answering: Answering | None


async def whole_answer(job: GenerateJob) -> bytes:
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
        "metrics": metrics_of([job.generation]),
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
    if job.answering is not None and isinstance(piece, Choice):
        choice |= derendered_members(job.answering, index, piece)
    return choice


def _weight_versions(piece: Choice | OutputChunk) -> list[dict[str, Any]] | None:
    if piece.finish_reason is None:
        return None
    num_tokens = piece.num_tokens if isinstance(piece, OutputChunk) else len(piece.token_ids)
    return [{"version": WEIGHT_VERSION, "start": 0, "end": num_tokens}]


def _logprobs(job: GenerateJob, piece: Choice | OutputChunk) -> dict[str, Any] | None:
    """As in a chat; where there are only tokens, with their ids and ranks as well."""
    sampling = job.generation.request.sampling
    num_top = sampling.num_alternatives
    if num_top is None:
        return None
    as_ids = job.context.settings.return_tokens_as_token_ids
    shown = wire.chat_logprobs(job.context.tokenizer, piece.logprobs, num_top, as_ids)
    if job.request.output_mode == "tokens":
        for entry, scores in zip(shown["content"], piece.logprobs, strict=True):
            _add_ids(entry, scores, sampling)
    return shown


def _add_ids(entry: dict[str, Any], scores: TokenLogprobs, sampling: SamplingParams) -> None:
    """The rank of an id that was asked for by name is not known."""
    entry |= {"token_id": scores.token_id, "rank": scores.rank}
    ids = scores.top_token_ids
    ranks = [None] * len(ids) if sampling.logprob_token_ids else range(1, len(ids) + 1)
    for top, token_id, rank in zip(entry["top_logprobs"], ids, ranks, strict=True):
        top |= {"token_id": token_id, "rank": rank}


async def generate_events(
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
        metrics = metrics_of([job.generation])
        usage = usage_of([job.generation]).as_dict()
        yield _event(job, [], usage, {} if metrics is None else {"metrics": metrics})


def _event(
    job: GenerateJob,
    choices: list[dict[str, Any]],
    usage: dict[str, Any] | None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    event = {
        "request_id": job.request_id,
        "usage": usage,
        "output_mode": job.request.output_mode,
        "choices": choices,
        **(extra or {}),
    }
    return b"data: " + orjson.dumps(event) + b"\n\n"
