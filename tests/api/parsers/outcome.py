"""What a parser made of a text, joined, for comparing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from api.parsers.events import (
    ContentDelta,
    Event,
    OutputParser,
    ReasoningDelta,
    ToolCallDelta,
    ToolCallStart,
)


@dataclasses.dataclass
class Outcome:
    """Joined events. `order` is everything as text, in the order it was told."""

    content: str = ""
    reasoning: str = ""
    calls: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ids: list[str | None] = dataclasses.field(default_factory=list)
    order: str = ""


def joined(events: Iterable[Event]) -> Outcome:
    outcome = Outcome()
    for event in events:
        match event:
            case ContentDelta(text):
                assert text
                outcome.content += text
                outcome.order += text
            case ReasoningDelta(text):
                assert text
                outcome.reasoning += text
                outcome.order += text
            case ToolCallStart(index, name, call_id):
                assert index == len(outcome.calls)
                outcome.calls.append((name, ""))
                outcome.ids.append(call_id)
                outcome.order += f"\0{name}\0"
            case ToolCallDelta(index, arguments):
                assert index == len(outcome.calls) - 1
                name, before = outcome.calls[index]
                outcome.calls[index] = (name, before + arguments)
                outcome.order += arguments
    return outcome


def parsed(parser: OutputParser, pieces: Sequence[str]) -> Outcome:
    events = list(itertools.chain.from_iterable(parser.push(piece) for piece in pieces))
    return joined(events + parser.finish())


def halves(text: str) -> list[list[str]]:
    """Every way to cut a text in two, and into its characters."""
    return [[text[:cut], text[cut:]] for cut in range(1, len(text))] + [list(text)]
