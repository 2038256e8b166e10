"""A client's tools in the shape chat templates read: OpenAI's functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from api.parsers.tool_spec import CUSTOM_INPUT
from api.protocol.tools import CustomDefinition, FunctionTool, Tool


def template_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """One object per tool; what the client left out is null, as in vLLM's prompts."""
    return [{"type": "function", "function": _function(tool)} for tool in tools]


def _function(tool: Tool) -> dict[str, Any]:
    if isinstance(tool, FunctionTool):
        return tool.function.model_dump(include=_SHOWN)
    custom = tool.custom
    described = "\n".join(filter(None, (custom.description, _format_note(custom))))
    schema = {
        "type": "object",
        "properties": {CUSTOM_INPUT: {"type": "string"}},
        "required": [CUSTOM_INPUT],
    }
    shown = {"name": custom.name, "description": described, "parameters": schema}
    return {name: value for name, value in shown.items() if value}


_SHOWN = {"name", "description", "parameters"}


def _format_note(custom: CustomDefinition) -> str:
    if custom.format is None or custom.format.type == "text":
        return ""
    grammar = custom.format.grammar
    name = {"lark": "Lark grammar", "regex": "regular expression"}[grammar.syntax]
    return f"The {CUSTOM_INPUT} follows this {name}:\n{grammar.definition}"
