"""Sequences in order: who waits for the next start, who runs and yields last."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable
from typing import TypeAlias

from engine.sequence import Sequence

Precedence: TypeAlias = tuple[bool, int, int]
"""(can wait, priority, index); the smaller runs earlier and is preempted later."""

PrecedenceOf: TypeAlias = Callable[[Sequence], Precedence]


def by_arrival(*, use_priority: bool) -> PrecedenceOf:
    """Live ones first, smaller priority first if it counts, then first come, first served."""
    return lambda sequence: (*_rank(sequence, use_priority), sequence.arrival_index)


def by_start(*, use_priority: bool) -> PrecedenceOf:
    """As `by_arrival`, for sequences that have begun: who began first yields last."""
    return lambda sequence: (*_rank(sequence, use_priority), sequence.start_index)


def _rank(sequence: Sequence, use_priority: bool) -> tuple[bool, int]:
    request = sequence.request
    return request.can_wait, request.priority if use_priority else 0


class PrecedenceList:
    """Sequences sorted by precedence. A preempted sequence returns to the place it came from."""

    def __init__(self, precedence: PrecedenceOf) -> None:
        self._precedence = precedence
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
