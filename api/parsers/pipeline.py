"""Reasoning parser, then tool parser, as one parser."""

from __future__ import annotations

from collections.abc import Sequence

from api.parsers.custom_input import RawInputs
from api.parsers.events import ContentDelta, Event, OutputParser, ToolCallDelta, ToolCallStart
from api.parsers.reasoning.format import ReasoningFormat
from api.parsers.tool_spec import ToolSpec
from api.parsers.tools.format import ToolFormat


class Pipeline:
    """Everything that is parsed in one sequence's text.

    Arguments:
        reasoning: how thoughts are marked; None: they are content.
        tool_format: how calls are written; None: they are content.
        tools: the declared tools.
        is_open: the prompt has opened the thoughts.
        max_calls: later calls are left out; None: no bound.

    Attributes:
        is_finished: the calls asked for are complete; what follows would be left out.
    """

    def __init__(
        self,
        reasoning: ReasoningFormat | None,
        tool_format: ToolFormat | None,
        tools: Sequence[ToolSpec] = (),
        *,
        is_open: bool = False,
        max_calls: int | None = None,
    ) -> None:
        self._reasoning: OutputParser | None = None
        if reasoning is not None and not (tool_format is not None and tool_format.reads_reasoning):
            self._reasoning = reasoning.make_parser(is_open=is_open)
        self._tools = tool_format.make_parser(tools) if tool_format is not None else None
        self._raw_inputs = RawInputs(tools)
        self._max_calls = max_calls
        self.is_finished = False

    def push(self, text: str) -> list[Event]:
        """What is certain now."""
        if self._reasoning is None:
            return self._told(self._read_calls(text))
        return self._told(self._after_reasoning(self._reasoning.push(text)))

    def finish(self) -> list[Event]:
        """What was held back."""
        events: list[Event] = []
        if self._reasoning is not None:
            events += self._after_reasoning(self._reasoning.finish())
        if self._tools is not None:
            events += self._tools.finish()
        return self._told(events) + ([] if self.is_finished else self._raw_inputs.finish())

    def _read_calls(self, text: str) -> list[Event]:
        if self._tools is not None:
            return self._tools.push(text)
        return [ContentDelta(text)] if text else []

    def _after_reasoning(self, events: list[Event]) -> list[Event]:
        result: list[Event] = []
        for event in events:
            if isinstance(event, ContentDelta):
                result += self._read_calls(event.text)
            else:
                result.append(event)
        return result

    def _told(self, events: list[Event]) -> list[Event]:
        told: list[Event] = []
        for event in events:
            if self._is_beyond(event):
                told += [] if self.is_finished else self._raw_inputs.finish()
                self.is_finished = True
            if self.is_finished:
                break
            told += self._raw_inputs.convert(event)
        return told

    def _is_beyond(self, event: Event) -> bool:
        if self._max_calls is None or not isinstance(event, ToolCallStart | ToolCallDelta):
            return False
        return event.index >= self._max_calls
