"""What the Responses API calls a field of chat completions, for `api.services.naming`."""

from __future__ import annotations

import re

RENAMED = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
}
"""Longer names first where one begins another."""

_NESTED = re.compile(r"^(tools\[\d+\])\.(function|custom)\b")
_ALLOWED = re.compile(r"^tool_choice\.allowed_tools\b")


def spell(param: str) -> str:
    """The field's name here. Messages are not counted as items are, so their place is left out."""
    param = _ALLOWED.sub("tool_choice", _NESTED.sub(r"\1", param))
    for name, ours in RENAMED.items():
        if param == name or param.startswith((f"{name}.", f"{name}[")):
            return ours if name == "messages" else ours + param.removeprefix(name)
    return param
