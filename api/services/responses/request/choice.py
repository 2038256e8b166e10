"""`tool_choice` as chat completions have it, for each turn of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from api.errors import APIError
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
        APIError: 424, a call is forced, and the server of its tool did not tell its tools.
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
        raise _nothing(toolbox, list(toolbox.failed))
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
            if not isinstance(one, McpChoice):
                tools.append(_named(one.type, one.name))
            elif one.server_label not in toolbox.failed:
                tools += _of_server(one, toolbox, path)
        if tools:
            return _allowed(choice.mode, tools)
        if choice.mode == "required":
            raise _nothing(toolbox, _labels(choice))
        return "none"
    return choice


def _of_server(choice: McpChoice, toolbox: Toolbox, path: str) -> list[Fields]:
    if choice.server_label in toolbox.failed:
        raise _nothing(toolbox, [choice.server_label])
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


def _nothing(toolbox: Toolbox, labels: Sequence[str]) -> Exception:
    """A call is forced, and there is nothing to call: as OpenAI tells it of a server that failed.

    Arguments:
        labels: servers whose tools could be called, if they had told them.
    """
    for label in labels:
        if label in toolbox.failed:
            return APIError(
                f"Error retrieving tool list from MCP server: '{label}'. {toolbox.failed[label]}",
                status=424,
                type="external_connector_error",
                param="tools",
                code="http_error",
            )
    return InvalidParameterError(
        "Invalid 'tool_choice': it forces a call, and the MCP servers have no tools.",
        param="tool_choice",
    )


def _labels(choice: AllowedChoice) -> list[str]:
    return [one.server_label for one in choice.tools if isinstance(one, McpChoice)]


def _has_tools(request: PromptFields, toolbox: Toolbox) -> bool:
    is_own = any(not isinstance(tool, McpTool) for tool in request.tools or ())
    return is_own or bool(toolbox.tools) or not request.tools


def _allowed(mode: Mode, tools: Sequence[Fields]) -> Fields:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


def _named(kind: str, name: str) -> Fields:
    return {"type": kind, kind: {"name": name}}
