"""Live sequences and where they are. The only place that changes a sequence's status.

add ──► WAITING ──start──► RUNNING ──end──► FINISHED
           ▲ │                │
           │ └──────end───────┼──────────►
           └─────preempt──────┘
"""

from __future__ import annotations

import dataclasses

from engine.config import SchedulerConfig
from engine.grammar.guided import is_guided
from engine.kv_cache.sequence_pages import SequencePages
from engine.request import GenerateRequest
from engine.scheduler.fairness import FairQueues, VirtualCounters
from engine.scheduler.waiting import PrecedenceList, by_start
from engine.sequence import Sequence, SequenceStatus

CLASSES = (False, True)
"""Values of `GenerateRequest.can_wait`."""


@dataclasses.dataclass(slots=True, eq=False)
class LiveRequest:
    """A request some of whose sequences have not ended.

    Attributes:
        sequences: all of them, ended ones too; the first leads: it computes the prompt.
        num_live: those that have not ended.
        is_prompt_published: the prefix cache was given all full pages of the prompt.
        is_counted: its prompt is in the token counters.
    """

    request: GenerateRequest
    sequences: list[Sequence]
    num_live: int
    is_prompt_published: bool = False
    is_counted: bool = False


@dataclasses.dataclass(slots=True)
class Counters:
    """Counters that only grow, named and meant as in `EngineStats`.

    Prompt and cached tokens count once per request; queries and hits are tokens, once per
    sequence, at its first admission. Recomputing after preemption counts nowhere.
    """

    total_prompt_tokens: int = 0
    total_cached_tokens: int = 0
    total_generated_tokens: int = 0
    total_preemptions: int = 0
    total_prefix_queries: int = 0
    total_prefix_hits: int = 0
    total_steps: int = 0


