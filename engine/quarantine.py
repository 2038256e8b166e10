"""Finding out which sequence makes a step fail, by trials on ever smaller groups.

A failed step does not say which of its rows is at fault. Its rows become suspects and run again
from their settled tokens, without the others: all together first (most faults pass), then in
halves. A sequence is cleared when a trial step gave it a token; one that fails alone is the
culprit. Recomputing gives the same bytes, so bystanders only lose time.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.sequence import Sequence


class Quarantine:
    """Groups of suspects; the last one is on trial. Knows neither scheduler nor device."""

    def __init__(self) -> None:
        self._groups: list[list[Sequence]] = []

    @property
    def is_active(self) -> bool:
        """Whether any sequence is suspected."""
        return bool(self._groups)

    @property
    def on_trial(self) -> frozenset[Sequence]:
        """The sequences that may run now; empty when nobody is suspected."""
        return frozenset(self._groups[-1]) if self._groups else frozenset()

    def accuse(self, suspects: Iterable[Sequence]) -> Sequence | None:
        """A step with these sequences failed. Returns the culprit if that is certain.

        The first failure puts all suspects on trial together; a failed trial of several is
        repeated in halves; a failed trial of one has found the culprit, who is let go.
        """
        accused = list(dict.fromkeys(suspects))
        if not self._groups:
            self._push(accused)
            return None
        self.clear(accused)
        if len(accused) == 1:
            return accused[0]
        middle = len(accused) // 2
        self._push(accused[middle:])
        self._push(accused[:middle])
        return None

    def clear(self, sequences: Iterable[Sequence]) -> None:
        """These are no longer suspected."""
        cleared = set(sequences)
        groups = [[one for one in group if one not in cleared] for group in self._groups]
        self._groups = [group for group in groups if group]

    def _push(self, group: list[Sequence]) -> None:
        if group:
            self._groups.append(group)
