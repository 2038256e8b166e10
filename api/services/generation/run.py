"""Running requests: the engine's deltas in, chunks and usage out.

`Generation` is one engine request. `merge` interleaves several. Closing either aborts whatever
the engine has not finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from api.context import ServerContext
from api.errors import from_error_info
from api.metrics.request_tracker import RequestTracker
from api.services.generation.output import OutputChunk, OutputSettings, SequenceOutput
from api.services.generation.ownership import owned
from api.services.generation.request_metrics import request_metrics
from engine.errors import EngineDiedError, OverloadedError, SuspendedError
from engine.request import FinishReason, GenerateRequest, Timings, TokenDelta, TokenLogprobs
from engine.scheduler.settling import INVALID_RESULT

Run = Callable[[GenerateRequest], AsyncGenerator[list[TokenDelta], None]]
Item = TypeVar("Item")
PromptLogprobs = tuple[TokenLogprobs | None, ...]

REJECTIONS = {OverloadedError: "max_num_queued_reqs", SuspendedError: "suspended"}

log = logging.getLogger("servax.api")


@dataclasses.dataclass(slots=True)
class Usage:
    """Tokens of one answer so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def as_dict(self) -> dict[str, Any]:
        """OpenAI's usage object; details are always filled."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


class Generation:
    """One engine request and what the client sees of it.

    Attributes:
        prompt_logprobs: known before the first chunk is given out, when asked for.
        num_cached_tokens: prompt tokens found in the prefix cache.
        timings: of sequence 0, as far as they are known.
    """

    def __init__(
        self,
        context: ServerContext,
        request: GenerateRequest,
        settings: OutputSettings,
        run: Run | None = None,
    ) -> None:
        """`run` is `context.engine.generate` unless something else answers the request."""
        self.context = context
        self._run = run or context.engine.generate
        self.request = owned(context, request)
        self._outputs = [
            SequenceOutput(index, context.tokenizer, settings)
            for index in range(request.num_sequences)
        ]
        self.prompt_logprobs: PromptLogprobs | None = None
        self.num_cached_tokens = 0
        self.timings: Timings | None = None
        self._held: list[OutputChunk] = []
        self._excuse = ""

    @property
    def num_tokens(self) -> int:
        """Tokens generated so far, of all sequences."""
        return sum(output.num_tokens for output in self._outputs)

    @property
    def num_reasoning_tokens(self) -> int:
        """Of those, the tokens that are thoughts."""
        return sum(output.num_reasoning_tokens for output in self._outputs)

    @property
    def _is_finished(self) -> bool:
        return all(output.is_finished for output in self._outputs)

    def excuse(self) -> None:
        """It will be closed because another one failed, and not because its client left."""
        self._excuse = FinishReason.ABORT.value

    async def chunks(self) -> AsyncGenerator[list[OutputChunk], None]:
        """Lists of chunks, each list of as many steps as were ready at once.

        Raises:
            APIError, EngineError: refused, failed, or the engine died.
        """
        request = self.request
        account = self.context.accounts.open(
            self.context.tenant, request.request_id, self.context.model_names[0]
        )
        tracker = self.context.metrics.track(
            len(request.prompt_token_ids),
            request.num_sequences,
            request.sampling.max_tokens,
            account,
        )
        try:
            async with contextlib.aclosing(self._run(request)) as stream:
                async for deltas in stream:
                    chunks = self._take(deltas, tracker)
                    await self._abort_stopped()
                    if self._is_finished:
                        tracker.close()
                        await account.settled()
                    if chunks:
                        yield chunks
                    if self._is_finished:
                        return
            raise EngineDiedError("the engine's answer ended before its last token")
        except (OverloadedError, SuspendedError) as error:
            self.context.metrics.rejected(REJECTIONS[type(error)])
            tracker.close("rejected")
            raise
        except Exception:
            tracker.close("error")
            raise
        finally:
            tracker.close(self._excuse)

    def _take(self, deltas: list[TokenDelta], tracker: RequestTracker) -> list[OutputChunk]:
        chunks, self._held = self._held, []
        for delta in deltas:
            if delta.sequence_index == 0:
                self.num_cached_tokens = max(self.num_cached_tokens, delta.num_cached_tokens)
                self.prompt_logprobs = self.prompt_logprobs or delta.prompt_logprobs
                self.timings = delta.timings or self.timings
            chunk = self._push(delta, tracker)
            if chunk is not None:
                chunks.append(chunk)
        is_waiting = self.request.sampling.prompt_logprobs is not None and not self.prompt_logprobs
        if is_waiting and not self._is_finished:
            chunks, self._held = [], chunks
        return chunks

    def _push(self, delta: TokenDelta, tracker: RequestTracker) -> OutputChunk | None:
        """Turn a delta into text; what the client is given of it is what is counted."""
        if delta.finish_reason is FinishReason.ERROR:
            self._note_failure(delta)
        output = self._outputs[delta.sequence_index]
        num_before = output.num_tokens
        try:
            return output.push(delta)
        finally:
            num_given = output.num_tokens - num_before
            tracker.delta(delta, num_given, is_stopped=output.is_stopped_here)

    def _note_failure(self, delta: TokenDelta) -> None:
        """The client is told nothing of a fault of ours, so the log must have it."""
        error = delta.error
        if error == INVALID_RESULT:
            self.context.metrics.corrupted()
        if error is None:
            log.warning("request %s failed without a reason", self.request.request_id)
        elif from_error_info(error).status >= 500:
            request_id = self.request.request_id
            log.warning("request %s failed: %s: %s", request_id, error.kind, error.message)

    async def _abort_stopped(self) -> None:
        """Tell the engine of sequences that a stop string ended."""
        stopped = [i for i, output in enumerate(self._outputs) if output.is_stopped_here]
        if 0 in stopped and self.timings is not None:
            self.timings = msgspec.structs.replace(self.timings, last_token_s=time.time())
        for index in stopped:
            self._outputs[index].is_stopped_here = False
        if stopped and not self._is_finished:
            await self.context.engine.abort(self.request.request_id, stopped)


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


def usage_of(generations: Sequence[Generation]) -> Usage:
    """The usage of an answer made of these; prompts count once, however many choices they had."""
    return Usage(
        sum(len(generation.request.prompt_token_ids) for generation in generations),
        sum(generation.num_tokens for generation in generations),
        sum(generation.num_cached_tokens for generation in generations),
        sum(generation.num_reasoning_tokens for generation in generations),
    )


def metrics_of(generations: Sequence[Generation]) -> dict[str, Any] | None:
    """vLLM's `metrics`, where the operator wants them: of an answer of one sequence."""
    first = generations[0]
    is_one = len(generations) == 1 and first.request.num_sequences == 1
    if not is_one or not first.context.settings.enable_per_request_metrics:
        return None
    return request_metrics(first.timings, first.num_tokens)


