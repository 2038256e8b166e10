"""What a choice's text says: content, thoughts and calls, piece by piece.

Streams read piece by piece and whole answers at once, by the same code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from itertools import groupby

from api.parsers.events import (
    ContentDelta,
    Event,
    OutputParser,
    ReasoningDelta,
    ToolCallDelta,
    ToolCallStart,
)


@dataclasses.dataclass(slots=True, kw_only=True)
class CallDelta:
    """More of one call.

    Attributes:
        index: 0, 1, … within the message.
        id, name: in the first piece of a call, else None.
        arguments: a piece of JSON text, or of a custom tool's input.
    """

    index: int
    id: str | None = None
    name: str | None = None
    is_custom: bool = False
    arguments: str = ""


@dataclasses.dataclass(slots=True, kw_only=True)
class MessageDelta:
    """More of one message: content, thoughts or calls, one of the three."""

    content: str = ""
    reasoning: str = ""
    calls: list[CallDelta] = dataclasses.field(default_factory=list[CallDelta])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the text of an answer's choices is read.

    Attributes:
        make_parser: None when all text is content.
        shows_reasoning: thoughts are part of the answer.
        custom_names: tools whose calls have an input instead of arguments.
        make_call_id: an id for a call that the model gave none.
    """

    make_parser: Callable[[], OutputParser] | None = None
    shows_reasoning: bool = True
    custom_names: frozenset[str] = frozenset()
    make_call_id: Callable[[], str] = lambda: ""


class ChoiceReader:
    """Reads one choice."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._parser = None if reading.make_parser is None else reading.make_parser()
        self._is_custom: list[bool] = []

    @property
    def num_calls(self) -> int:
        """Calls begun so far."""
        return len(self._is_custom)

    def read(self, text: str, *, is_last: bool) -> list[MessageDelta]:
        """What `text` adds, in order; with the last text also what was held back."""
        if self._parser is None:
            return [MessageDelta(content=text)] if text else []
        events = self._parser.push(text) if text else []
        if is_last:
            events = [*events, *self._parser.finish()]
        return [
            delta
            for kind, group in groupby(events, _kind_of)
            if (delta := self._delta(kind, list(group))) is not None
        ]

    def _delta(self, kind: str, events: list[Event]) -> MessageDelta | None:
        text = "".join(e.text for e in events if isinstance(e, ContentDelta | ReasoningDelta))
        if kind == "content":
            return MessageDelta(content=text)
        if kind == "reasoning":
            return MessageDelta(reasoning=text) if self._reading.shows_reasoning else None
        return MessageDelta(calls=self._calls(events))

    def _calls(self, events: Sequence[Event]) -> list[CallDelta]:
        """One entry per call, however many events it has."""
        calls: dict[int, CallDelta] = {}
        for event in events:
            if isinstance(event, ToolCallStart):
                calls[event.index] = self._begun(event)
            elif isinstance(event, ToolCallDelta):
                is_custom = self._is_custom[event.index]
                call = calls.setdefault(
                    event.index, CallDelta(index=event.index, is_custom=is_custom)
                )
                call.arguments += event.arguments
        return list(calls.values())

    def _begun(self, start: ToolCallStart) -> CallDelta:
        is_custom = start.name in self._reading.custom_names
        self._is_custom.append(is_custom)
        return CallDelta(
            index=start.index,
            id=start.id or self._reading.make_call_id(),
            name=start.name,
            is_custom=is_custom,
        )


def _kind_of(event: Event) -> str:
    if isinstance(event, ContentDelta):
        return "content"
    return "reasoning" if isinstance(event, ReasoningDelta) else "calls"
