"""The scheduler as the engine's loop sees it.

    plan = scheduler.schedule(limits)           what to compute, or None
    handle = runner.launch(plan)
    deltas = scheduler.settle(previous, previous_handle.results())

Plans are settled in the order they were made. `schedule` may be called while earlier plans are
under way; the tokens of a plan that `needs_settled` are chosen after those are settled, with what
`guide` says. It is not thread-safe, and knows neither clock nor device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from engine.config import SchedulerConfig
from engine.errors import ContextLengthError, InvalidParameterError, OverloadedError
from engine.request import EngineStats, ErrorInfo, GenerateRequest, TokenDelta, TokenLogprobs
from engine.scheduler.classes import Turns
from engine.scheduler.guidance import allowed_ids
from engine.scheduler.plan import RowResult, StepLimits, StepPlan
from engine.scheduler.planner import plan_rows
from engine.scheduler.settling import end_whole, end_with_error, settle_row
from engine.scheduler.state import SchedulerState, is_host_bound
from engine.sequence import Sequence, SequenceStatus


class Scheduler:
    """Admits requests, plans steps, settles them."""

    def __init__(
        self,
        config: SchedulerConfig,
        eos_token_ids: Iterable[int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """An empty scheduler. `clock` gives `time.time()` seconds."""
        self.config = config
        self._clock = clock
        self._state = SchedulerState(config, frozenset(eos_token_ids))
        self._turns = Turns()
        self._next_arrival_index = 0
        self._last_step_tokens = 0

    def add(self, request: GenerateRequest) -> list[Sequence]:
        """Queue all sequences of a request.

        Raises:
            OverloadedError: slots and queue (`max_num_queued_requests`, 0 = unbounded) are full.
            ContextLengthError: the prompt cannot fit the model's context or the KV cache.
            InvalidParameterError: the prompt is empty or the request id is in use.
        """
        self._verify(request)
        sequences = [self._new_sequence(request, i) for i in range(request.num_sequences)]
        self._state.add(request, sequences)
        return sequences

    def abort(self, request_id: str, sequence_indices: Iterable[int] = ()) -> None:
        """End sequences of a request (all of them when none is named) without a delta.

        Their pages are free at once: steps are launched in order, so whoever gets the pages next
        writes after the step under way. Unknown or ended ones are passed over: the client cannot
        know what has just ended.
        """
        live = self._state.requests.get(request_id)
        if live is None:
            return
        indices = frozenset(sequence_indices)
        for sequence in live.sequences:
            is_meant = not indices or sequence.sequence_index in indices
            if is_meant and sequence.status is not SequenceStatus.FINISHED:
                self._state.end(sequence)

    def schedule(
        self, limits: StepLimits, on_trial: frozenset[Sequence] = frozenset()
    ) -> StepPlan | None:
        """The next step, never above `limits`; None when nothing can be computed now.

        Args:
            on_trial: when any, only these may compute.
        """
        self._state.on_trial = on_trial
        rows = plan_rows(self._state, self._turns, limits, self._clock())
        self._check_if_asked()
        if not rows:
            return None
        counters = self._state.counters
        counters.total_steps += 1
        plan = StepPlan(
            counters.total_steps - 1,
            tuple(rows),
            self._state.pages.page_table_SP,
            needs_settled=self._state.num_host_bound > 0
            and any(row.is_sampling and is_host_bound(row.sequence) for row in rows),
        )
        self._last_step_tokens = plan.num_tokens
        return plan

    def settle(self, plan: StepPlan, results: list[RowResult]) -> list[TokenDelta]:
        """Take over the results of a plan's rows; what each sequence gained, in row order."""
        now_s = self._clock()
        deltas: list[TokenDelta] = []
        if plan.rows and plan.rows[0].sequence.request.can_wait:
            self._turns.settled(now_s)
        for row, result in zip(plan.rows, results, strict=True):
            delta = settle_row(self._state, row, result, now_s)
            if delta is not None:
                deltas.append(delta)
        self._check_if_asked()
        return deltas

    def fail_rows(
        self, plan: StepPlan, error: ErrorInfo, rows: Iterable[int] | None = None
    ) -> list[TokenDelta]:
        """End the live sequences of these rows with an error. Such rows are not settled after.

        Args:
            rows: indices into `plan.rows`; None = all.
        """
        now_s = self._clock()
        indices = range(len(plan.rows)) if rows is None else rows
        failed = [plan.rows[i].sequence for i in indices]
        deltas = [
            end_with_error(self._state, sequence, error, now_s)
            for sequence in failed
            if sequence.status is not SequenceStatus.FINISHED
        ]
        self._check_if_asked()
        return deltas

    def fail(self, sequence: Sequence, error: ErrorInfo) -> TokenDelta:
        """End a live sequence with an error."""
        return end_with_error(self._state, sequence, error, self._clock())

    def recompute_all(self) -> None:
        """After a failed step: forget what was launched and every page; all compute anew.

        Plans made before this call must not be settled.
        """
        self._state.recompute_all()
        self._check_if_asked()

    def empty_plan(self) -> StepPlan:
        """A step without rows, by which the device can prove that it lives."""
        return StepPlan(self._state.counters.total_steps, (), self._state.pages.page_table_SP)

    def guide(self, plan: StepPlan) -> tuple[dict[int, npt.NDArray[np.uint32]], list[TokenDelta]]:
        """For a plan that `needs_settled`, all before it being settled: bits of the ids its guided
        rows may choose, by index of the row; and the ends of sequences that have none."""
        allowed, ends = allowed_ids(self._state, plan)
        return allowed, [
            end_whole(self._state, sequence) if error is None else self.fail(sequence, error)
            for sequence, error in ends
        ]

    def has_work(self) -> bool:
        """Whether any sequence is live."""
        return bool(self._state.requests)

    def stats(self) -> EngineStats:
        """The fields the scheduler knows; the others keep their defaults."""
        state, counters = self._state, self._state.counters
        return EngineStats(
            num_running=len(state.running),
            num_waiting=state.num_waiting,
            num_pages=state.pages.pool.num_usable,
            num_free_pages=state.pages.pool.num_available,
            total_prompt_tokens=counters.total_prompt_tokens,
            total_cached_tokens=counters.total_cached_tokens,
            total_generated_tokens=counters.total_generated_tokens,
            total_preemptions=counters.total_preemptions,
            total_prefix_queries=counters.total_prefix_queries,
            total_prefix_hits=counters.total_prefix_hits,
            total_steps=counters.total_steps,
            last_step_tokens=self._last_step_tokens,
        )

    def reset_prefix_cache(self) -> int:
        """Forget every cached page that no running sequence holds; how many there were."""
        return self._state.pages.cache.reset()

    def check(self) -> None:
        """Assert every invariant of sequences, slots and pages."""
        self._state.check()

    def _check_if_asked(self) -> None:
        if self.config.check_invariants:
            self.check()

    def _new_sequence(self, request: GenerateRequest, sequence_index: int) -> Sequence:
        sequence = Sequence.from_request(request, sequence_index)
        sampling = request.sampling
        sequence.arrival_index = self._next_arrival_index
        self._next_arrival_index += 1
        sequence.queued_s = self._clock()
        sequence.max_num_tokens = self._max_num_tokens(request)
        eos_token_ids = frozenset[int]() if sampling.ignore_eos else self._state.eos_token_ids
        sequence.stop_ids = eos_token_ids.union(sampling.stop_token_ids)
        if sampling.prompt_logprobs is not None and sequence_index == 0:
            sequence.prompt_scores = list[TokenLogprobs | None]([None]) * sequence.num_prompt_tokens
        return sequence

    def _max_num_tokens(self, request: GenerateRequest) -> int:
        longest = len(request.prompt_token_ids) + request.sampling.max_tokens
        return min(longest, self.config.max_model_len)

    def _verify(self, request: GenerateRequest) -> None:
        if request.request_id in self._state.requests:
            raise InvalidParameterError("this request id is in use", param="request_id")
        if not request.prompt_token_ids:
            raise InvalidParameterError("the prompt is empty", param="prompt")
        self._verify_length(request)
        self._verify_queue(request)

    def _verify_length(self, request: GenerateRequest) -> None:
        num_prompt_tokens = len(request.prompt_token_ids)
        num_needed = num_prompt_tokens + min(1, request.sampling.max_tokens)
        if num_needed > self.config.max_model_len:
            raise ContextLengthError(
                f"the prompt has {num_prompt_tokens} tokens; with the output the model's context "
                f"holds {self.config.max_model_len}",
                param="prompt",
            )
        # the last token sampled is never computed, so it needs no page
        num_computed = max(num_prompt_tokens, self._max_num_tokens(request) - 1)
        num_held = self._state.pages.pool.num_usable * self.config.page_size
        if num_computed > num_held:
            raise ContextLengthError(
                f"prompt and output may take {num_computed} tokens; the KV cache holds {num_held}",
                param="max_tokens",
            )

    def _verify_queue(self, request: GenerateRequest) -> None:
        """Bound the requests of each class, of however many sequences: one that comes alone is
        accepted, and lines of a batch take no live request's place."""
        max_queued, requests = self.config.max_num_queued_requests, self._state.requests
        max_live = self.config.max_num_seqs + max_queued
        if not max_queued or len(requests) < max_live:
            return
        num_live = sum(live.request.can_wait == request.can_wait for live in requests.values())
        if num_live >= max_live:
            raise OverloadedError(
                f"{num_live} requests are running or waiting; the queue holds {max_queued}"
            )