async def merge(
    generations: Sequence[Generation],
) -> AsyncGenerator[list[tuple[int, OutputChunk]], None]:
    """Chunks of all generations as they come, each with the index of its generation.

    The first failure ends it; closing it closes all.
    """
    if len(generations) == 1:
        async with contextlib.aclosing(generations[0].chunks()) as stream:
            async for chunks in stream:
                yield [(0, chunk) for chunk in chunks]
        return
    queue: asyncio.Queue[list[tuple[int, OutputChunk]] | BaseException | None] = asyncio.Queue()
    pumps = [
        asyncio.create_task(_pump(index, generation, queue))
        for index, generation in enumerate(generations)
    ]
    try:
        num_running = len(pumps)
        while num_running:
            ready, num_ended = _drain(await queue.get(), queue)
            num_running -= num_ended
            if ready:
                yield ready
    except Exception:
        for generation in generations:
            generation.excuse()
        raise
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(index: int, generation: Generation, queue: asyncio.Queue[Any]) -> None:
    try:
        async with contextlib.aclosing(generation.chunks()) as stream:
            async for chunks in stream:
                queue.put_nowait([(index, chunk) for chunk in chunks])
    except Exception as error:  # travels to the consumer, who raises it
        queue.put_nowait(error)
        return
    queue.put_nowait(None)


def _drain(first: Any, queue: asyncio.Queue[Any]) -> tuple[list[tuple[int, OutputChunk]], int]:
    """Everything that is ready now, and how many generations have ended."""
    ready: list[tuple[int, OutputChunk]] = []
    num_ended = 0
    item = first
    while True:
        if isinstance(item, BaseException):
            raise item
        if item is None:
            num_ended += 1
        else:
            ready.extend(item)
        if queue.empty():
            return ready, num_ended
        item = queue.get_nowait()


async def begin(stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Wait for the first chunks, so that a refusal is an HTTP status and not an event.

    Returns a generator that gives them again and then the rest.
    """
    try:
        first = await anext(stream)
    except BaseException:
        await stream.aclose()
        raise
    return _continued(first, stream)


async def _continued(first: Item, stream: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    async with contextlib.aclosing(stream):
        yield first
        async for item in stream:
            yield item
