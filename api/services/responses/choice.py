"""`tool_choice` as chat completions have it, for each turn of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from api.protocol.responses.mcp import McpTool
from api.protocol.responses.request import PromptFields
from api.protocol.responses.tools import (
    AllowedChoice,
    McpChoice,
    NamedChoice,
    ResponseToolChoice,
)
from api.services.responses.mcp.toolbox import Toolbox
from engine.errors import InvalidParameterError

Fields = dict[str, Any]
Mode = Literal["auto", "required"]


def choice_of(request: PromptFields, toolbox: Toolbox) -> Any:
    """What the model may, or must, call in this turn; None: nothing is said of it.

    Raises:
        InvalidParameterError: there is no such tool.
    """
    choice = request.tool_choice
    if not toolbox.can_call:
        return _own_only(request)
    if toolbox.stage == "later":
        return _eased(choice, request, toolbox)
    if toolbox.stage == "checking" and not isinstance(choice, NamedChoice):
        return None if choice != "none" else choice
    if choice == "required" and not _has_tools(request, toolbox):
        return None  # no server has told its tools
    return _shown(choice, toolbox)


def _own_only(request: PromptFields) -> Any:
    """No more calls are made here; the client's own tools stay."""
    own = [tool for tool in request.tools or () if not isinstance(tool, McpTool)]
    if not own or request.tool_choice == "none":
        return "none"
    return _allowed("auto", [_named(tool.type, tool.name) for tool in own])


def _eased(choice: ResponseToolChoice | None, request: PromptFields, toolbox: Toolbox) -> Any:
    """The call that was forced is made."""
    if isinstance(choice, AllowedChoice):
        eased = choice.model_copy(update={"mode": "auto"})
        return _shown(eased, toolbox)
    return choice if choice == "none" else None


def _shown(choice: ResponseToolChoice | None, toolbox: Toolbox) -> Any:
    if isinstance(choice, NamedChoice):
        return _named(choice.type, choice.name)
    if isinstance(choice, McpChoice):
        tools = _of_server(choice, toolbox, "tool_choice")
        return tools[0] if choice.name is not None else _allowed("required", tools)
    if isinstance(choice, AllowedChoice):
        tools: list[Fields] = []
        for index, one in enumerate(choice.tools):
            path = f"tool_choice.tools[{index}]"
            is_remote = isinstance(one, McpChoice)
            tools += _of_server(one, toolbox, path) if is_remote else [_named(one.type, one.name)]
        return _allowed(choice.mode, tools)
    return choice


def _of_server(choice: McpChoice, toolbox: Toolbox, path: str) -> list[Fields]:
    found = [
        _named("function", tool.spelled)
        for tool in toolbox.of(choice.server_label)
        if choice.name in (None, tool.name)
    ]
    if not found:
        wanted = "no tools" if choice.name is None else f"no tool '{choice.name[:64]}'"
        raise InvalidParameterError(
            f"Invalid '{path}': the MCP server '{choice.server_label}' has {wanted}.", param=path
        )
    return found


def _has_tools(request: PromptFields, toolbox: Toolbox) -> bool:
    is_own = any(not isinstance(tool, McpTool) for tool in request.tools or ())
    return is_own or bool(toolbox.tools) or not request.tools


def _allowed(mode: Mode, tools: Sequence[Fields]) -> Fields:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def _named(kind: str, name: str) -> Fields:
    return {"type": kind, kind: {"name": name}}
