"""One row: how many tokens a sequence computes in this step, and the counters that follow."""

from __future__ import annotations

import dataclasses

from engine.scheduler.plan import PlannedRow
from engine.scheduler.preemption import extend_or_preempt
from engine.scheduler.state import SchedulerState, needs_scoring
from engine.sequence import Sequence


@dataclasses.dataclass(slots=True)
class Budget:
    """What is left of one step while it is being planned.

    Attributes:
        num_tokens: tokens the step can still take.
        max_chunk_tokens: most tokens of one sequence.
        max_running: most sequences that may run: each is sure of one token in every step.
        is_scoring: the step scores prompts: only sequences that need it may prefill.
        can_wait: whose step it is (`engine.scheduler.classes`).
    """

    num_tokens: int
    max_chunk_tokens: int
    max_running: int
    is_scoring: bool
    can_wait: bool


def plan_row(
    state: SchedulerState,
    sequence: Sequence,
    budget: Budget,
    *,
    num_reserved: int,
    is_new_slot: bool,
) -> PlannedRow | None:
    """Plan `[num_computed_tokens, ..)` as far as the budget goes; None = nothing in this step.

    Args:
        num_reserved: tokens of the budget kept for sequences planned after this one.
    """
    start = sequence.num_computed_tokens
    num_pending = sequence.num_pending_tokens
    num_tokens = len(sequence.token_ids) + num_pending
    max_num_tokens = sequence.max_num_tokens
    num_new = num_tokens - start
    if not num_new or (num_pending and num_tokens >= max_num_tokens):
        return None  # all it may ever have is computed or sampled: only settling is left
    if num_new > 1:
        num_new = min(num_new, budget.max_chunk_tokens, max(1, budget.num_tokens - num_reserved))
    end = start + num_new
    page_ids = sequence.page_ids
    if end > len(page_ids) * state.config.page_size and not extend_or_preempt(state, sequence, end):
        return None
    budget.num_tokens -= num_new
    is_scoring = sequence.prompt_scores is not None and needs_scoring(sequence)
    is_sampling = end == num_tokens and num_tokens < max_num_tokens
    sequence.num_computed_tokens = end
    if is_sampling:
        sequence.num_pending_tokens = num_pending + 1
    assert sequence.slot_index is not None
    return PlannedRow(
        sequence,
        sequence.slot_index,
        start,
        num_new,
        is_sampling,
        is_new_slot,
        num_pending > 0,
        page_ids,
        len(page_ids),
        is_scoring,
    )
