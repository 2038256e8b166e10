"""One request as metrics see it: its tokens, when they came, how its sequences ended.

Tokens are counted as the answer's `usage` counts them, so that the sum of all usages is what the
counters say: of a prompt once however many choices it had, and none past a stop string.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

from api.keys.accounts import Account
from engine.request import FinishReason, Timings, TokenDelta


class Observes(Protocol):
    """A histogram with its labels filled in."""

    def observe(self, amount: float) -> None:
        """Add one observation."""
        ...


class Counts(Protocol):
    """A counter with its labels filled in."""

    def inc(self, amount: float = 1) -> None:
        """Add to the counter."""
        ...


@dataclasses.dataclass(frozen=True)
class TokenCounters:
    """Tokens of all requests together.

    Attributes:
        prompt: of prompts whose answer began.
        cached: those among them that were found in the prefix cache.
        source_compute, source_cache: both again, of requests that are over.
        cached_on_device: as `source_cache`; there is no other cache.
        generated: what clients were given, also of answers that were aborted later.
    """

    prompt: Counts
    cached: Counts
    generated: Counts
    source_compute: Counts
    source_cache: Counts
    cached_on_device: Counts


@dataclasses.dataclass
class SequenceTimes:
    """What has been delivered of one sequence; times are `clock()` seconds."""

    num_tokens: int = 0
    first_token_s: float = 0.0
    last_token_s: float = 0.0
    is_finished: bool = False


class RequestTracker:
    """Feed it every delta with `delta` and call `close` exactly when the request is over.

    Sequences that have not finished when `close` is called count as aborted.
    """

    def __init__(
        self,
        histograms: Mapping[str, Observes],
        finished: Mapping[str, Counts],
        tokens: TokenCounters,
        *,
        num_prompt_tokens: int,
        num_sequences: int,
        max_tokens: int,
        clock: Callable[[], float],
        account: Account | None = None,
    ) -> None:
        self._histograms = histograms
        self._finished = finished
        self._tokens = tokens
        self._num_prompt_tokens = num_prompt_tokens
        self._max_tokens = max_tokens
        self._clock = clock
        self._account = account
        self._outcome = ""
        self._arrival_s = clock()
        self._num_cached_tokens = 0
        self._sequences = [SequenceTimes() for _ in range(num_sequences)]
        self._has_begun = False
        self._is_closed = False

    def delta(self, delta: TokenDelta, num_tokens: int, *, is_stopped: bool = False) -> None:
        """Count what one sequence gained.

        Arguments:
            num_tokens: how many tokens of `delta` the client is given.
            is_stopped: a stop string in them ended the sequence, whatever the engine says.
        """
        times = self._sequences[delta.sequence_index]
        if times.is_finished:
            return
        if delta.error is None and delta.finish_reason is not FinishReason.ABORT:
            self._count_prompt(delta)
        if num_tokens:
            self._count_tokens(times, num_tokens)
        if is_stopped:
            self._finish(times, FinishReason.STOP)
        elif delta.finish_reason is not None:
            self._finish(times, delta.finish_reason)
        if delta.finish_reason is not None:
            self._observe("request_num_preemptions", delta.num_preemptions)
            if delta.timings is not None:
                self._observe_timings(delta.timings)

    def close(self, outcome: str = "") -> None:
        """The request is over. Calling it again does nothing.

        Arguments:
            outcome: for the ledger, when it never came to a finish reason.
        """
        if self._is_closed:
            return
        self._is_closed = True
        is_left = not (outcome or self._outcome or self._has_begun)
        if is_left and self._account is not None and self._account.is_live:
            self._begin()
        if self._account is not None:
            self._account.close(outcome or self._outcome or FinishReason.ABORT.value)
        for times in self._sequences:
            if not times.is_finished:
                self._finish(times, FinishReason.ABORT)
        if self._has_begun:
            computed = self._num_prompt_tokens - self._num_cached_tokens
            self._observe("request_prompt_tokens", self._num_prompt_tokens)
            self._observe("request_prefill_kv_computed_tokens", computed)
            self._tokens.source_compute.inc(computed)
            self._tokens.source_cache.inc(self._num_cached_tokens)
            self._tokens.cached_on_device.inc(self._num_cached_tokens)
        self._observe("request_params_n", len(self._sequences))
        self._observe("request_params_max_tokens", self._max_tokens)
        longest = max((times.num_tokens for times in self._sequences), default=0)
        self._observe("request_max_num_generation_tokens", longest)

    def _count_prompt(self, delta: TokenDelta) -> None:
        """The prompt counts once, with the first thing its answer gains (or, in `close`, when its
        client does not wait for that: leaving early must not be free)."""
        if not self._has_begun:
            self._begin()
        num_found = delta.num_cached_tokens - self._num_cached_tokens
        if delta.sequence_index == 0 and num_found > 0:
            self._num_cached_tokens += num_found
            self._tokens.cached.inc(num_found)
            if self._account is not None:
                self._account.cached(num_found)

    def _begin(self) -> None:
        self._has_begun = True
        self._tokens.prompt.inc(self._num_prompt_tokens)
        if self._account is not None:
            self._account.prompt(self._num_prompt_tokens)

    def _count_tokens(self, times: SequenceTimes, num_tokens: int) -> None:
        now_s = self._clock()
        if times.num_tokens == 0:
            times.first_token_s = now_s
            self._observe("time_to_first_token_seconds", now_s - self._arrival_s)
        else:
            self._observe("inter_token_latency_seconds", now_s - times.last_token_s)
        times.num_tokens += num_tokens
        self._tokens.generated.inc(num_tokens)
        if self._account is not None:
            self._account.generated(num_tokens)
        times.last_token_s = now_s

    def _finish(self, times: SequenceTimes, reason: FinishReason) -> None:
        times.is_finished = True
        self._outcome = self._outcome or reason.value
        self._finished[reason.value].inc()
        self._observe("e2e_request_latency_seconds", self._clock() - self._arrival_s)
        self._observe("request_generation_tokens", times.num_tokens)
        if times.num_tokens > 1:
            decode_s = times.last_token_s - times.first_token_s
            self._observe(
                "request_time_per_output_token_seconds", decode_s / (times.num_tokens - 1)
            )

    def _observe_timings(self, timings: Timings) -> None:
        if not timings.scheduled_s:
            return
        self._observe("request_queue_time_seconds", timings.scheduled_s - timings.queued_s)
        if not timings.first_token_s:
            return
        prefill_s = timings.first_token_s - timings.scheduled_s
        decode_s = timings.last_token_s - timings.first_token_s
        self._observe("request_prefill_time_seconds", prefill_s)
        self._observe("request_decode_time_seconds", decode_s)
        self._observe("request_inference_time_seconds", prefill_s + decode_s)

    def _observe(self, name: str, amount: float) -> None:
        self._histograms[f"vllm:{name}"].observe(max(0.0, amount))
