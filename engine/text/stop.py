"""Stop strings over a text that arrives in pieces.

One automaton per stop string (Knuth-Morris-Pratt) reads every character once, so where the text
was cut into pieces cannot matter. The match that *ends* first wins; of two that end together the
longer one. Only text that may still become part of a match is held back:

    stop "END"   pieces "the E" "N" "D."   given out "the " "" (match)
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class StopMatch:
    """What `StopStringMatcher.push` gives.

    Attributes:
        text: text that is now certain, to be given out.
        stop: the stop string that was completed; None while there is none.
    """

    text: str
    stop: str | None


class StopStringMatcher:
    """Watches one sequence's text for `stops` (non-empty strings).

    Arguments:
        include_stop: whether the matched stop string belongs to the text given out.
    """

    def __init__(self, stops: Sequence[str], *, include_stop: bool = False) -> None:
        self._stops = sorted(set(stops), key=len, reverse=True)
        self._fallbacks = [_fallback_table(stop) for stop in self._stops]
        self._progress = [0] * len(self._stops)
        self._include_stop = include_stop
        self._held = ""

    def push(self, text: str, *, can_stop: bool = True) -> StopMatch:
        """Read a piece. After a match nothing more may be pushed.

        Arguments:
            can_stop: False while fewer than `min_tokens` tokens were generated: a stop string
                that is completed by this piece is then ordinary text.
        """
        if not self._stops:
            return StopMatch(text, None)
        for end, character in enumerate(text, start=1):
            stop = self._read(character)
            if stop is not None and can_stop:
                return self._cut(self._held + text[:end], stop)
        pending = self._held + text
        num_held = max(self._progress)
        self._held = pending[len(pending) - num_held :]
        return StopMatch(pending[: len(pending) - num_held], None)

    def fork(self) -> StopStringMatcher:
        """One that goes on from here by itself."""
        twin = copy.copy(self)
        twin._progress = self._progress.copy()
        return twin

    def flush(self) -> str:
        """The text held back, when no more will come."""
        held, self._held = self._held, ""
        return held

    def _read(self, character: str) -> str | None:
        """Advance every automaton by one character; the longest stop completed, if any."""
        found: str | None = None
        for index, stop in enumerate(self._stops):
            fallback, matched = self._fallbacks[index], self._progress[index]
            while matched and stop[matched] != character:
                matched = fallback[matched - 1]
            if stop[matched] == character:
                matched += 1
            if matched == len(stop):
                found = found or stop
                matched = fallback[matched - 1]
            self._progress[index] = matched
        return found

    def _cut(self, text: str, stop: str) -> StopMatch:
        self._held = ""
        return StopMatch(text if self._include_stop else text[: len(text) - len(stop)], stop)


def _fallback_table(pattern: str) -> list[int]:
    """For each prefix of `pattern`: the length of its longest border (prefix that is a suffix)."""
    table = [0] * len(pattern)
    length = 0
    for index in range(1, len(pattern)):
        while length and pattern[index] != pattern[length]:
            length = table[length - 1]
        if pattern[index] == pattern[length]:
            length += 1
        table[index] = length
    return table
