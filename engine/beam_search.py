"""Beam search over any engine: the continuations of a prompt with the best total log-probability.

    every beam ──one token each, with its best 2·width alternatives──► candidates
    candidates that end ──► finished          the best `width` others ──► the next beams

Each round is one ordinary request a beam, of the prompt and the beam's tokens; the prefix cache
spares the engine all but a page of it. Widths, scores and order are those of vLLM
(`get_beam_search_score`): the total over the length, prompt included, to the power of
`length_penalty`, an end token not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Sequence

import msgspec

from engine.client_protocol import GenerationEngine
from engine.request import (
    FinishReason,
    GenerateRequest,
    SamplingParams,
    TokenDelta,
    TokenLogprobs,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Beam:
    """One continuation so far.

    Attributes:
        total: sum of its tokens' log-probabilities.
        end: how it ended; None while it goes on.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    total: float = 0.0
    end: FinishReason | None = None

    def extended(self, at: TokenLogprobs, token_id: int, logprob: float, rank: int) -> Beam:
        """With one token more, one of the alternatives `at` its position."""
        entry = TokenLogprobs(token_id, logprob, rank, at.top_token_ids, at.top_logprobs)
        return Beam((*self.token_ids, token_id), (*self.logprobs, entry), self.total + logprob)


class _Failed(Exception):
    """A round's request ended without a token; the delta says why."""

    def __init__(self, delta: TokenDelta) -> None:
        super().__init__()
        self.delta = delta


async def beam_search(
    engine: GenerationEngine, request: GenerateRequest, length_penalty: float
) -> AsyncGenerator[list[TokenDelta], None]:
    """As `engine.generate`, but sequence i is the i-th best of `num_sequences` beams.

    All deltas come at the end: no beam is certain before. Of the sampling parameters count
    `max_tokens`, `min_tokens`, `ignore_eos`, `stop_token_ids`, `logprobs` and `prompt_logprobs`.

    Raises:
        EngineError: as `engine.generate`.
    """
    search = _Search(engine, request, length_penalty)
    try:
        beams = await search.run()
    except _Failed as failure:
        yield [
            msgspec.structs.replace(
                failure.delta, request_id=request.request_id, sequence_index=index
            )
            for index in range(request.num_sequences)
        ]
        return
    yield [search.delta(index, beam) for index, beam in enumerate(beams)]


