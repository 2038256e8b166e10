"""Tools and answers that several tests share."""

from __future__ import annotations

from api.parsers.tool_spec import ToolSpec

WEATHER = ToolSpec(
    name="get_weather",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string", "enum": ["Paris", "Rome"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
            "exact": {"type": "boolean"},
        },
        "required": ["city"],
        "additionalProperties": False,
    },
)
NOTE = ToolSpec(
    name="note",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": 6},
            "tags": {"type": "array", "items": {"enum": ["a", "b", None]}, "maxItems": 3},
            "place": {
                "type": "object",
                "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}},
                "required": ["x"],
                "additionalProperties": False,
            },
        },
        "required": ["text", "place"],
        "additionalProperties": False,
    },
)
TOOLS = (WEATHER, NOTE)