class SchedulerState:
    """What the scheduler remembers between calls.

    Attributes:
        service: what each tenant has had, by `can_wait`: what a batch got costs no live request.
        waiting: a queue for each tenant, by `can_wait`.
        running: by precedence; each has a slot and the pages of what it has computed.
        num_started: sequences that ever began.
        num_patient: sequences that can wait, and have not ended.
        num_scoring: live sequences that still owe prompt logprobs.
        num_host_bound: running sequences whose next token the host has a say in.
        was_scoring_step: by `can_wait`: the last step of the class scored prompts; the next one
            lets others go first.
        on_trial: when any, only these may compute (a step failed; see `engine.quarantine`).
    """

    def __init__(self, config: SchedulerConfig, eos_token_ids: frozenset[int]) -> None:
        self.config = config
        self.eos_token_ids = eos_token_ids
        self.pages = SequencePages(
            num_pages=config.num_pages,
            page_size=config.page_size,
            num_slots=config.max_num_seqs,
            max_model_len=config.max_model_len,
            is_caching=config.enable_prefix_caching,
        )
        self.service = {can_wait: VirtualCounters() for can_wait in CLASSES}
        self.waiting = {
            can_wait: FairQueues(self.service[can_wait], use_priority=config.use_priority)
            for can_wait in CLASSES
        }
        self.running = PrecedenceList(by_start(use_priority=config.use_priority))
        self.requests: dict[str, LiveRequest] = {}
        self.free_slots = list(range(config.max_num_seqs - 1, -1, -1))
        self.counters = Counters()
        self.num_started = 0
        self.num_patient = 0
        self.num_scoring = 0
        self.num_host_bound = 0
        self.was_scoring_step = dict.fromkeys(CLASSES, False)
        self.on_trial: frozenset[Sequence] = frozenset()

    @property
    def num_waiting(self) -> int:
        """Sequences that wait, of both classes."""
        return sum(map(len, self.waiting.values()))

    def waiting_in_order(self) -> list[Sequence]:
        """All that wait, in no order that matters."""
        return [sequence for queues in self.waiting.values() for sequence in queues.in_order()]

    def running_of(self, *, can_wait: bool) -> list[Sequence]:
        """Running sequences of a class, by precedence."""
        running = self.running.in_order()
        if not self.num_patient:
            return [] if can_wait else running
        return [sequence for sequence in running if sequence.request.can_wait == can_wait]

    def add(self, request: GenerateRequest, sequences: list[Sequence]) -> None:
        """All sequences of a new request start to wait."""
        self.requests[request.request_id] = LiveRequest(request, sequences, len(sequences))
        for sequence in sequences:
            self.num_patient += request.can_wait
            self.num_scoring += sequence.prompt_scores is not None
            self._queue_of(sequence).add(sequence)

    def start(self, sequence: Sequence, hit_page_ids: list[int]) -> None:
        """A waiting sequence gets a slot and the cached pages of its prefix."""
        self._queue_of(sequence).remove(sequence)
        if not sequence.start_index:
            self.num_started += 1
            sequence.start_index = self.num_started
        self.pages.start(sequence, self.free_slots.pop(), hit_page_ids)
        sequence.status = SequenceStatus.RUNNING
        self.running.add(sequence)
        self.num_host_bound += is_host_bound(sequence)

    def preempt(self, sequence: Sequence) -> None:
        """A running sequence gives everything back and waits to be computed anew."""
        self._stop(sequence)
        sequence.status = SequenceStatus.WAITING
        sequence.num_preemptions += 1
        self.counters.total_preemptions += 1
        self._queue_of(sequence).add(sequence)

    def recompute_all(self) -> None:
        """Launched steps will never be settled, and no page can be trusted: all start anew."""
        for sequence in self.running.in_order():
            self.preempt(sequence)
        for sequence in self.waiting_in_order():
            sequence.num_pending_tokens = 0
        self.pages.cache.reset()

    def end(self, sequence: Sequence) -> None:
        """A live sequence ends, wherever it is; results still on their way will be dropped."""
        if sequence.status is SequenceStatus.RUNNING:
            self._stop(sequence)
        else:
            self._queue_of(sequence).remove(sequence)
        sequence.status = SequenceStatus.FINISHED
        self.settle_scores(sequence)
        self.num_patient -= sequence.request.can_wait
        live = self.requests[sequence.request.request_id]
        live.num_live -= 1
        if not live.num_live:
            del self.requests[sequence.request.request_id]

    def settle_scores(self, sequence: Sequence) -> None:
        """Prompt logprobs are no longer owed."""
        if sequence.prompt_scores is not None:
            sequence.prompt_scores = None
            self.num_scoring -= 1

    def check(self) -> None:
        """Assert that slots, statuses, requests and pages agree."""
        running, waiting = self.running.in_order(), self.waiting_in_order()
        self.running.check()
        for can_wait, queues in self.waiting.items():
            queues.check()
            assert all(each.request.can_wait == can_wait for each in queues.in_order())
        assert all(sequence.status is SequenceStatus.RUNNING for sequence in running)
        assert all(sequence.status is SequenceStatus.WAITING for sequence in waiting)
        assert not any(sequence.page_ids for sequence in waiting)
        assert all(sequence.slot_index is None for sequence in waiting)
        slots = [*self.free_slots, *(s.slot_index for s in running if s.slot_index is not None)]
        assert sorted(slots) == list(range(self.config.max_num_seqs))
        num_live = sum(live.num_live for live in self.requests.values())
        assert num_live == len(running) + len(waiting)
        live_sequences = running + waiting
        assert self.num_patient == sum(s.request.can_wait for s in live_sequences)
        assert self.num_scoring == sum(s.prompt_scores is not None for s in live_sequences)
        assert self.num_host_bound == sum(is_host_bound(sequence) for sequence in running)
        for sequence in running:
            assert sequence.num_pending_tokens >= 0
            assert sequence.num_computed_tokens <= sequence.num_tokens <= sequence.max_num_tokens
        self.pages.check(running)

    def _queue_of(self, sequence: Sequence) -> FairQueues:
        return self.waiting[sequence.request.can_wait]

    def _stop(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        assert sequence.slot_index is not None
        self.free_slots.append(sequence.slot_index)
        self.pages.release(sequence)
        self.num_host_bound -= is_host_bound(sequence)


def is_host_bound(sequence: Sequence) -> bool:
    """Whether what it may sample depends on tokens in a way only the host can tell.

    Bad words of one token are static bans of the sampler; longer ones depend on what came before,
    and so does what a guide allows.
    """
    return is_guided(sequence.request) or any(
        len(word) > 1 for word in sequence.sampling.bad_words_token_ids
    )


def reads_cache(sequence: Sequence) -> bool:
    """Whether it may start from pages that others computed."""
    return not (needs_scoring(sequence) or sequence.sampling.skip_reading_prefix_cache)


def needs_scoring(sequence: Sequence) -> bool:
    """Whether its next tokens to compute include a prompt token that must score the one after."""
    return (
        sequence.prompt_scores is not None
        and sequence.num_computed_tokens < sequence.num_prompt_tokens - 1
    )
