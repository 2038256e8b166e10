"""Lists and calls of MCP servers as they happen: their events, and what they are in the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.services.mcp.faults import McpFault
from api.services.responses.objects.open_items import Event, Item

ENDED = "The response ended before the MCP server answered."
LISTING, ARGUMENTS_DONE = (
    "response.mcp_list_tools.in_progress",
    "response.mcp_call_arguments.done",
)
SETTLED_AFTER = frozenset({LISTING, ARGUMENTS_DONE})
"""After these events the server is asked; its answer decides on the next ones."""


class OpenMcpList:
    """A server's tools, asked for.

    Attributes:
        tools: written when they are there.
        fault: written if they are not to be had.
    """

    is_whole = False

    def __init__(self, item_id: str, label: str) -> None:
        self.id = item_id
        self.label = label
        self.tools: list[dict[str, Any]] | None = None
        self.fault: McpFault | None = None

    def opening(self) -> Iterator[Event]:
        """The server is asked."""
        yield {"type": LISTING, "item_id": self.id}

    def more(self, text: str, logprobs: list[Any]) -> Event | None:
        """A list comes at once."""
        raise AssertionError("a list of tools is not written by the model")

    def closing(self, status: str) -> Iterator[Event]:
        """Whether there is one."""
        kind = "failed" if self.tools is None else "completed"
        yield {"type": f"response.mcp_list_tools.{kind}", "item_id": self.id}

    def item(self, status: str) -> Item:
        """The list, or why there is none."""
        error = None
        if self.tools is None and status != "in_progress":
            error = ENDED if self.fault is None else str(self.fault)
        return {
            "id": self.id,
            "type": "mcp_list_tools",
            "server_label": self.label,
            "tools": self.tools or [],
            "error": error,
        }


class OpenMcpCall:
    """A call of a server's tool.

    Attributes:
        is_told: all of its arguments were, so the server is called; never of a call that is cut.
        output: written when the tool gave it.
        fault: written if it did not.
    """

    is_whole = False

    def __init__(
        self, item_id: str, label: str, name: str, approval_request_id: str | None = None
    ) -> None:
        self.id = item_id
        self.label = label
        self.name = name
        self.approval_request_id = approval_request_id
        self.is_told = False
        self.output: str | None = None
        self.fault: McpFault | None = None
        self._pieces: list[str] = []

    @property
    def arguments(self) -> str:
        """As far as they are there."""
        return "".join(self._pieces)

    def opening(self) -> Iterator[Event]:
        """There will be a call."""
        yield {"type": "response.mcp_call.in_progress", "item_id": self.id}

    def more(self, text: str, logprobs: list[Any]) -> Event | None:
        """A piece of the arguments."""
        self._pieces.append(text)
        return {"type": "response.mcp_call_arguments.delta", "item_id": self.id, "delta": text}

    def closing(self, status: str) -> Iterator[Event]:
        """All of the arguments; then, once the server has answered, what came of it.

        A call that is cut has neither: the event of its arguments would have it made.
        """
        if status == "completed" and not self.is_told:
            self.is_told = True
            yield {"type": ARGUMENTS_DONE, "item_id": self.id, "arguments": self.arguments}
        if self.output is not None or self.fault is not None:
            kind = "completed" if self.fault is None else "failed"
            yield {"type": f"response.mcp_call.{kind}", "item_id": self.id}

    def item(self, status: str) -> Item:
        """The call with what it gave."""
        if self.fault is not None:
            status = "failed"
        elif self.output is None and status == "completed":
            status = "incomplete"
        return {
            "id": self.id,
            "type": "mcp_call",
            "status": status,
            "server_label": self.label,
            "name": self.name,
            "arguments": self.arguments,
            "output": self.output,
            "error": None if self.fault is None else self.fault.error,
            "approval_request_id": self.approval_request_id,
        }


class OpenApproval:
    """A call that the client is asked for; it is told when it is complete."""

    is_whole = True

    def __init__(self, item_id: str, label: str, name: str) -> None:
        self.id = item_id
        self._label = label
        self._name = name
        self._pieces: list[str] = []

    def opening(self) -> Iterator[Event]:
        """Nothing: there are no events of it but those of any item."""
        yield from ()

    def more(self, text: str, logprobs: list[Any]) -> Event | None:
        """A piece of the arguments, which is not told."""
        self._pieces.append(text)
        return None

    def closing(self, status: str) -> Iterator[Event]:
        """Nothing either."""
        yield from ()

    def item(self, status: str) -> Item:
        """The question to the client."""
        return {
            "id": self.id,
            "type": "mcp_approval_request",
            "server_label": self._label,
            "name": self._name,
            "arguments": "".join(self._pieces),
        }
