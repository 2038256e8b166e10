"""Beam search over any engine: the continuations of a prompt with the best total log-probability.

    every beam ──one token each, with its best 2·width alternatives──► candidates
    candidates that end ──► finished          the best `width` others ──► the next beams

Each round is one ordinary request a beam, of the prompt and the beam's tokens; the prefix cache
spares the engine all but a page of it. Widths, scores and order are those of vLLM
(`get_beam_search_score`): the total over the length, prompt included, to the power of
`length_penalty`, an end token not counted. A stop string, which vLLM's do not know, ends a beam as
an end token does; its own tokens count.

Under a grammar or a thinking budget the alternatives are those that it allows, with the model's own
log-probabilities; where all of them end, the beam is complete. There may then be fewer different
outputs than beams: the best ones are given again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import AsyncGenerator, Sequence

import msgspec

from engine.client_protocol import GenerationEngine
from engine.grammar.guided import is_guided
from engine.request import (
    FinishReason,
    GenerateRequest,
    SamplingParams,
    Timings,
    TokenDelta,
    TokenLogprobs,
)
from engine.text.watch import TextWatch


@dataclasses.dataclass(frozen=True, slots=True)
class Beam:
    """One continuation so far.

    Attributes:
        total: sum of its tokens' log-probabilities.
        end: how it ended; None while it goes on.
        text: what a stop string would end; None when nothing in its text does.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    total: float = 0.0
    end: FinishReason | None = None
    text: TextWatch | None = None

    @property
    def ends_in_text(self) -> bool:
        """Whether a stop string ended it."""
        return self.text is not None and self.text.is_stopped

    def extended(self, at: TokenLogprobs, token_id: int, logprob: float, rank: int) -> Beam:
        """With one token more, one of the alternatives `at` its position."""
        entry = TokenLogprobs(token_id, logprob, rank, at.top_token_ids, at.top_logprobs)
        token_ids, logprobs = (*self.token_ids, token_id), (*self.logprobs, entry)
        return Beam(token_ids, logprobs, self.total + logprob, text=self.text)

    def read(self) -> Beam:
        """With its newest token in its text; ended when that completes a stop string."""
        if self.text is None:
            return self
        text = self.text.after(self.token_ids[-1])
        end = FinishReason.STOP if text.is_stopped else None
        return dataclasses.replace(self, text=text, end=end)


class _Failed(Exception):
    """A round's request ended without a token; the delta says why."""

    def __init__(self, delta: TokenDelta) -> None:
        super().__init__()
        self.delta = delta


