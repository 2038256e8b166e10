"""POST /generative_scoring: the next token's probabilities, of some tokens."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from api.context import ServerContext
from api.protocol.generative_scoring import MAX_ITEMS, GenerativeScoringRequest
from api.protocol.parse import parse_body
from api.services.generation.collect import collect_unbroken
from api.services.generation.output import OutputSettings
from api.services.generation.run import Generation
from api.services.generation.usage import usage_of
from api.services.naming import naming
from api.services.prompts.encoding import encode_text
from api.services.requests import Answer, cache_salt, verify_count, verify_model
from engine.errors import InvalidParameterError
from engine.request import GenerateRequest, SamplingParams
from engine.validation import verify_request, verify_sampling


async def score(
    context: ServerContext, body: Mapping[str, Any], http_request_id: str | None = None
) -> Answer:
    """Score every item.

    Raises:
        APIError, EngineError: the request was refused or failed.
    """
    strict = context.settings.strict_fields
    parsed = parse_body(GenerativeScoringRequest, body, strict_fields=strict)
    request = parsed.request
    verify_model(context, request.model)
    verify_count(request.items, MAX_ITEMS, "items")
    name = request.request_id or http_request_id or secrets.token_hex(8)
    first = _engine_request(context, request, name)
    generations = [
        _generation(context, first, index, prompt)
        for index, prompt in enumerate(await _prompts(context, request))
    ]
    found = await collect_unbroken(generations)
    scores = [choice.logprobs[0].top_logprobs for choice in found]
    answer = {
        "id": first.request_id,
        "object": "list",
        "created": int(time.time()),
        "model": context.model_names[0],
        "data": [
            {"index": index, "object": "score", "score": first_share(values, request.apply_softmax)}
            for index, values in enumerate(scores)
        ],
        "usage": usage_of(generations).as_dict(),
    }
    return Answer(body=orjson.dumps(answer), unknown_fields=parsed.unknown)


def first_share(logprobs: Sequence[float], is_among_these: bool) -> float:
    """The probability of the first, among these alone or among all there are."""
    highest = max(logprobs) if is_among_these else 0.0
    weights = [math.exp(value - highest) for value in logprobs]
    return weights[0] / sum(weights) if is_among_these else weights[0]


def _engine_request(
    context: ServerContext, request: GenerativeScoringRequest, name: str
) -> GenerateRequest:
    """One token, whichever, with the scores of the labels; still without a prompt."""
    if len(set(request.label_token_ids)) < len(request.label_token_ids):
        message = "Invalid 'label_token_ids': an id stands in it twice."
        raise InvalidParameterError(message, param="label_token_ids")
    sampling = SamplingParams(
        max_tokens=1,
        temperature=0.0,
        logprobs=0,
        logprob_token_ids=tuple(request.label_token_ids),
    )
    with naming(lambda param: "label_token_ids" if param == "logprob_token_ids" else param):
        verify_sampling(sampling, context.engine.info)
    return GenerateRequest(
        request_id=f"generative-scoring-{name}",
        names=(f"generative-scoring-{name}", name),
        prompt_token_ids=(),
        sampling=sampling,
        priority=request.priority or 0,
        cache_salt=cache_salt([request.cache_salt, None]),
        arrival_time_s=time.time(),
    )


def _generation(
    context: ServerContext, first: GenerateRequest, index: int, prompt: tuple[int, ...]
) -> Generation:
    unique_id = f"{first.request_id}-{index}-{secrets.token_hex(4)}"
    generate = msgspec.structs.replace(first, request_id=unique_id, prompt_token_ids=prompt)
    verify_request(generate, context.engine.info, prompt_param=f"items[{index}]")
    return Generation(context, generate, OutputSettings())


async def _prompts(
    context: ServerContext, request: GenerativeScoringRequest
) -> list[tuple[int, ...]]:
    adds_special = request.add_special_tokens
    query = await _ids(context, request.query, "query", adds_special=adds_special)
    prompts: list[tuple[int, ...]] = []
    for index, given in enumerate(request.items):
        item = await _ids(context, given, f"items[{index}]", adds_special=False)
        prompts.append((*item, *query) if request.item_first else (*query, *item))
    return prompts


async def _ids(
    context: ServerContext, given: str | list[int], param: str, *, adds_special: bool
) -> list[int]:
    if not isinstance(given, str):
        return given
    return await encode_text(context, given, param=param, add_special_tokens=adds_special)
