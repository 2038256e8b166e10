"""What tests of MCP servers in responses have in common."""

from __future__ import annotations

import json
from typing import Any

OWN = {"type": "function", "name": "own", "parameters": {"type": "object"}}


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


LOOK = call("look", city="Rome")


def kinds(response: Any) -> list[str]:
    return [item["type"] for item in response["output"]]