async def beam_search(
    engine: GenerationEngine,
    request: GenerateRequest,
    length_penalty: float,
    text: TextWatch | None = None,
) -> AsyncGenerator[list[TokenDelta], None]:
    """As `engine.generate`, but sequence i is the i-th best of `num_sequences` beams.

    All deltas come at the end: no beam is certain before. Of the sampling parameters count
    `max_tokens`, `min_tokens`, `ignore_eos`, `stop_token_ids`, `logprobs` and `prompt_logprobs`.

    Grammar and thinking budget hold every beam.

    Arguments:
        text: of an output without tokens; its stop strings end a beam.

    Raises:
        EngineError: as `engine.generate`.
    """
    if request.sampling.max_tokens == 0:  # a prompt is scored: there is nothing to search for
        async for deltas in engine.generate(request):
            yield deltas
        return
    search = _Search(engine, request, length_penalty, text)
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
        self,
        engine: GenerationEngine,
        request: GenerateRequest,
        length_penalty: float,
        text: TextWatch | None,
    ) -> None:
        self._engine = engine
        self._request = request
        self._length_penalty = length_penalty
        self._text = text
        sampling = request.sampling
        eos = () if sampling.ignore_eos else engine.info.eos_token_ids
        self._stop_ids = frozenset((*eos, *sampling.stop_token_ids))
        self._is_guided = is_guided(request)
        self._first: TokenDelta | None = None
        self._last: TokenDelta | None = None
        self._num_rounds = 0

    async def run(self) -> list[Beam]:
        """The best beams, best first."""
        width = self._request.num_sequences
        beams, finished = [Beam(text=self._text)], list[Beam]()
        while (
            beams
            and self._num_rounds < self._max_tokens()
            and not self._is_decided(beams, finished)
        ):
            steps = await self._round(beams)
            candidates = [
                candidate
                for beam, at in zip(beams, steps, strict=True)
                for candidate in self._candidates(beam, at)
            ]
            finished += [each for each in candidates if each.end is not None]
            going_on = [each for each in candidates if each.end is None and not self._stops(each)]
            beams, stopped = self._best(going_on)
            finished += stopped
            self._num_rounds += 1
        cut = [dataclasses.replace(beam, end=FinishReason.LENGTH) for beam in beams]
        best = await self._completed(self._ranked(finished, cut)[:width])
        return [best[index % len(best)] for index in range(width)]

    def _best(self, going_on: Sequence[Beam]) -> tuple[list[Beam], list[Beam]]:
        """The next beams, and what better ones their text has ended."""
        beams, stopped = list[Beam](), list[Beam]()
        for each in sorted(going_on, key=self._score, reverse=True):
            if len(beams) == self._request.num_sequences:
                break
            read = each.read()
            (stopped if read.ends_in_text else beams).append(read)
        return beams, stopped

    def delta(self, index: int, beam: Beam) -> TokenDelta:
        """What the client is told of a beam."""
        first, num_top = self._first, self._request.sampling.logprobs
        assert first is not None
        last_id = beam.token_ids[-1]
        is_asked_for = last_id in self._request.sampling.stop_token_ids
        is_stop = beam.end is FinishReason.STOP
        return TokenDelta(
            request_id=self._request.request_id,
            sequence_index=index,
            token_ids=beam.token_ids,
            logprobs=None if num_top is None else _trimmed(beam.logprobs, num_top),
            prompt_logprobs=first.prompt_logprobs if index == 0 else None,
            finish_reason=beam.end,
            stop_token_id=last_id if is_stop and is_asked_for else None,
            ends_in_text=is_stop and not self._stops(beam),
            num_cached_tokens=first.num_cached_tokens,
            timings=self._timings(),
        )

    def _timings(self) -> Timings | None:
        """From the first round's beginning to the end of the last one."""
        first, last = self._first, self._last
        if first is None or last is None or not first.timings or not last.timings:
            return None
        begun = first.timings
        return Timings(
            begun.queued_s, begun.scheduled_s, begun.first_token_s, last.timings.last_token_s
        )

    def _max_tokens(self) -> int:
        room = self._engine.info.max_model_len - len(self._request.prompt_token_ids)
        return min(self._request.sampling.max_tokens, room)

    def _candidates(self, beam: Beam, at: TokenLogprobs) -> list[Beam]:
        """The beam with each of the alternatives; those that end it are ended."""
        pairs = zip(at.top_token_ids, at.top_logprobs, strict=True)
        extended = [
            beam.extended(at, token_id, logprob, rank)
            for rank, (token_id, logprob) in enumerate(pairs, start=1)
        ]
        is_complete = self._is_complete(at)
        return [
            dataclasses.replace(each, end=FinishReason.STOP)
            if is_complete or (self._stops(each) and self._may_stop())
            else each
            for each in extended
        ]

    def _stops(self, beam: Beam) -> bool:
        return beam.token_ids[-1] in self._stop_ids

    def _may_stop(self) -> bool:
        """Before `min_tokens` an end is no choice; what a guide allows heeds that already."""
        return self._is_guided or self._num_rounds >= self._request.sampling.min_tokens

    def _is_complete(self, at: TokenLogprobs) -> bool:
        """Whether a grammar allows nothing but the end, also where `ignore_eos` wants more."""
        eos = self._engine.info.eos_token_ids
        return self._request.grammar is not None and all(each in eos for each in at.top_token_ids)

    def _ranked(self, finished: Sequence[Beam], cut: Sequence[Beam]) -> list[Beam]:
        """Best first; what breaks off within its grammar after all that is whole."""
        ranked = sorted([*finished, *cut], key=self._score, reverse=True)
        if self._request.grammar is not None:
            ranked.sort(key=lambda beam: beam.end is not FinishReason.STOP)
        return ranked

    async def _completed(self, beams: Sequence[Beam]) -> list[Beam]:
        """An output that its grammar lets end where it was cut is whole."""
        cut = [beam for beam in beams if beam.end is FinishReason.LENGTH]
        num_tokens = len(self._request.prompt_token_ids) + self._num_rounds
        has_room = num_tokens < self._engine.info.max_model_len
        if self._request.grammar is None or not cut or not has_room:
            return list(beams)
        whole = {
            beam.token_ids
            for beam, at in zip(cut, await self._round(cut), strict=True)
            if self._is_complete(at)
        }
        return [
            dataclasses.replace(beam, end=FinishReason.STOP) if beam.token_ids in whole else beam
            for beam in beams
        ]

    def _score(self, beam: Beam) -> float:
        num_tokens = len(self._request.prompt_token_ids) + len(beam.token_ids)
        has_end_token = beam.end is FinishReason.STOP and not beam.ends_in_text
        return self._rated(beam.total, num_tokens - has_end_token)

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
                    self._first = self._first or delta
                    self._last = delta
                    if delta.logprobs:
                        return _possible(delta.logprobs[0])
                    if delta.finish_reason is not None:
                        raise _Failed(delta)
        raise AssertionError("an engine's answer ends with a finish reason")

    def _step_request(self, beam: Beam, index: int) -> GenerateRequest:
        asked, is_first = self._request, self._num_rounds == 0
        sampling = asked.sampling
        is_held_back = self._is_guided and len(beam.token_ids) < sampling.min_tokens
        return msgspec.structs.replace(
            asked,
            request_id=f"{asked.request_id}-beam-{self._num_rounds}-{index}",
            prompt_token_ids=(*asked.prompt_token_ids, *beam.token_ids),
            num_sequences=1,
            num_continued_tokens=len(beam.token_ids),
            sampling=SamplingParams(
                max_tokens=1,
                min_tokens=int(is_held_back),
                temperature=0.0,
                ignore_eos=sampling.ignore_eos if self._is_guided else True,
                stop_token_ids=sampling.stop_token_ids if self._is_guided else (),
                logprobs=2 * asked.num_sequences,
                ranks_allowed=self._is_guided,
                prompt_logprobs=sampling.prompt_logprobs if is_first else None,
                thinking_token_budget=sampling.thinking_token_budget,
            ),
        )


def _possible(entry: TokenLogprobs) -> TokenLogprobs:
    """Without alternatives that cannot be chosen."""
    pairs = zip(entry.top_token_ids, entry.top_logprobs, strict=True)
    possible = [(token_id, logprob) for token_id, logprob in pairs if logprob > -math.inf]
    return TokenLogprobs(
        entry.token_id,
        entry.logprob,
        entry.rank,
        tuple(token_id for token_id, _ in possible),
        tuple(logprob for _, logprob in possible),
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
