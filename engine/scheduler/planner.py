"""One step: every running sequence is sure of a token, prompts share what is left.

Running sequences go by precedence, so that whoever lacks pages takes them from those not planned
yet; each leaves one token of the budget for everybody after it. Waiting ones start last.

A step is for live requests, or for those that can wait; see `engine.scheduler.classes`.

A step that scores prompts is small and its own compiled variant. Such steps alternate with
ordinary ones, so that neither kind starves; decoding sequences ride along where there is room.
"""

from __future__ import annotations

from engine.scheduler.admission import admit
from engine.scheduler.classes import TURN_BUDGET_PARTS, Turns
from engine.scheduler.plan import PlannedRow, StepLimits
from engine.scheduler.rows import Budget, plan_row
from engine.scheduler.state import CLASSES, SchedulerState, needs_scoring
from engine.sequence import Sequence, SequenceStatus


def plan_rows(
    state: SchedulerState, turns: Turns, limits: StepLimits, now_s: float
) -> list[PlannedRow]:
    """Rows of the next step; none when nothing can be computed before something is settled."""
    for can_wait in _classes(state, turns, now_s):
        num_tokens = min(limits.max_tokens, state.config.max_num_batched_tokens)
        if can_wait and not (state.on_trial or turns.is_quiet(now_s)):
            num_tokens = max(1, num_tokens // TURN_BUDGET_PARTS)
        rows = _plan_rows_of_class(state, limits, num_tokens, now_s, can_wait=can_wait)
        if rows:
            if can_wait:
                turns.planned(now_s)
            return rows
    return []


def _classes(state: SchedulerState, turns: Turns, now_s: float) -> tuple[bool, ...]:
    """Classes to try, in order; True can wait."""
    num_live = len(state.running) + state.num_waiting - state.num_patient
    order = turns.order(has_live=num_live > 0, has_patient=state.num_patient > 0, now_s=now_s)
    return CLASSES if state.on_trial else order


def _plan_rows_of_class(
    state: SchedulerState, limits: StepLimits, num_tokens: int, now_s: float, *, can_wait: bool
) -> list[PlannedRow]:
    for is_scoring in _kinds(state, limits, can_wait=can_wait):
        budget = _budget(state, limits, num_tokens, is_scoring=is_scoring, can_wait=can_wait)
        rows = _plan_running(state, budget) + admit(state, limits, budget, now_s)
        if rows:
            state.was_scoring_step[can_wait] = is_scoring
            return rows
    return []


def _kinds(state: SchedulerState, limits: StepLimits, *, can_wait: bool) -> tuple[bool, ...]:
    """Kinds of step to try, in order; True scores prompts."""
    if not state.num_scoring or not limits.has_prompt_logprobs:
        return (False,)
    unended = state.running_of(can_wait=can_wait) + state.waiting[can_wait].in_order()
    if not any(needs_scoring(sequence) for sequence in unended):
        return (False,)
    return (False, True) if state.was_scoring_step[can_wait] else (True, False)


def _budget(
    state: SchedulerState,
    limits: StepLimits,
    num_tokens: int,
    *,
    is_scoring: bool,
    can_wait: bool,
) -> Budget:
    config = state.config
    max_running = min(limits.max_rows, num_tokens)
    if is_scoring:
        num_tokens = min(num_tokens, config.prompt_logprobs_chunk_tokens)
    return Budget(num_tokens, config.prefill_chunk_tokens, max_running, is_scoring, can_wait)


def _plan_running(state: SchedulerState, budget: Budget) -> list[PlannedRow]:
    rows: list[PlannedRow] = []
    sequences = _participants(state, budget)
    num_after = len(sequences)
    for sequence in sequences:
        num_after -= 1
        if sequence.status is not SequenceStatus.RUNNING:
            continue  # preempted for one before it
        if budget.num_tokens <= 0:
            break
        row = plan_row(state, sequence, budget, num_reserved=num_after, is_new_slot=False)
        if row is not None:
            rows.append(row)
    return rows


def _participants(state: SchedulerState, budget: Budget) -> list[Sequence]:
    """Running sequences that may compute in a step of this kind, by precedence."""
    running = state.running_of(can_wait=budget.can_wait)
    if state.on_trial:
        running = [sequence for sequence in running if sequence in state.on_trial]
    if not state.num_scoring:
        return running
    if not budget.is_scoring:
        return [sequence for sequence in running if not needs_scoring(sequence)]
    scoring = [sequence for sequence in running if needs_scoring(sequence)]
    joining = [sequence for sequence in running if needs_scoring(sequence) or _is_decode(sequence)]
    return joining if len(joining) <= budget.num_tokens // 2 else scoring


def _is_decode(sequence: Sequence) -> bool:
    return sequence.num_tokens - sequence.num_computed_tokens == 1
