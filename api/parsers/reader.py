"""Text that is still arriving, read by generators that wait for more of it.

A primitive is a generator: it yields when it needs more text and returns what it found. What it
consumed is kept aside until `commit`, or handed to `take`; a format that finds something else than
it expected raises `Mismatch`, and what was kept aside becomes content. So no text can get lost,
and none is read twice: reading is linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Result = TypeVar("Result")
Waiting = Generator[None, None, Result]
Take = Callable[[str], None]

SPACES = re.compile(r"\s*")


class Mismatch(Exception):
    """The text is not of the format."""


class Markers:
    """Texts to look for, none of which begins another."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        assert not any(a != b and b.startswith(a) for a in self.texts for b in self.texts)
        self.pattern = re.compile("|".join(map(re.escape, self.texts)))
        self._prefixes = {text[:end] for text in self.texts for end in range(1, len(text))}
        self._longest = max(map(len, self._prefixes), default=0)

    def num_held(self, text: str, start: int) -> int:
        """Length of the longest end of `text[start:]` that a marker may begin with."""
        for length in range(min(self._longest, len(text) - start), 0, -1):
            if text[-length:] in self._prefixes:
                return length
        return 0


class Reader:
    """The text of one sequence.

    Attributes:
        is_closed: no more text will come.
    """

    def __init__(self) -> None:
        self._text = ""
        self._at = 0
        self._aside: list[str] = []
        self.is_closed = False

    def feed(self, text: str) -> None:
        """Append what has arrived."""
        self._text = self._text[self._at :] + text
        self._at = 0

    def close(self) -> None:
        """No more text will come."""
        self.is_closed = True

    def commit(self) -> None:
        """What was consumed so far was syntax and is done with."""
        self._aside.clear()

    def put_aside(self, text: str) -> None:
        """`text` was taken, but may yet turn out to be content."""
        self._aside.append(text)

    def rejected(self) -> str:
        """Everything consumed since `commit` that nobody took."""
        text = "".join(self._aside)
        self._aside.clear()
        return text

    @property
    def is_at_end(self) -> bool:
        """Whether everything that has arrived was consumed."""
        return self._at >= len(self._text)

    def peek(self) -> Waiting[str]:
        """The next character; "" at the end."""
        while self._at >= len(self._text):
            if self.is_closed:
                return ""
            yield
        return self._text[self._at]

    def skip(self, take: Take | None = None) -> Waiting[str]:
        """Consume one character.

        Raises:
            Mismatch: at the end.
        """
        character = yield from self.peek()
        if not character:
            raise Mismatch
        self._advance(self._at + 1, take)
        return character

    def until(self, markers: Markers, take: Take | None = None) -> Waiting[str]:
        """Consume text up to and including a marker; the marker, "" if there is none.

        The text goes to `take` as soon as it cannot be a marker; the marker is kept aside.
        """
        while True:
            found = markers.pattern.search(self._text, self._at)
            if found is not None:
                self._advance(found.start(), take)
                self._advance(found.end())
                return found[0]
            held = 0 if self.is_closed else markers.num_held(self._text, self._at)
            self._advance(len(self._text) - held, take)
            if self.is_closed:
                return ""
            yield

    def run(self, pattern: re.Pattern[str], take: Take | None = None) -> Waiting[str]:
        """Consume the longest run of a character class; `pattern` is like `[a-z]*`."""
        pieces: list[str] = []
        while True:
            found = pattern.match(self._text, self._at)
            assert found is not None, "a run's pattern matches nothing as well"
            pieces.append(found[0])
            self._advance(found.end(), take)
            if self._at < len(self._text) or self.is_closed:
                return "".join(pieces)
            yield

    def spaces(self) -> Waiting[str]:
        """Consume white space."""
        return (yield from self.run(SPACES))

    def one_of(self, *texts: str) -> Waiting[str]:
        """Consume the first of `texts` that comes next; "" if none does."""
        longest = max(map(len, texts))
        while True:
            ahead = self._text[self._at : self._at + longest]
            for text in texts:
                if ahead.startswith(text):
                    self._advance(self._at + len(text))
                    return text
                if not self.is_closed and text.startswith(ahead):
                    break
            else:
                return ""
            yield

    def expect(self, *texts: str) -> Waiting[str]:
        """Consume one of `texts`.

        Raises:
            Mismatch: something else comes next.
        """
        found = yield from self.one_of(*texts)
        if not found:
            raise Mismatch
        return found

    def _advance(self, end: int, take: Take | None = None) -> None:
        if end > self._at:
            (take or self._aside.append)(self._text[self._at : end])
            self._at = end
