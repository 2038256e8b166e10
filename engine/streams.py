"""What one request has gained and its reader has not yet taken.

A slow reader costs no more than its tokens: deltas of one sequence are merged while they wait, and
waiting ids are kept as 32-bit integers. Nobody looks on while a batch is answered, so the reader of
a request that can wait is woken for `PATIENT_TOKENS` at a time.
"""

from __future__ import annotations

import array
import asyncio
import dataclasses
from collections.abc import Callable

from engine.errors import (
    ConflictError,
    ContextLengthError,
    EngineDiedError,
    InvalidParameterError,
    OverloadedError,
    RequestError,
    SuspendedError,
)
from engine.request import (
    ErrorInfo,
    FinishReason,
    GenerateRequest,
    Timings,
    TokenDelta,
    TokenLogprobs,
)

PATIENT_TOKENS = 32
"""So many are generated in vain at most, when a stop string is among them."""

EXCEPTIONS: dict[str, Callable[[ErrorInfo], Exception]] = {
    "OverloadedError": lambda e: OverloadedError(e.message, retry_after_s=e.retry_after_s or 1.0),
    "SuspendedError": lambda e: SuspendedError(e.message, retry_after_s=e.retry_after_s or 5.0),
    "ConflictError": lambda e: ConflictError(e.message, code=e.code or "conflict"),
    "ContextLengthError": lambda e: ContextLengthError(e.message, param=e.param or ""),
    "InvalidParameterError": lambda e: InvalidParameterError(
        e.message, param=e.param or "", code=e.code or "invalid_value"
    ),
    "RequestError": lambda e: RequestError(e.message, param=e.param, code=e.code),
    "EngineDiedError": lambda e: EngineDiedError(e.message),
}


def to_exception(error: ErrorInfo) -> Exception | None:
    """The exception to raise for a refused request; None when the error belongs in a delta."""
    make = EXCEPTIONS.get(error.kind)
    return make(error) if make else None


@dataclasses.dataclass(slots=True)
class _Waiting:
    """Merged deltas of one sequence; `last` holds whatever is not a list."""

    last: TokenDelta
    token_ids: array.array[int]
    logprobs: list[TokenLogprobs]
    prompt_logprobs: tuple[TokenLogprobs | None, ...] | None
    num_cached_tokens: int
    timings: Timings | None

    @classmethod
    def of(cls, delta: TokenDelta) -> _Waiting:
        return cls(
            delta,
            array.array("i", delta.token_ids),
            list(delta.logprobs or ()),
            delta.prompt_logprobs,
            delta.num_cached_tokens,
            delta.timings,
        )

    def merge(self, delta: TokenDelta) -> None:
        self.token_ids.extend(delta.token_ids)
        self.logprobs.extend(delta.logprobs or ())
        self.prompt_logprobs = self.prompt_logprobs or delta.prompt_logprobs
        self.num_cached_tokens = max(self.num_cached_tokens, delta.num_cached_tokens)
        self.timings = delta.timings or self.timings
        self.last = delta

    def to_delta(self) -> TokenDelta:
        return TokenDelta(
            request_id=self.last.request_id,
            sequence_index=self.last.sequence_index,
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs) if self.logprobs else None,
            prompt_logprobs=self.prompt_logprobs,
            finish_reason=self.last.finish_reason,
            stop_token_id=self.last.stop_token_id,
            ends_in_text=self.last.ends_in_text,
            error=self.last.error,
            num_cached_tokens=self.num_cached_tokens,
            timings=self.timings,
            num_preemptions=self.last.num_preemptions,
        )


class RequestStream:
    """Written by the client's receiver, read by one `generate`; both on one event loop."""

    def __init__(self, request: GenerateRequest) -> None:
        self.request = request
        self.num_submissions = 0
        self.has_produced = False
        self._open_sequences = set(range(request.num_sequences))
        self._waiting: dict[int, _Waiting] = {}
        self._refusal: Exception | None = None
        self._has_news = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether any sequence can still gain something."""
        return bool(self._open_sequences)

    @property
    def is_exhausted(self) -> bool:
        """Whether the reader has had everything."""
        return not (self._open_sequences or self._waiting or self._refusal)

    def push(self, delta: TokenDelta) -> None:
        """Take in a delta; one for a sequence that has ended is dropped."""
        if delta.sequence_index not in self._open_sequences:
            return
        refusal = None if self.has_produced or not delta.error else to_exception(delta.error)
        if refusal is not None:
            self.refuse(refusal)
            return
        self.has_produced |= bool(delta.token_ids or delta.prompt_logprobs)
        if waiting := self._waiting.get(delta.sequence_index):
            waiting.merge(delta)
        else:
            self._waiting[delta.sequence_index] = _Waiting.of(delta)
        if delta.finish_reason is not None:
            self._open_sequences.discard(delta.sequence_index)
        if not self.request.can_wait or self._is_worth_a_look(delta):
            self._has_news.set()

    def _is_worth_a_look(self, delta: TokenDelta) -> bool:
        num_waiting = len(self._waiting[delta.sequence_index].token_ids)
        return delta.finish_reason is not None or num_waiting >= PATIENT_TOKENS

    def refuse(self, error: Exception) -> None:
        """End the request with an exception; only for one that has produced nothing."""
        self._open_sequences.clear()
        self._waiting.clear()
        self._refusal = error
        self._has_news.set()

    def fail(self, error: ErrorInfo) -> None:
        """End what is open: by an exception when nothing was produced, else by deltas."""
        for sequence_index in sorted(self._open_sequences):
            self.push(
                TokenDelta(
                    request_id=self.request.request_id,
                    sequence_index=sequence_index,
                    finish_reason=FinishReason.ERROR,
                    error=error,
                )
            )

    def drop_sequences(self, sequence_indices: tuple[int, ...]) -> None:
        """The reader gave these up (all when empty); what they had gained is dropped too."""
        for sequence_index in sequence_indices or tuple(self._open_sequences):
            self._open_sequences.discard(sequence_index)
            self._waiting.pop(sequence_index, None)
        self._has_news.set()

    async def take(self) -> list[TokenDelta]:
        """Wait for something, then take everything: at most one delta for each sequence.

        Empty only when the last open sequences were dropped. Raises what `refuse` was given.
        """
        await self._has_news.wait()
        self._has_news.clear()
        if self._refusal is not None:
            refusal, self._refusal = self._refusal, None
            raise refusal
        taken = [waiting.to_delta() for waiting in self._waiting.values()]
        self._waiting.clear()
        return taken
