"""How calls of tools and thinking are read and shown."""

from __future__ import annotations

from api.flags.flag import Flag
from api.flags.types import BOOLEAN, JSON, choice
from api.model.formats import AUTO, OFF
from api.parsers.reasoning import REASONING_PARSERS
from api.parsers.tools import TOOL_PARSERS

TOOLS = "Tools and reasoning"

FLAGS = (
    Flag(
        name="tool-call-parser",
        kind=choice(AUTO, OFF, *sorted(TOOL_PARSERS)),
        group=TOOLS,
        fields=("server.tool_call_parser",),
        help="How the model writes calls of tools; auto goes by its chat template and family.",
    ),
    Flag(
        name="enable-auto-tool-choice",
        kind=BOOLEAN,
        group=TOOLS,
        fields=("server.enable_auto_tool_choice",),
        help="Let the model choose whether to call a tool; without it, `tool_choice` auto is 400.",
    ),
    Flag(
        name="reasoning-parser",
        kind=choice(AUTO, OFF, *sorted(REASONING_PARSERS)),
        group=TOOLS,
        fields=("server.reasoning_parser",),
        help="How the model marks its thoughts; auto goes by its chat template and family, none "
        "leaves them in the content.",
    ),
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
