"""A tool as parsers and grammars need it, whichever endpoint declared it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

CUSTOM_INPUT = "input"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One declared tool.

    Attributes:
        parameters: JSON schema of the arguments; None: any object. Not of custom tools.
        is_custom: its input is text, which JSON formats carry as the argument `input`.
        input_lark: the Lark grammar that a custom tool's input must follow.
        input_regex: the regex that a custom tool's input must match.
    """

    name: str
    parameters: Mapping[str, Any] | None = None
    is_custom: bool = False
    input_lark: str | None = None
    input_regex: str | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the arguments as the model writes them, always of an object."""
        if self.is_custom:
            text: dict[str, Any] = {"type": "string"}
            if self.input_regex is not None:
                text["pattern"] = f"^(?:{self.input_regex})$"
            return {
                "type": "object",
                "properties": {CUSTOM_INPUT: text},
                "required": [CUSTOM_INPUT],
                "additionalProperties": False,
            }
        return dict(self.parameters) if self.parameters else {"type": "object"}


def by_name(tools: Sequence[ToolSpec]) -> dict[str, ToolSpec]:
    """Tools by their names; the first of a name wins."""
    return {tool.name: tool for tool in reversed(tools)}
