"""POST /v1/completions/derender: whole answers, or one event of a stream."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from api.context import ServerContext
from api.protocol.completions import MAX_PROMPTS, CompletionRequest
from api.protocol.derender import (
    DerenderCompletionRequest,
    DerenderCompletionStreamRequest,
    GeneratedResponse,
)
from api.protocol.later_fields import COMPLETIONS, Neutral, refuse_fields, refuse_later_fields
from api.protocol.parse import parse_body
from api.services.completions.echo import make_echo
from api.services.completions.wire import choice_members, encode_answer
from api.services.derender.replay import Replay
from api.services.derender.tokens import ReadChoice, count_prompt, read_choice, usage_of_piece
from api.services.generation import logprobs as wire
from api.services.generation.collect import Choice
from api.services.generation.events import chunk_head
from api.services.generation.output import OutputSettings
from api.services.generation.usage import Usage
from api.services.naming import naming, within
from api.services.prompts.tokenize import verify_known_ids
from api.services.requests import Answer, identify, verify_count, verify_model
from engine.errors import InvalidParameterError

Member = dict[str, Any]

NOT_DERENDERED: Mapping[str, Neutral] = {"echo": (None, False)}
_REQUEST = within("completion_request")


async def derender_completion(context: ServerContext, body: Mapping[str, Any]) -> Answer:
    """Answer as /v1/completions would have.

    Raises:
        APIError, EngineError: the request was refused.
    """
    wishes, unknown = _wishes(context, body.get("completion_request"))
    strict = context.settings.strict_fields
    if body.get("stream") is True:
        chunk = parse_body(DerenderCompletionStreamRequest, body, strict_fields=strict)
        verify_model(context, chunk.request.model)
        answer = await asyncio.to_thread(_chunk, context, chunk.request, wishes)
        return Answer(body=orjson.dumps(answer), unknown_fields=chunk.unknown + unknown)
    parsed = parse_body(DerenderCompletionRequest, body, strict_fields=strict)
    verify_model(context, parsed.request.model)
    verify_count(parsed.request.generate_responses, MAX_PROMPTS, "generate_responses")
    encoded = await asyncio.to_thread(_whole, context, parsed.request, wishes)
    return Answer(body=encoded, unknown_fields=parsed.unknown + unknown)


def _wishes(context: ServerContext, given: Any) -> tuple[CompletionRequest, tuple[str, ...]]:
    """The completion request, with defaults where there is none; and its unknown fields."""
    if not isinstance(given, dict):
        return CompletionRequest.model_construct(prompt=""), ()
    body = cast(Member, given)
    with naming(_REQUEST):
        refuse_later_fields(body, COMPLETIONS)
        refuse_fields(body, NOT_DERENDERED, "cannot be derendered")
        strict = context.settings.strict_fields
        parsed = parse_body(CompletionRequest, body, strict_fields=strict, known=COMPLETIONS)
    return parsed.request, tuple(map(_REQUEST, parsed.unknown))


def _whole(
    context: ServerContext, request: DerenderCompletionRequest, wishes: CompletionRequest
) -> bytes:
    responses = request.generate_responses
    counts = _per_prompt(request.prompt_tokens, len(responses), "prompt_tokens")
    prompts = _per_prompt(request.prompt_token_ids, len(responses), "prompt_token_ids")
    usage, choices = Usage(), list[Member]()
    for place, (given, count, ids) in enumerate(zip(responses, counts, prompts, strict=True)):
        known = ids or given.prompt_token_ids or []
        verify_known_ids(context, known, f"prompt_token_ids[{place}]")
        read = _read(context, wishes, given, f"generate_responses[{place}]")
        usage.prompt_tokens += count_prompt(count, len(known), given.usage)
        usage.completion_tokens += sum(len(one.choice.token_ids) for one in read)
        usage.cached_tokens += 0 if given.usage is None else given.usage.num_cached_tokens
        for asked, one in zip(given.choices, read, strict=True):
            scores = None if asked.logprobs is None else _scores(context, wishes, one.choice)
            members = choice_members(wishes, len(choices), one.choice, scores)
            members["prompt_logprobs"] = given.prompt_logprobs
            members["prompt_token_ids"] = known if wishes.return_token_ids else None
            choices.append(members)
    answer_id = responses[0].request_id or f"cmpl-{secrets.token_hex(8)}"
    metrics = responses[0].metrics_body if len(responses) == 1 else None
    return encode_answer(identify(context, answer_id), choices, usage, metrics)


def _read(
    context: ServerContext, wishes: CompletionRequest, given: GeneratedResponse, place: str
) -> list[ReadChoice]:
    settings = OutputSettings.of(wishes)
    return [
        read_choice(context, settings, choice, f"{place}.choices[{i}]")
        for i, choice in enumerate(given.choices)
    ]


def _scores(context: ServerContext, wishes: CompletionRequest, choice: Choice) -> Member:
    return wire.completion_logprobs(
        context.tokenizer,
        choice.logprobs,
        choice.token_ids,
        choice.text_offsets,
        _names_tokens_by_id(context, wishes),
    )


def _names_tokens_by_id(context: ServerContext, wishes: CompletionRequest) -> bool:
    flag = wishes.return_tokens_as_token_ids
    return context.settings.return_tokens_as_token_ids if flag is None else flag


def _per_prompt(given: Sequence[Any] | None, count: int, param: str) -> Sequence[Any]:
    """One entry for each answer; None where nothing was given."""
    if given is None:
        return [None] * count
    if len(given) != count:
        message = f"Invalid '{param}': expected {count} entries, one for each answer."
        raise InvalidParameterError(message, param=param)
    return given


def _chunk(
    context: ServerContext, request: DerenderCompletionStreamRequest, wishes: CompletionRequest
) -> Member:
    event = request.generate_chunk
    known = request.prompt_token_ids or event.prompt_token_ids or []
    verify_known_ids(context, known, "prompt_token_ids")
    replay = Replay(context, OutputSettings.of(wishes), request.stream_state, event)
    identity = identify(context, event.request_id or f"cmpl-{secrets.token_hex(8)}")
    chunk: Member = {**chunk_head(identity, "text_completion"), "choices": []}
    if replay.piece is not None:
        is_first = len(replay.chunk_lens) < 2
        chunk["choices"] = [_piece(context, replay, wishes, known if is_first else None)]
    if event.usage is not None:
        num_prompt = count_prompt(request.prompt_tokens, len(known), event.usage)
        chunk["usage"] = usage_of_piece(event.usage, num_prompt, 0).as_dict()
    if event.metrics is not None:
        chunk["metrics"] = event.metrics_body
    return {"chunk": chunk, "stream_state": replay.state.model_dump()}


def _piece(
    context: ServerContext,
    replay: Replay,
    wishes: CompletionRequest,
    prompt_ids: list[int] | None,
) -> Member:
    piece, ending = replay.piece, replay.ending
    assert piece is not None
    ids = piece.token_ids or []
    scores = None
    if piece.logprobs is not None:
        offsets = make_echo(context.tokenizer, replay.token_ids, None).text_offsets
        scores = wire.completion_logprobs(
            context.tokenizer,
            replay.entries,
            ids,
            offsets[len(offsets) - len(ids) :],
            _names_tokens_by_id(context, wishes),
        )
    return {
        "index": piece.index,
        "text": replay.text,
        "logprobs": scores,
        "finish_reason": None if ending is None else ending.finish_reason,
        "stop_reason": None if ending is None else ending.stop_reason,
        "prompt_token_ids": prompt_ids if wishes.return_token_ids else None,
        "token_ids": ids if wishes.return_token_ids else None,
    }
