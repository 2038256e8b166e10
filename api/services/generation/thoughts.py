"""How many of a sequence's tokens are thoughts: those between the marks, which do not count."""

from __future__ import annotations

import bisect
import dataclasses
import re

from api.parsers.reasoning import ReasoningFormat


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ThoughtMarks:
    """Where thoughts are in a text.

    Attributes:
        ends: any of them ends the thoughts.
        is_open: the text begins within them; `start` may be repeated.
        is_repeated: there may be several, anywhere; else only at the beginning.
    """

    start: str
    ends: tuple[str, ...]
    is_open: bool
    is_repeated: bool = False

    @classmethod
    def of(cls, reasoning: ReasoningFormat, is_open: bool) -> ThoughtMarks:
        """The marks of a format."""
        return cls(
            start=reasoning.start,
            ends=(reasoning.end, *reasoning.ends_before),
            is_open=is_open,
            is_repeated=reasoning.script is not None,
        )


class ThoughtMeter:
    """Follows one sequence's text and tokens.

    A token is a thought if its text begins in [end of `start`, beginning of the ending).
    """

    def __init__(self, marks: ThoughtMarks) -> None:
        self._marks = marks
        self._ends = re.compile("|".join(map(re.escape, marks.ends)))
        self._num_held = max(map(len, marks.ends)) - 1
        self._offsets: list[int] = []
        self._text = ""
        # where `_text` begins, where the open span begins, and up to where it is known to go
        self._base = self._begin = self._reach = 0
        self._is_open = self._is_over = False
        self._num_closed = 0

    @property
    def num_tokens(self) -> int:
        """Tokens that are certainly thoughts."""
        return self._num_closed + (self._count(self._reach) if self._is_open else 0)

    def take_token(self, offset: int) -> None:
        """A token's text begins at `offset`."""
        self._offsets.append(offset)

    def take_text(self, text: str) -> None:
        """More text has come."""
        self._text += text
        while not self._is_over and (self._close() if self._is_open else self._open()):
            pass

    def finish(self) -> None:
        """No more will come: what is open is thoughts to its end."""
        self._reach = self._base + len(self._text) + 1

    def _open(self) -> bool:
        """Whether thoughts begin in the text there is."""
        found = self._text.find(self._marks.start)
        if self._marks.is_repeated and found >= 0:
            return self._begin_at(found + len(self._marks.start))
        if self._marks.is_repeated:
            self._drop(max(0, len(self._text) - len(self._marks.start) + 1))
            return False
        ahead = self._text.lstrip()
        num_spaces = len(self._text) - len(ahead)
        if self._marks.start.startswith(ahead) and ahead != self._marks.start:
            return False
        if ahead.startswith(self._marks.start):
            return self._begin_at(num_spaces + len(self._marks.start))
        self._is_over = not self._marks.is_open
        return self._begin_at(0) if self._marks.is_open else False

    def _begin_at(self, position: int) -> bool:
        self._drop(position)
        self._begin = self._reach = self._base
        self._is_open = True
        return True

    def _close(self) -> bool:
        """Whether thoughts end in the text there is."""
        found = self._ends.search(self._text)
        if found is None:
            self._drop(max(0, len(self._text) - self._num_held))
            self._reach = self._base
            return False
        self._num_closed += self._count(self._base + found.start())
        self._drop(found.end())
        self._is_open = False
        self._is_over = not self._marks.is_repeated
        return True

    def _count(self, end: int) -> int:
        """Tokens that begin in [begin, end)."""
        left = bisect.bisect_left(self._offsets, self._begin)
        return bisect.bisect_left(self._offsets, end) - left

    def _drop(self, length: int) -> None:
        self._text = self._text[length:]
        self._base += length