class _Search:
    def __init__(
        self, engine: GenerationEngine, request: GenerateRequest, length_penalty: float
    ) -> None:
        self._engine = engine
        self._request = request
        self._length_penalty = length_penalty
        sampling = request.sampling
        eos = () if sampling.ignore_eos else engine.info.eos_token_ids
        self._stop_ids = frozenset((*eos, *sampling.stop_token_ids))
        self._first: TokenDelta | None = None
        self._num_rounds = 0

    async def run(self) -> list[Beam]:
        """The best beams, best first."""
        width = self._request.num_sequences
        beams, finished = [Beam()], list[Beam]()
        while (
            beams
            and self._num_rounds < self._max_tokens()
            and not self._is_decided(beams, finished)
        ):
            steps = await self._round(beams)
            candidates = [
                beam.extended(at, token_id, logprob, rank)
                for beam, at in zip(beams, steps, strict=True)
                for rank, (token_id, logprob) in enumerate(
                    zip(at.top_token_ids, at.top_logprobs, strict=True), start=1
                )
            ]
            finished += self._ended(candidates)
            going_on = [each for each in candidates if each.token_ids[-1] not in self._stop_ids]
            beams = sorted(going_on, key=self._score, reverse=True)[:width]
            self._num_rounds += 1
        cut = [dataclasses.replace(beam, end=FinishReason.LENGTH) for beam in beams]
        return sorted([*finished, *cut], key=self._score, reverse=True)[:width]

    def delta(self, index: int, beam: Beam) -> TokenDelta:
        """What the client is told of a beam."""
        first, num_top = self._first, self._request.sampling.logprobs
        assert first is not None
        last_id = beam.token_ids[-1]
        is_asked_for = last_id in self._request.sampling.stop_token_ids
        return TokenDelta(
            request_id=self._request.request_id,
            sequence_index=index,
            token_ids=beam.token_ids,
            logprobs=None if num_top is None else _trimmed(beam.logprobs, num_top),
            prompt_logprobs=first.prompt_logprobs if index == 0 else None,
            finish_reason=beam.end,
            stop_token_id=last_id if beam.end is FinishReason.STOP and is_asked_for else None,
            num_cached_tokens=first.num_cached_tokens,
            timings=first.timings,
        )

    def _max_tokens(self) -> int:
        room = self._engine.info.max_model_len - len(self._request.prompt_token_ids)
        return min(self._request.sampling.max_tokens, room)

    def _ended(self, candidates: Sequence[Beam]) -> list[Beam]:
        """Candidates whose last token ends them; before `min_tokens` such tokens are no choice."""
        if self._num_rounds < self._request.sampling.min_tokens:
            return []
        return [
            dataclasses.replace(each, end=FinishReason.STOP)
            for each in candidates
            if each.token_ids[-1] in self._stop_ids
        ]

    def _score(self, beam: Beam) -> float:
        num_tokens = len(self._request.prompt_token_ids) + len(beam.token_ids)
        return self._rated(beam.total, num_tokens - (beam.end is FinishReason.STOP))

    def _rated(self, total: float, num_tokens: int) -> float:
        return total / num_tokens**self._length_penalty

    def _is_decided(self, beams: Sequence[Beam], finished: Sequence[Beam]) -> bool:
        """Whether no beam can overtake the finished ones: totals only fall, and the best a length
        can do for them is at one of its ends."""
        width = self._request.num_sequences
        if len(finished) < width:
            return False
        worst = sorted(map(self._score, finished), reverse=True)[width - 1]
        num_prompt = len(self._request.prompt_token_ids)
        lengths = (num_prompt + self._num_rounds, num_prompt + self._max_tokens())
        best = max(beam.total for beam in beams)
        return max(self._rated(best, length) for length in lengths) <= worst

    async def _round(self, beams: Sequence[Beam]) -> list[TokenLogprobs]:
        """What may come next after each beam."""
        tasks = [asyncio.ensure_future(self._next(beam, index)) for index, beam in enumerate(beams)]
        try:
            return [await task for task in tasks]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _next(self, beam: Beam, index: int) -> TokenLogprobs:
        request = self._step_request(beam, index)
        async with contextlib.aclosing(self._engine.generate(request)) as stream:
            async for deltas in stream:
                for delta in deltas:
                    if self._first is None:
                        self._first = delta
                    if delta.logprobs:
                        return delta.logprobs[0]
                    if delta.finish_reason is not None:
                        raise _Failed(delta)
        raise AssertionError("an engine's answer ends with a finish reason")

    def _step_request(self, beam: Beam, index: int) -> GenerateRequest:
        asked, is_first = self._request, self._num_rounds == 0
        return msgspec.structs.replace(
            asked,
            request_id=f"{asked.request_id}-beam-{self._num_rounds}-{index}",
            prompt_token_ids=(*asked.prompt_token_ids, *beam.token_ids),
            num_sequences=1,
            sampling=SamplingParams(
                max_tokens=1,
                temperature=0.0,
                ignore_eos=True,
                logprobs=2 * asked.num_sequences,
                prompt_logprobs=asked.sampling.prompt_logprobs if is_first else None,
            ),
        )


def _trimmed(entries: Sequence[TokenLogprobs], num_top: int) -> tuple[TokenLogprobs, ...]:
    return tuple(
        TokenLogprobs(
            each.token_id,
            each.logprob,
            each.rank,
            each.top_token_ids[:num_top],
            each.top_logprobs[:num_top],
        )
        for each in entries
    )
