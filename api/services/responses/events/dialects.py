"""Names of events for clients that know others than OpenAI's.

openai          as they are made
openresponses   the Open Responses specification of 2026-04-24
seed            OpenAI's, each followed by the older names that some clients listen for; such an
                alias has the number of the event it repeats, so OpenAI's count has no gaps
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from api.errors import APIError
from api.protocol.responses.request import Dialect
from api.services.generation.events import DONE

Event = dict[str, Any]

_PAD_STEP = 16

OPEN_NAMES = {
    "response.reasoning_text.delta": "response.reasoning.delta",
    "response.reasoning_text.done": "response.reasoning.done",
    "response.custom_tool_call_input.delta": "servax:custom_tool_call_input.delta",
    "response.custom_tool_call_input.done": "servax:custom_tool_call_input.done",
}
"""Open Responses' names; what it does not have carries a prefix, as it asks for."""
_OF_MCP, _OPEN_OF_MCP = "response.mcp_", "servax:mcp_"

SEED_NAMES = {
    "response.reasoning_text.delta": "response.reasoning.delta",
    "response.reasoning_text.done": "response.reasoning.done",
    "response.reasoning_summary_text.delta": "response.reasoning.summary.delta",
    "response.reasoning_summary_part.added": "response.reasoning.summary.added",
    "error": "response.error",
}
SEED_CALLS = frozenset(
    {
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
    }
)
SEED_PARTS = {
    "response.content_part.added": "response.reasoning_part.added",
    "response.content_part.done": "response.reasoning_part.done",
}
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


class DialectWriter:
    """Writes the events of one stream.

    Arguments:
        is_legacy: names of reasoning events stay OpenAI's in any dialect
            (`--legacy-reasoning-events`).
        is_padded: deltas get `obfuscation`, which follows from the event, so that a stream that is
            read again is the same.
        last: number of the last event that the client was told before.
    """

    def __init__(
        self, dialect: Dialect, *, is_legacy: bool, is_padded: bool = False, last: int = 0
    ) -> None:
        self._dialect = dialect
        self._is_legacy = is_legacy
        self._is_padded = is_padded
        self._calls: dict[str, Event] = {}
        self._last = last

    def write(self, events: Sequence[Event]) -> bytes:
        """Complete server-sent events; after the last one `[DONE]`."""
        written = b"".join(encode(told) for event in events for told in self.told(event))
        is_over = bool(events) and events[-1]["type"] in TERMINAL
        self._last = events[-1]["sequence_number"] if events else self._last
        return written + (DONE if is_over else b"")

    def cut(self, failure: APIError) -> bytes:
        """The end of a stream whose response goes on without it. It has the number of the last
        event before it, so that who asks for what comes after that misses nothing."""
        event = {
            "type": "error",
            "code": failure.code or "server_error",
            "message": failure.message,
            "param": failure.param,
            "sequence_number": self._last,
        }
        return b"".join(map(encode, self.told(event))) + DONE

    def note(self, event: Event) -> None:
        """An event that this client was told before."""
        if event["type"] == "response.output_item.added":
            self._calls[event["item"]["id"]] = event["item"]

    def told(self, event: Event) -> Iterator[Event]:
        """An event in this dialect, and its aliases."""
        if self._is_padded and isinstance(event.get("delta"), str):
            event = event | {"obfuscation": padding_of(event)}
        if self._dialect == "openresponses":
            yield self._open(event)
        elif self._dialect == "seed":
            yield from self._seed(event)
        else:
            yield event

    def _open(self, event: Event) -> Event:
        kind = event["type"]
        if kind == "error":
            error = {name: event[name] for name in ("code", "message", "param")}
            number = event["sequence_number"]
            fields = {"type": "server_error", **error, "headers": None}
            return {"type": kind, "sequence_number": number, "error": fields}
        if self._is_legacy and ".reasoning_text." in kind:
            return event
        if kind.startswith(_OF_MCP):
            return event | {"type": _OPEN_OF_MCP + kind.removeprefix(_OF_MCP)}
        return event | {"type": OPEN_NAMES.get(kind, kind)}

    def _seed(self, event: Event) -> Iterator[Event]:
        kind = event["type"]
        if kind in TERMINAL:
            yield from _before_the_end(event)
        yield event
        self.note(event)
        if kind in SEED_CALLS:
            yield self._of_call(event)
        elif kind in SEED_PARTS and event["part"]["type"] == "reasoning_text":
            yield event | {"type": SEED_PARTS[kind]}
        elif kind in SEED_NAMES and not (self._is_legacy and ".reasoning_text." in kind):
            yield event | {"type": SEED_NAMES[kind]}

    def _of_call(self, event: Event) -> Event:
        item = self._calls.get(event["item_id"], {})
        call_id = item.get("call_id", event["item_id"])
        return event | {
            "type": "response.tool_call.delta",
            "call_id": call_id,
            "tool_call_id": call_id,
            "name": item.get("name"),
        }


def _before_the_end(event: Event) -> Iterator[Event]:
    """What the answer built on, which only this dialect tells in an event of its own."""
    response = event["response"]
    yield {
        "type": "response.additional_context",
        "response_id": response["id"],
        "previous_response_id": response["previous_response_id"],
        "conversation": response["conversation"],
        "sequence_number": event["sequence_number"],
    }


def padding_of(event: Event) -> str:
    """Text that makes a delta and itself together a multiple of `_PAD_STEP`."""
    length = _PAD_STEP - len(event["delta"].encode("utf-8", "surrogatepass")) % _PAD_STEP
    seed = f"{event['item_id']}:{event['sequence_number']}".encode()
    return base64.urlsafe_b64encode(hashlib.sha256(seed).digest()).decode()[:length]


def encode(event: Event) -> bytes:
    """A server-sent event whose name is its type, in one piece."""
    return b"event: " + event["type"].encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"
