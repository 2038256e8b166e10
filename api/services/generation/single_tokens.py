"""An engine's deltas, one token each."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from api.services.generation.run import Run
from engine.request import GenerateRequest, TokenDelta


def token_by_token(run: Run) -> Run:
    """`run`, with one token a delta: what a parser makes of each is known, however many steps came
    at once."""

    async def generate(request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        async with contextlib.aclosing(run(request)) as stream:
            async for deltas in stream:
                yield [one for delta in deltas for one in _single_tokens(delta)]

    return generate


def _single_tokens(delta: TokenDelta) -> list[TokenDelta]:
    last = len(delta.token_ids) - 1
    if last < 1:
        return [delta]
    pieces = [
        TokenDelta(
            request_id=delta.request_id,
            sequence_index=delta.sequence_index,
            token_ids=(token_id,),
            logprobs=None if delta.logprobs is None else (delta.logprobs[index],),
            prompt_logprobs=delta.prompt_logprobs if index == 0 else None,
            num_cached_tokens=delta.num_cached_tokens,
        )
        for index, token_id in enumerate(delta.token_ids[:last])
    ]
    logprobs = None if delta.logprobs is None else delta.logprobs[last:]
    return [
        *pieces,
        msgspec.structs.replace(delta, token_ids=delta.token_ids[last:], logprobs=logprobs),
    ]
