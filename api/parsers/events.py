"""What a parser says about a model's text, and the shape of every parser."""

from __future__ import annotations

import dataclasses
from typing import Protocol


@dataclasses.dataclass(frozen=True, slots=True)
class ContentDelta:
    """More of the answer itself."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of what the model thinks before it answers."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A call begins; said once a call, before its deltas.

    Attributes:
        index: 0, 1, … in the order of the text.
        id: the model's own name of the call, in the few formats that have one.
    """

    index: int
    name: str
    id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a call's arguments.

    Attributes:
        arguments: a piece of JSON text; of a custom tool's call, a piece of its raw input.
    """

    index: int
    arguments: str


Event = ContentDelta | ReasoningDelta | ToolCallStart | ToolCallDelta


class OutputParser(Protocol):
    """Takes one sequence's text in pieces.

    However the text is cut into pieces, the events joined are the same. No text raises.
    """

    def push(self, text: str) -> list[Event]:
        """What is certain now."""
        ...

    def finish(self) -> list[Event]:
        """What was held back, when no more text will come."""
        ...
