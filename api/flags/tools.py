"""How calls of tools and thinking are read and shown."""

from __future__ import annotations

from api.flag_types import BOOLEAN, JSON
from api.flags.flag import Flag

TOOLS = "Tools and reasoning"

FLAGS = (
    Flag(
        name="reasoning-effort-map",
        kind=JSON,
        group=TOOLS,
        fields=("server.reasoning_effort_map",),
        help="What each `reasoning_effort` means to the chat template, as a JSON object: another "
        "effort, or an object of template variables.",
    ),
    Flag(
        name="exclude-tools-when-tool-choice-none",
        kind=BOOLEAN,
        group=TOOLS,
        fields=("server.exclude_tools_when_tool_choice_none",),
        help="Leave the tools out of the prompt when a request's `tool_choice` is none.",
    ),
)
