"""Sequences that do not run, in the order they would like to start."""

from __future__ import annotations

import bisect
import itertools
from typing import TypeAlias

from engine.sequence import Sequence

Precedence: TypeAlias = tuple[int, int]
"""(priority, arrival); the smaller runs earlier and is preempted later."""


def precedence_by_arrival(sequence: Sequence) -> Precedence:
    """First come, first served, whatever the priority."""
    return (0, sequence.arrival_index)


def precedence_by_priority(sequence: Sequence) -> Precedence:
    """Smaller priority first, then first come, first served."""
    return (sequence.request.priority, sequence.arrival_index)


PRECEDENCES = {False: precedence_by_arrival, True: precedence_by_priority}
"""By `SchedulerConfig.use_priority`."""


class PrecedenceList:
    """Sequences sorted by precedence. A preempted sequence returns to the place it came from."""

    def __init__(self, *, use_priority: bool) -> None:
        self._precedence = PRECEDENCES[use_priority]
        self._sequences: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Put it where its precedence says."""
        bisect.insort(self._sequences, sequence, key=self._precedence)

    def remove(self, sequence: Sequence) -> None:
        """Take it out; it must be in."""
        index = bisect.bisect_left(
            self._sequences, self._precedence(sequence), key=self._precedence
        )
        assert self._sequences[index] is sequence
        del self._sequences[index]

    def in_order(self) -> list[Sequence]:
        """A copy, so that sequences may come and go while it is walked."""
        return self._sequences.copy()

    def last(self) -> Sequence:
        """The one that starts last and yields first; the list must not be empty."""
        return self._sequences[-1]

    def __len__(self) -> int:
        return len(self._sequences)

    def check(self) -> None:
        """Assert that the order is strict, which also rules out duplicates."""
        keys = [self._precedence(sequence) for sequence in self._sequences]
        assert all(earlier < later for earlier, later in itertools.pairwise(keys))
