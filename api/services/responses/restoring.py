"""The end of a response whose maker is gone, from the events that were written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.services.responses.open_items import (
    Event,
    Item,
    ItemStyle,
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
)
from api.services.responses.snapshot import Snapshot
from api.services.responses.writer import OutputWriter


def ending(body: Snapshot, events: Sequence[Event], status: str, **members: Any) -> list[Event]:
    """The events that end it now: of the item that was open, then of the response.

    Arguments:
        body: the response as it was last written down.
        status: `cancelled` or `failed`.
        members: of the response object, such as `error`.
    """
    writer = OutputWriter(body["id"], ItemStyle())
    _restore(writer, events)
    closing = list(writer.close("incomplete"))
    response = body | {"status": status, "output": writer.items} | members
    kind = "response.failed" if status == "failed" else "response.incomplete"
    first = events[-1]["sequence_number"] + 1 if events else 0
    told = [*closing, {"type": kind, "response": response}]
    return [event | {"sequence_number": first + index} for index, event in enumerate(told)]


def _restore(writer: OutputWriter, events: Sequence[Event]) -> None:
    opened: OpenItem | None = None
    for event in events:
        kind: str = event["type"]
        if kind == "response.output_item.added":
            opened = _opened(event["item"])
        elif kind == "response.output_item.done":
            writer.items.append(event["item"])
            opened = None
        elif kind.endswith(".delta") and "summary" not in kind and opened is not None:
            opened.more(event["delta"], event.get("logprobs") or [])
    writer.reopen(opened)


def _opened(item: Item) -> OpenItem | None:
    if item["type"] == "message":
        return OpenMessage(item["id"])
    if item["type"] == "reasoning":
        return OpenReasoning(item["id"], ItemStyle(is_sealed="encrypted_content" in item))
    if item["type"] in {"function_call", "custom_tool_call"}:
        is_custom = item["type"] == "custom_tool_call"
        return OpenCall(item["id"], item["call_id"], item["name"], is_custom=is_custom)
    return None
