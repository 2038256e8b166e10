"""Live requests and those that can wait (`GenerateRequest.can_wait`): whose step is the next one.

A step takes as long as all that is in it, so each computes for one class alone:

    live ones are there           live steps. Those that can wait sit still and keep what they
                                  have, as long as no live one lacks a slot or pages
    none, since a moment          nothing: the next is likely near, and would have to wait for
                                  whatever was launched
    none, since `QUIET_S`         steps of those that can wait, as large as any

So that they end even if live ones never do, those that can wait have a turn now and then: a step of
at most an eighth of the budget, when since their last one `TURN_EVERY` times as long has passed as
it took. That is a hundredth of the time. Where there are enough slots they keep one.
"""

from __future__ import annotations

import dataclasses
import math

from engine.scheduler.state import SchedulerState

QUIET_S = 1.0
TURN_EVERY = 99
TURN_BUDGET_PARTS = 8
MIN_SLOTS_TO_KEEP_ONE = 16


@dataclasses.dataclass(slots=True)
class Turns:
    """When which class had the device; times are of the scheduler's clock, which may be set anew.

    Attributes:
        live_s: when a live request was last there.
        turn_s: when a step of those that can wait was last planned.
        turn_took_s: from there until it was settled.
    """

    live_s: float = -math.inf
    turn_s: float = -math.inf
    turn_took_s: float = 0.0

    def order(self, *, has_live: bool, has_patient: bool, now_s: float) -> tuple[bool, ...]:
        """Values of `can_wait` to plan a step for, the first that has something to compute."""
        if has_live:
            self.live_s = now_s
        if not has_patient:
            return (False,)
        if self.is_quiet(now_s):
            return (True,)
        is_turn = abs(now_s - self.turn_s) >= TURN_EVERY * self.turn_took_s
        return (True, False) if is_turn else (False,)

    def is_quiet(self, now_s: float) -> bool:
        """Whether there has been no live request lately."""
        return abs(now_s - self.live_s) >= QUIET_S

    def planned(self, now_s: float) -> None:
        """A step of those that can wait begins."""
        self.turn_s = now_s

    def settled(self, now_s: float) -> None:
        """It is over."""
        self.turn_took_s = abs(now_s - self.turn_s)


def num_startable(state: SchedulerState, max_running: int, *, can_wait: bool) -> int:
    """How many sequences of a class may start, as far as slots go.

    Live ones may take those of others. Who can wait takes none that a live one waits for, but one
    where there are enough.
    """
    num_free = len(state.free_slots)
    num_patient = len(state.running_of(can_wait=True))
    num_running = num_patient if can_wait else len(state.running) - num_patient
    if not can_wait:
        num_free += max(0, num_patient - _num_kept(state))
    elif len(state.waiting[False]) and not state.on_trial:
        num_free = min(num_free, _num_kept(state) - num_patient)
    return min(num_free, max_running - num_running)


def make_room(state: SchedulerState, *, can_wait: bool) -> bool:
    """One that can wait gives up its slot and pages for a live one; False when none can."""
    if can_wait or not state.running_of(can_wait=True):
        return False
    state.preempt(state.running.last())
    return True


def _num_kept(state: SchedulerState) -> int:
    return int(state.config.max_num_seqs >= MIN_SLOTS_TO_KEEP_ONE)
