"""When pages run out: who yields, and for whom.

Only a sequence of lower precedence yields, the lowest first, and it is computed anew later (its
pages may still be in the prefix cache then). So the running sequence of highest precedence always
gets on, which is why every sequence ends. Whoever finds nobody below it keeps its pages and sits
out the step.
"""

from __future__ import annotations

from engine.scheduler.state import SchedulerState
from engine.sequence import Sequence


def extend_or_preempt(state: SchedulerState, sequence: Sequence, num_tokens: int) -> bool:
    """Own pages for `[0, num_tokens)`, taking them from lower sequences if need be.

    Sequences are planned by precedence, so those below have no row in this step's plan yet.
    False: the sequence must sit this step out.
    """
    while not state.pages.extend(sequence, num_tokens):
        victim = state.running.last()
        if victim is sequence:
            assert len(state.running) > 1, "admission promises that a sequence alone fits"
            return False
        state.preempt(victim)
    return True
