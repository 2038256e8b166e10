"""Custom tools' calls: the JSON argument `input` becomes the raw input it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.events import ContentDelta, Event, ToolCallDelta, ToolCallStart
from api.parsers.literals import escaped_string
from api.parsers.reader import Reader, Waiting
from api.parsers.script import ScriptedParser
from api.parsers.tool_spec import CUSTOM_INPUT, ToolSpec


class RawInputs:
    """Converts the deltas of custom tools' calls; other events pass as they are."""

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self._names = {tool.name for tool in tools if tool.is_custom}
        self._parser: ScriptedParser | None = None
        self._index = 0

    def convert(self, event: Event) -> list[Event]:
        """The events that `event` becomes."""
        if isinstance(event, ToolCallStart):
            before = self.finish()
            self._parser = ScriptedParser(_raw_input) if event.name in self._names else None
            self._index = event.index
            return [*before, event]
        if isinstance(event, ToolCallDelta) and self._parser is not None:
            return self._deltas(self._parser.push(event.arguments))
        return [event]

    def finish(self) -> list[Event]:
        """What was held back of the last call."""
        return self._deltas(self._parser.finish()) if self._parser is not None else []

    def _deltas(self, events: list[Event]) -> list[Event]:
        return [
            ToolCallDelta(self._index, event.text)
            for event in events
            if isinstance(event, ContentDelta)
        ]


def _raw_input(reader: Reader, answer: Answer) -> Waiting[None]:
    """Content: what the string in `{"input": "…"}` says; other arguments as they are."""
    yield from reader.expect("{")
    yield from reader.spaces()
    yield from reader.expect(f'"{CUSTOM_INPUT}"')
    yield from reader.spaces()
    yield from reader.expect(":")
    yield from reader.spaces()
    yield from reader.expect('"')
    reader.commit()
    yield from escaped_string(reader, '"', answer.content)
    yield from reader.spaces()
    yield from reader.expect("}")
    reader.commit()
