"""Where a format's script says what the text meant; gives the events."""

from __future__ import annotations

from api.parsers.events import (
    ContentDelta,
    Event,
    ReasoningDelta,
    ToolCallDelta,
    ToolCallStart,
)


def _event(kind: str, index: int, text: str) -> Event:
    if kind == "content":
        return ContentDelta(text)
    return ReasoningDelta(text) if kind == "reasoning" else ToolCallDelta(index, text)


class Answer:
    """Events in the making.

    White space beside calls (before the first, between two, after the last) separates them and is
    no content; white space beside content is.

    Attributes:
        num_calls: begun so far.
    """

    def __init__(self) -> None:
        self.num_calls = 0
        self._events: list[Event] = []
        self._kind = ""
        self._pieces: list[str] = []
        self._space: list[str] | None = []

    def content(self, text: str) -> None:
        """`text` is part of the answer."""
        if self._space is not None:
            self._space.append(text)
            if not text or text.isspace():
                return
            text = "".join(self._space)
            self._space = None
        self._add("content", text)

    def reasoning(self, text: str) -> None:
        """`text` is part of the thoughts."""
        self._add("reasoning", text)

    def start_call(self, name: str, call_id: str | None = None) -> None:
        """A call begins."""
        self._flush()
        self._space = []
        self._events.append(ToolCallStart(self.num_calls, name, call_id))
        self.num_calls += 1

    def drop_space(self) -> None:
        """White space since the last call stood before its closing text."""
        if self._space is not None:
            self._space.clear()

    def arguments(self, text: str) -> None:
        """`text` is part of the arguments of the last call begun."""
        self._add("arguments", text)

    def end(self) -> None:
        """No more text will come."""
        if self._space and not self.num_calls:
            self._add("content", "".join(self._space))
        self._space = None

    def take(self) -> list[Event]:
        """The events since the last time; neighbours of a kind are one event."""
        self._flush()
        events, self._events = self._events, []
        return events

    def _add(self, kind: str, text: str) -> None:
        if kind != self._kind:
            self._flush()
            self._kind = kind
        self._pieces.append(text)

    def _flush(self) -> None:
        text = "".join(self._pieces)
        if text:
            self._events.append(_event(self._kind, self.num_calls - 1, text))
        self._pieces.clear()
