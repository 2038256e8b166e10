"""A world for the scheduler: a device that keeps token ids in pages, and a loop one step behind.

The fake device carries out each plan when it is launched, as a real one does in order. It learns
what a sequence is only from the pages its row may read, so a page written by two sequences, a
missing token or a stale slot gives a wrong token. `expected_output` is the pure truth.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import deque

import numpy as np
import pytest

from engine.config import SchedulerConfig
from engine.request import (
    FinishReason,
    GenerateRequest,
    SamplingParams,
    TokenDelta,
    TokenLogprobs,
)
from engine.scheduler.plan import RowResult, StepLimits, StepPlan
from engine.scheduler.scheduler import Scheduler

VOCAB = 11
EOS = 7


def sample(history: list[int], sequence_index: int, sampling: SamplingParams, num_output: int):
    """A token that depends on every id before it."""
    token = zlib.crc32(bytes([sequence_index, *history])) % VOCAB
    banned = {EOS, *sampling.stop_token_ids} if num_output < sampling.min_tokens else set()
    while token in banned:
        token = (token + 1) % VOCAB
    return token


def score(history: list[int], position: int) -> TokenLogprobs:
    """A score that depends on every id up to `position`."""
    rank = zlib.crc32(bytes(history[: position + 1])) % 1000
    return TokenLogprobs(history[position], -1.0, rank, (), ())


def expected_output(request: GenerateRequest, sequence_index: int, max_model_len: int):
    """(output ids, finish reason, stop token id) without any scheduler."""
    sampling, history = request.sampling, list(request.prompt_token_ids)
    end = min(len(history) + sampling.max_tokens, max_model_len)
    output: list[int] = []
    while len(history) < end:
        token = sample(history, sequence_index, sampling, len(output))
        history.append(token)
        output.append(token)
        if token == EOS and not sampling.ignore_eos:
            return output, FinishReason.STOP, None
        if token in sampling.stop_token_ids:
            return output, FinishReason.STOP, token
    return output, FinishReason.LENGTH, None


class FakeDevice:
    """Pages of token ids, slots with their last token."""

    def __init__(self, config: SchedulerConfig) -> None:
        self.config = config
        self.content = [[None] * config.page_size for _ in range(config.num_pages)]
        self.last_token: list[int | None] = [None] * config.max_num_seqs
        self.slot_owner: list[object] = [None] * config.max_num_seqs
        self.invalid: set[tuple[str, int]] = set()

    def run(self, plan: StepPlan) -> list[RowResult]:
        slots = [row.slot_index for row in plan.rows]
        assert len(slots) == len(set(slots)), "a slot has one row in a step"
        return [self._run_row(row, plan.page_table_SP) for row in plan.rows]

    def _run_row(self, row, page_table) -> RowResult:
        sequence, page_size = row.sequence, self.config.page_size
        if row.is_new_slot:
            self.slot_owner[row.slot_index] = sequence
            self.last_token[row.slot_index] = None
            assert not sequence.num_pending_tokens - row.is_sampling
        assert self.slot_owner[row.slot_index] is sequence
        assert row.num_pages == -(-row.end // page_size)
        pages = page_table[row.slot_index]
        assert np.array_equal(pages[: row.num_pages], row.page_ids[: row.num_pages])
        assert 0 not in row.page_ids
        assert not pages[row.num_pages :].any()
        if row.uses_pending_token:
            assert row.num_new_tokens == 1
            tokens = [self.last_token[row.slot_index]]
        else:
            tokens = sequence.token_ids[row.start : row.end]
        assert len(tokens) == row.num_new_tokens
        for position, token in enumerate(tokens, row.start):
            self.content[pages[position // page_size]][position % page_size] = token
        history = [self.content[pages[i // page_size]][i % page_size] for i in range(row.end)]
        assert history[: len(sequence.token_ids)] == sequence.token_ids[: row.end]
        return self._result(row, history)

    def _result(self, row, history: list[int]) -> RowResult:
        sequence, token, scores = row.sequence, None, ()
        if row.is_scoring:
            prompt = sequence.request.prompt_token_ids
            known = [*history, *prompt[row.end :]]
            last = min(row.end + 1, len(prompt))
            scores = tuple(score(known, i) for i in range(row.start + 1, last))
        if row.is_sampling:
            num_output = row.end - sequence.num_prompt_tokens
            assert num_output >= 0
            if (sequence.request.request_id, num_output) in self.invalid:
                self.last_token[row.slot_index] = 0  # the next step runs before anyone knows
                return RowResult(0, is_invalid=True, prompt_logprobs=scores)
            token = sample(history, sequence.sequence_index, sequence.sampling, num_output)
            self.last_token[row.slot_index] = token
        return RowResult(token, prompt_logprobs=scores)


@dataclasses.dataclass
class Stream:
    """What a client of one sequence saw."""

    token_ids: list[int] = dataclasses.field(default_factory=list)
    deltas: list[TokenDelta] = dataclasses.field(default_factory=list)

    @property
    def last(self) -> TokenDelta:
        return self.deltas[-1]


class World:
    """Scheduler and device with the engine's loop: schedule, launch, settle the one before."""

    expected_output = staticmethod(expected_output)
    score = staticmethod(score)

    def __init__(self, *, depth: int = 1, tick_s: float = 1.0, **changes) -> None:
        self.depth = depth  # steps that may be under way when the next one is planned
        self.tick_s = tick_s  # each look at the clock takes so long
        settings = {
            "num_pages": 64,
            "page_size": 4,
            "max_num_seqs": 4,
            "max_num_batched_tokens": 64,
            "prefill_chunk_tokens": 64,
            "max_model_len": 64,
            "max_num_queued_requests": 0,
            "check_invariants": True,
        }
        self.config = SchedulerConfig(**(settings | changes))
        self.limits = StepLimits(256, 8192, True)
        self.now_s = 0.0
        self.scheduler = Scheduler(self.config, (EOS,), clock=self.tick)
        self.device = FakeDevice(self.config)
        self.in_flight: deque[tuple[StepPlan, list[RowResult]]] = deque()
        self.streams: dict[tuple[str, int], Stream] = {}
        self.requests: dict[str, GenerateRequest] = {}
        self.plans: list[StepPlan] = []

    def tick(self) -> float:
        self.now_s += self.tick_s
        return self.now_s

    def add(
        self,
        request_id: str,
        prompt,
        *,
        n=1,
        priority=0,
        salt="",
        tenant="",
        can_wait=False,
        **sampling,
    ):
        sampling = {"max_tokens": 4, "ignore_eos": True} | sampling
        request = GenerateRequest(
            request_id=request_id,
            prompt_token_ids=tuple(prompt),
            sampling=SamplingParams(**sampling),
            num_sequences=n,
            priority=priority,
            cache_salt=salt,
            tenant=tenant,
            can_wait=can_wait,
        )
        sequences = self.scheduler.add(request)
        self.requests[request_id] = request
        for i in range(n):
            self.streams[request_id, i] = Stream()
        return sequences

    def launch(self) -> StepPlan | None:
        plan = self.scheduler.schedule(self.limits)
        if plan is not None:
            assert len(plan.rows) <= self.limits.max_rows
            assert 0 < plan.num_tokens <= self.limits.max_tokens
            assert plan.num_tokens <= self.config.max_num_batched_tokens
            if any(row.is_scoring for row in plan.rows):
                assert plan.num_tokens <= self.config.prompt_logprobs_chunk_tokens
                assert self.limits.has_prompt_logprobs
            self.plans.append(plan)
            self.in_flight.append((plan, self.device.run(plan)))
        return plan

    def settle(self) -> list[TokenDelta]:
        plan, results = self.in_flight.popleft()
        return self.deliver(self.scheduler.settle(plan, results))

    def fail(self, error) -> list[TokenDelta]:
        plan, _ = self.in_flight.popleft()
        return self.deliver(self.scheduler.fail_rows(plan, error))

    def deliver(self, deltas: list[TokenDelta]) -> list[TokenDelta]:
        for delta in deltas:
            stream = self.streams[delta.request_id, delta.sequence_index]
            assert not stream.deltas or stream.last.finish_reason is None, "nothing after the end"
            stream.deltas.append(delta)
            stream.token_ids += delta.token_ids
        return deltas

    def step(self) -> StepPlan | None:
        plan = self.launch()
        if plan is not None and plan.needs_settled:
            while len(self.in_flight) > 1:
                self.settle()
        if len(self.in_flight) > (self.depth if plan is not None else 0):
            self.settle()
        return plan

    def run(self, max_steps: int = 2000) -> World:
        for _ in range(max_steps):
            if not self.scheduler.has_work() and not self.in_flight:
                return self
            self.step()
        raise AssertionError("no progress")

    def verify_stream(self, request_id: str, sequence_index: int = 0) -> None:
        request = self.requests[request_id]
        stream = self.streams[request_id, sequence_index]
        output, reason, stop = expected_output(request, sequence_index, self.config.max_model_len)
        assert stream.token_ids == output
        assert (stream.last.finish_reason, stream.last.stop_token_id) == (reason, stop)
        scores = [delta.prompt_logprobs for delta in stream.deltas]
        if request.sampling.prompt_logprobs is not None and sequence_index == 0:
            prompt = list(request.prompt_token_ids)
            assert scores[0] == (None, *(score(prompt, i) for i in range(1, len(prompt))))
            scores = scores[1:]
        assert not any(scores)


@pytest.fixture
def make_world():
    """The class, so that each test builds its own small world."""
    return World
