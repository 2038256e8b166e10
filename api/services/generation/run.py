"""Running requests: the engine's deltas in, chunks out."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable

import msgspec

from api.context import ServerContext
from api.errors import from_error_info
from api.metrics.request_tracker import RequestTracker
from api.services.generation.output import OutputChunk, OutputSettings, SequenceOutput
from api.services.generation.ownership import owned
from engine.errors import EngineDiedError, OverloadedError, SuspendedError
from engine.request import FinishReason, GenerateRequest, Timings, TokenDelta, TokenLogprobs
from engine.scheduler.settling import INVALID_RESULT

Run = Callable[[GenerateRequest], AsyncGenerator[list[TokenDelta], None]]
PromptLogprobs = tuple[TokenLogprobs | None, ...]

REJECTIONS = {OverloadedError: "max_num_queued_reqs", SuspendedError: "suspended"}

log = logging.getLogger("servax.api")


class Generation:
    """One engine request and what the client sees of it. Closing its chunks aborts what is left.

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
