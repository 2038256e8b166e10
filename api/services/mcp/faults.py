"""What can go wrong with a server of tools: told in the item of the call or of the list."""

from __future__ import annotations

from typing import Any

MAX_MESSAGE_CHARACTERS = 2000


class McpFault(Exception):
    """A server could not be used; `str(fault)` says why.

    Attributes:
        error: the `error` of a call's item.
    """

    def __init__(self, message: str, error: dict[str, Any] | None = None) -> None:
        message = message[:MAX_MESSAGE_CHARACTERS]
        super().__init__(message)
        self.error = error or {"type": "mcp_protocol_error", "code": TRANSPORT, "message": message}


TRANSPORT = -32000
"""The code of faults that no server gave a code for, of the range that JSON-RPC leaves to us."""


def http_fault(status: int) -> McpFault:
    """The server answered with an HTTP status that is no success."""
    message = f"The MCP server answered with HTTP status {status}."
    return McpFault(message, {"type": "http_error", "code": status, "message": message})


def rpc_fault(error: Any) -> McpFault:
    """The server answered with an error of JSON-RPC."""
    given: dict[str, Any] = error if isinstance(error, dict) else {}
    code, message = given.get("code"), given.get("message")
    text = message[:MAX_MESSAGE_CHARACTERS] if isinstance(message, str) else "no message"
    number = code if isinstance(code, int) and abs(code) < 2**53 else TRANSPORT
    return McpFault(text, {"type": "mcp_protocol_error", "code": number, "message": text})


def tool_fault(content: list[Any], text: str) -> McpFault:
    """The tool ran and says that it failed."""
    return McpFault(text, {"type": "mcp_tool_execution_error", "content": content})


def told_to_model(error: Any) -> str:
    """An item's `error` as the model is told it."""
    if not isinstance(error, dict):
        return f"Error: {error}"
    content: Any = error.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "Error: " + "\n".join(text for text in texts if isinstance(text, str))
    return f"Error: {error.get('message')}"
