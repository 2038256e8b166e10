"""Where a model's thinking begins and ends in what it generates, and the forcing of its end."""

from __future__ import annotations

from engine.request import ReasoningSpan

TokenIds = tuple[int, ...]


def ends_with(token_ids: list[int], ending: TokenIds, first: int) -> bool:
    """Whether `token_ids[first:]` ends with `ending`, which is not empty."""
    return len(token_ids) - first >= len(ending) and tuple(token_ids[-len(ending) :]) == ending


class ThinkingBudget:
    """Counts tokens inside the span; once they are used up, its end is forced id by id.

    Args:
        budget: tokens the thinking may take, its marks not counted, over all spans together.
    """

    def __init__(self, span: ReasoningSpan, budget: int) -> None:
        self._span = span
        self._budget = budget
        self._is_open = span.is_open
        self._num_thought = 0
        self._num_forced = 0

    @property
    def forced_id(self) -> int | None:
        """The only id allowed next; None when the budget has nothing to say."""
        if not self._is_open or self._num_thought < self._budget:
            return None
        return self._span.end[self._num_forced]

    def accept(self, token_ids: list[int], first: int) -> None:
        """A token was appended: `token_ids[first:]` was generated."""
        if not self._is_open:
            self._is_open = bool(self._span.start) and ends_with(token_ids, self._span.start, first)
        elif self._num_forced or self._num_thought >= self._budget:
            self._note_forced()
        elif ends_with(token_ids, self._span.end, first):
            self._is_open = False
        else:
            self._num_thought += 1

    def _note_forced(self) -> None:
        self._num_forced += 1
        if self._num_forced == len(self._span.end):
            self._num_forced = 0
            self._is_open = False
