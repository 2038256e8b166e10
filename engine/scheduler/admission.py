"""Which waiting sequences start in this step.

The queues are walked in order: tenants by the service they have had, each tenant's sequences by
precedence (`engine.scheduler.fairness`). Who cannot start for a reason of its own is passed over
and holds up nobody: it waits for its sibling, for its grammar to be compiled, for the scoring
variant, or for a token still on the device. Who lacks pages or a slot ends the walk: those behind
must not overtake it, or it might starve.
"""

from __future__ import annotations

from engine.grammar.guided import is_guided
from engine.scheduler.classes import make_room, num_startable
from engine.scheduler.plan import PlannedRow, StepLimits
from engine.scheduler.rows import Budget, plan_row
from engine.scheduler.state import SchedulerState, needs_scoring, reads_cache
from engine.sequence import Sequence, SequenceStatus


def admit(
    state: SchedulerState, limits: StepLimits, budget: Budget, now_s: float
) -> list[PlannedRow]:
    """Start sequences while tokens, slots and pages last, and plan their first rows.

    A sequence starts only if all its known tokens would fit beside what the running ones still
    need for theirs. One that must wait for a step of the other kind keeps its claim.
    """
    rows: list[PlannedRow] = []
    waiting, can_wait = state.waiting[budget.can_wait], budget.can_wait
    if not len(waiting):
        return rows
    num_left = num_startable(state, budget.max_running, can_wait=can_wait)
    if num_left <= 0 or budget.num_tokens <= 0:
        return rows
    num_promised = _num_promised_pages(state, can_wait=can_wait)
    for sequence in waiting.in_fair_order():
        if num_left <= 0 or budget.num_tokens <= 0:
            break
        if _is_held_up(state, limits, sequence):
            continue
        if not state.free_slots and not make_room(state, can_wait=can_wait):
            break
        hits, num_missing = _find_pages(state, sequence)
        while num_missing + num_promised > state.pages.pool.num_available:
            if not make_room(state, can_wait=can_wait):
                return rows
            hits, num_missing = _find_pages(state, sequence)
        num_left -= 1
        if needs_scoring(sequence) != budget.is_scoring:
            num_promised += num_missing
            continue
        rows.append(_start(state, sequence, hits, budget, now_s))
        num_promised += _num_unowned_pages(state, sequence)
    return rows


def _find_pages(state: SchedulerState, sequence: Sequence) -> tuple[list[int], int]:
    """Cached pages it may start from, and how many it needs besides."""
    hits = state.pages.find_prefix(sequence) if reads_cache(sequence) else []
    return hits, state.pages.num_missing(sequence, hits)


def _start(
    state: SchedulerState, sequence: Sequence, hits: list[int], budget: Budget, now_s: float
) -> PlannedRow:
    state.start(sequence, hits)
    if not sequence.scheduled_s:
        sequence.scheduled_s = now_s
        _count_prompt(state, sequence)
    row = plan_row(state, sequence, budget, num_reserved=0, is_new_slot=True)
    assert row is not None, "a sequence that starts has pages and tokens to compute"
    return row


def _count_prompt(state: SchedulerState, sequence: Sequence) -> None:
    """The first admission of a sequence, and perhaps of its request."""
    counters, live = state.counters, state.requests[sequence.request.request_id]
    sequence.num_cached_tokens = sequence.num_computed_tokens
    num_to_compute = sequence.num_prompt_tokens - sequence.num_cached_tokens
    service = state.service[sequence.request.can_wait]
    service.charge_prompt(sequence.request.tenant, num_to_compute)
    if state.config.enable_prefix_caching and reads_cache(sequence):
        counters.total_prefix_queries += sequence.num_prompt_tokens
        counters.total_prefix_hits += sequence.num_cached_tokens
    if not live.is_counted:
        live.is_counted = True
        counters.total_prompt_tokens += sequence.num_prompt_tokens
        counters.total_cached_tokens += sequence.num_cached_tokens


def _is_held_up(state: SchedulerState, limits: StepLimits, sequence: Sequence) -> bool:
    if sequence.num_pending_tokens:
        return True
    if sequence.guide is None and is_guided(sequence.request):
        return True
    if needs_scoring(sequence) and not limits.has_prompt_logprobs:
        return True
    if state.on_trial:
        return sequence not in state.on_trial
    return _awaits_sibling(state, sequence)


def _awaits_sibling(state: SchedulerState, sequence: Sequence) -> bool:
    """Whether the first sequence of the request is about to publish pages this one can share."""
    if sequence.sequence_index == 0 or not state.config.enable_prefix_caching:
        return False
    if sequence.sampling.skip_reading_prefix_cache:
        return False
    live = state.requests[sequence.request.request_id]
    if live.is_prompt_published:
        return False
    leader = live.sequences[0]
    num_shareable = (sequence.num_prompt_tokens - 1) // state.config.page_size
    live.is_prompt_published = (
        leader.status is SequenceStatus.FINISHED or leader.num_published_pages >= num_shareable
    )
    return not live.is_prompt_published


def _num_promised_pages(state: SchedulerState, *, can_wait: bool) -> int:
    """Nothing is promised to those that can wait when a live one starts."""
    running = state.running.in_order() if can_wait else state.running_of(can_wait=False)
    return sum(_num_unowned_pages(state, sequence) for sequence in running)


def _num_unowned_pages(state: SchedulerState, sequence: Sequence) -> int:
    """Pages a running sequence will yet take for tokens that are already known."""
    return max(0, state.pages.num_pages_for(sequence.num_tokens) - len(sequence.page_ids))
