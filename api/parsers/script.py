"""Runs a format's script as a parser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from api.parsers.answer import Answer
from api.parsers.events import Event
from api.parsers.reader import Markers, Mismatch, Reader, Waiting

Script = Callable[[Reader, Answer], Waiting[None]]
ReadCall = Callable[[Reader, Answer, str], Waiting[None]]


class ScriptedParser:
    """An `OutputParser` that follows a script; what the script leaves unread is content."""

    def __init__(self, script: Script) -> None:
        self._reader = Reader()
        self._answer = Answer()
        self._steps = self._guarded(script)

    def push(self, text: str) -> list[Event]:
        """What is certain now."""
        self._reader.feed(text)
        next(self._steps, None)
        return self._answer.take()

    def finish(self) -> list[Event]:
        """What was held back."""
        self._reader.close()
        next(self._steps, None)
        self._answer.end()
        return self._answer.take()

    def _guarded(self, script: Script) -> Waiting[None]:
        with contextlib.suppress(Mismatch):
            yield from script(self._reader, self._answer)
        self._answer.content(self._reader.rejected())
        yield from rest_is_content(self._reader, self._answer)


def rest_is_content(reader: Reader, answer: Answer) -> Waiting[None]:
    """A script: everything is content."""
    yield from reader.until(_NOTHING, answer.content)


def calls_after(openings: Sequence[str], closings: Sequence[str], call: ReadCall) -> Script:
    """A script: content, and after each opening a call.

    Each call begun swallows one of each closing; another closing is content, as is what `call`
    consumed when it raises `Mismatch`.

    Arguments:
        call: reads what follows the opening.
    """
    markers = Markers([*openings, *closings])

    def script(reader: Reader, answer: Answer) -> Waiting[None]:
        owed: set[str] = set()
        while marker := (yield from reader.until(markers, answer.content)):
            num_calls = answer.num_calls
            try:
                if marker in openings:
                    yield from call(reader, answer, marker)
                elif marker in owed:
                    owed.remove(marker)
                    answer.drop_space()
                else:
                    raise Mismatch
                reader.commit()
            except Mismatch:
                answer.content(reader.rejected())
            if answer.num_calls > num_calls:
                owed.update(closings)

    return script


# U+10FFFF is no character: no text contains it
_NOTHING = Markers(["\U0010ffff"])
