"""Custom tools' calls: the JSON argument `input` becomes the raw input it stands for."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from api.parsers.answer import Answer
from api.parsers.events import ContentDelta, Event, ToolCallDelta, ToolCallStart
from api.parsers.reader import Mismatch, Reader, Take, Waiting
from api.parsers.script import ScriptedParser
from api.parsers.tool_spec import CUSTOM_INPUT, ToolSpec

_PLAIN = re.compile(r'[^"\\]*')
_HEX = re.compile(r"[0-9A-Fa-f]{4}")


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
    yield from decoded_string(reader, answer.content)
    yield from reader.spaces()
    yield from reader.expect("}")
    reader.commit()


def decoded_string(reader: Reader, take: Take) -> Waiting[None]:
    """Read a JSON string after its opening quote, with the closing one; what it says is taken.

    Raises:
        Mismatch: it does not end.
    """
    while True:
        yield from reader.run(_PLAIN, take)
        if (yield from reader.skip()) == '"':
            reader.commit()
            return
        take((yield from _escape(reader)))
        reader.commit()


def _escape(reader: Reader) -> Waiting[str]:
    character = yield from reader.skip()
    if character != "u":
        return _decoded(character) or "\\" + character
    digits = yield from _four(reader)
    if digits[:2].lower() in ("d8", "d9", "da", "db") and (yield from reader.one_of("\\u")):
        return _decoded(f"u{digits}\\u" + (yield from _four(reader)))
    return _decoded("u" + digits)


def _four(reader: Reader) -> Waiting[str]:
    digits = ""
    for _ in range(4):
        digits += yield from reader.skip()
    if not _HEX.fullmatch(digits):
        raise Mismatch
    return digits


def _decoded(escape: str) -> str:
    """What `\\escape` says; "" if it says nothing. Halves of a pair read as U+FFFD."""
    try:
        text = json.loads(f'"\\{escape}"')
    except ValueError:
        return ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
