"""The end of a response whose maker is gone, from the events that were written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.services.responses.events.writer import OutputWriter
from api.services.responses.objects.open_items import (
    Event,
    Item,
    ItemStyle,
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
)
from api.services.responses.objects.open_mcp_items import ARGUMENTS_DONE, OpenMcpCall, OpenMcpList
from api.services.responses.objects.snapshot import Snapshot


class Written:
    """What events, taken as they were written, say of the output and its last item.

    Attributes:
        num: of the next event.
    """

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.num = 0
        self._done: list[Item] = []
        self._opened: OpenItem | None = None
        self.take(events)

    def take(self, events: Sequence[Event]) -> None:
        """More of them."""
        for event in events:
            self._take(event["type"], event)
            self.num = event["sequence_number"] + 1

    def _take(self, kind: str, event: Event) -> None:
        if kind == "response.output_item.added":
            self._opened = _opened(event["item"])
        elif kind == "response.output_item.done":
            self._done.append(event["item"])
            self._opened = None
        elif kind == ARGUMENTS_DONE and isinstance(self._opened, OpenMcpCall):
            self._opened.is_told = True
        elif kind.endswith(".delta") and "summary" not in kind and self._opened is not None:
            self._opened.more(event["delta"], event.get("logprobs") or [])

    def restore(self, writer: OutputWriter) -> None:
        """Give a new writer what there is, to be closed."""
        writer.items += self._done
        writer.reopen(self._opened)


def ending(body: Snapshot, written: Written, status: str, **members: Any) -> list[Event]:
    """The events that end it now: of the item that was open, then of the response.

    Arguments:
        body: the response as it was last written down.
        status: `cancelled` or `failed`.
        members: of the response object, such as `error`.
    """
    writer = OutputWriter(body["id"], ItemStyle())
    written.restore(writer)
    closing = list(writer.close("incomplete"))
    response = body | {"status": status, "output": writer.items} | members
    kind = "response.failed" if status == "failed" else "response.incomplete"
    told = [*closing, {"type": kind, "response": response}]
    return [event | {"sequence_number": written.num + index} for index, event in enumerate(told)]


def _opened(item: Item) -> OpenItem | None:
    if item["type"] == "message":
        return OpenMessage(item["id"])
    if item["type"] == "reasoning":
        return OpenReasoning(item["id"], ItemStyle(is_sealed="encrypted_content" in item))
    if item["type"] in {"function_call", "custom_tool_call"}:
        is_custom = item["type"] == "custom_tool_call"
        return OpenCall(item["id"], item["call_id"], item["name"], is_custom=is_custom)
    if item["type"] == "mcp_list_tools":
        return OpenMcpList(item["id"], item["server_label"])
    if item["type"] == "mcp_call":
        asked_id = item["approval_request_id"]
        return OpenMcpCall(item["id"], item["server_label"], item["name"], asked_id)
    return None
