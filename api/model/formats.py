"""How the served model writes calls and thoughts, chosen once at start.

By default the model's chat template and family decide; the operator's flags overrule them.
"""

from __future__ import annotations

import dataclasses
import logging

from api.parsers.choice import native_reasoning_format, native_tool_format
from api.parsers.reasoning import REASONING_PARSERS, ReasoningFormat
from api.parsers.tools import TOOL_PARSERS, ToolFormat
from api.settings import ServerSettings

AUTO, OFF = "auto", "none"

log = logging.getLogger("servax")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFormats:
    """The formats of one model.

    Attributes:
        tools: None when the model's calls cannot be read.
        reasoning: None when its thoughts, if it has any, are content.
    """

    tools: ToolFormat | None = None
    reasoning: ReasoningFormat | None = None


def choose_formats(
    settings: ServerSettings, model_type: str | None, template: str | None
) -> ModelFormats:
    """The formats of a model with this config and chat template."""
    tools = (
        native_tool_format(model_type, template)
        if settings.tool_call_parser == AUTO
        else TOOL_PARSERS.get(settings.tool_call_parser)
    )
    reasoning = (
        native_reasoning_format(model_type, template)
        if settings.reasoning_parser == AUTO
        else REASONING_PARSERS.get(settings.reasoning_parser)
    )
    log.info(
        "tool calls are read as %s, reasoning as %s",
        tools.name if tools else OFF,
        reasoning.name if reasoning else OFF,
    )
    return ModelFormats(tools=tools, reasoning=reasoning)
