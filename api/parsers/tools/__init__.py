"""Tool calls in the models' own formats: one row a format, under vLLM's names."""

from __future__ import annotations

from collections.abc import Mapping

from api.parsers.tools.format import ToolFormat
from api.parsers.tools.hermes import HERMES

FORMATS: tuple[ToolFormat, ...] = (HERMES,)

# other names of the same format
ALIASES: Mapping[str, str] = {"qwen3_json": "hermes"}

TOOL_PARSERS: Mapping[str, ToolFormat] = {row.name: row for row in FORMATS} | {
    alias: row for row in FORMATS for alias, name in ALIASES.items() if row.name == name
}
