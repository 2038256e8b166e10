"""What a request wants of tools, in one record, with both of OpenAI's spellings behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from api.context import ServerContext
from api.protocol.chat import ChatCompletionRequest
from api.protocol.json_schema import verify_object_schema
from api.protocol.tools import (
    AllowedToolsChoice,
    CustomChoice,
    FunctionChoice,
    FunctionDefinition,
    FunctionTool,
    Tool,
    ToolReference,
)
from engine.errors import InvalidParameterError

ToolMode = Literal["none", "auto", "required", "named"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ToolPlan:
    """The tools of one request.

    Attributes:
        tools: those the prompt shows.
        names: those that may be called, in the order of `tools`.
        mode: `none` calls nothing; `required` calls at least one; `named` calls the one in `names`.
        is_restricted: `allowed_tools` left some of the tools out.
        is_parallel: more than one call may be made.
        is_legacy: the request has `functions`; the answer has `function_call`.
        source: the field that has the tools, as the client spells it.
    """

    tools: tuple[Tool, ...] = ()
    names: tuple[str, ...] = ()
    mode: ToolMode = "none"
    is_restricted: bool = False
    is_parallel: bool = True
    is_legacy: bool = False
    source: Literal["tools", "functions"] = "tools"

    @property
    def is_forced(self) -> bool:
        """There will be a call, whatever the model thinks of it."""
        return self.mode in ("required", "named")

    @property
    def callable_tools(self) -> tuple[Tool, ...]:
        """The tools of `names`."""
        return tuple(tool for tool in self.tools if tool_name(tool) in self.names)

    @property
    def has_strict(self) -> bool:
        """Some call must be held to a schema or a grammar."""
        return any(map(is_strict, self.callable_tools))


def tool_name(tool: Tool) -> str:
    """The name a call of it carries."""
    return tool.function.name if isinstance(tool, FunctionTool) else tool.custom.name


def is_strict(tool: Tool) -> bool:
    """Whether its input is more than any text or any JSON."""
    if isinstance(tool, FunctionTool):
        return bool(tool.function.strict)
    return tool.custom.format is not None and tool.custom.format.type == "grammar"


def plan_tools(request: ChatCompletionRequest) -> ToolPlan:
    """Check the tools of a request and what it chooses of them.

    Raises:
        InvalidParameterError: `param` names the tool or the choice at fault.
    """
    if request.functions is not None or request.function_call not in (None, "none"):
        return _plan_functions(request)
    if request.tools is None:
        if request.tool_choice not in (None, "none"):
            raise _wrong("tool_choice", "only allowed when 'tools' are given")
        return ToolPlan()
    verify_tools(request.tools)
    return dataclasses.replace(
        _chosen(request), is_parallel=request.parallel_tool_calls is not False
    )


def shown_tools(context: ServerContext, plan: ToolPlan) -> tuple[Tool, ...]:
    """The tools that the prompt shows."""
    is_left_out = plan.mode == "none" and context.settings.exclude_tools_when_tool_choice_none
    return () if is_left_out else plan.tools


def verify_tools(tools: Sequence[Tool]) -> None:
    """Names once each, and schemas that are schemas."""
    names: set[str] = set()
    for index, tool in enumerate(tools):
        path = f"tools[{index}].{tool.type}"
        _verify_new(tool_name(tool), names, path)
        if isinstance(tool, FunctionTool):
            _verify_function(tool.function, path)


def _verify_new(name: str, names: set[str], path: str) -> None:
    if name in names:
        raise _wrong(f"{path}.name", f"there is another tool named '{name}'")
    names.add(name)


def _verify_function(function: FunctionDefinition, path: str) -> None:
    if function.parameters is not None:
        verify_object_schema(function.parameters, f"{path}.parameters")


def _chosen(request: ChatCompletionRequest) -> ToolPlan:
    tools = tuple(request.tools or ())
    names = tuple(map(tool_name, tools))
    choice = request.tool_choice
    if isinstance(choice, FunctionChoice | CustomChoice):
        name = _existing(choice, tools, "tool_choice")
        return ToolPlan(tools=tools, names=(name,), mode="named")
    if isinstance(choice, AllowedToolsChoice):
        allowed = choice.allowed_tools
        path = "tool_choice.allowed_tools.tools"
        wanted = {_existing(one, tools, f"{path}[{i}]") for i, one in enumerate(allowed.tools)}
        kept = tuple(name for name in names if name in wanted)
        is_less = len(kept) < len(names)
        shown = tuple(tool for tool in tools if tool_name(tool) in wanted)
        return ToolPlan(tools=shown, names=kept, mode=allowed.mode, is_restricted=is_less)
    mode = choice or "auto"
    return ToolPlan(tools=tools, names=() if mode == "none" else names, mode=mode)


def _existing(
    choice: FunctionChoice | CustomChoice, tools: Sequence[Tool], path: str, among: str = "tools"
) -> str:
    kind, name = choice.reference
    if not any((tool.type, tool_name(tool)) == (kind, name) for tool in tools):
        raise _wrong(path, f"there is no {kind} named '{name[:64]}' in '{among}'")
    return name


def _plan_functions(request: ChatCompletionRequest) -> ToolPlan:
    """`functions` and `function_call`: tools that are called at most one at a time."""
    if request.tools is not None:
        raise _wrong("functions", "not allowed together with 'tools'")
    if request.functions is None:
        raise _wrong("function_call", "only allowed when 'functions' are given")
    names: set[str] = set()
    for index, function in enumerate(request.functions):
        _verify_new(function.name, names, f"functions[{index}]")
        _verify_function(function, f"functions[{index}]")
    tools = tuple(FunctionTool(function=function) for function in request.functions)
    called = tuple(map(tool_name, tools))
    mode: ToolMode = "auto"
    if isinstance(request.function_call, ToolReference):
        choice = FunctionChoice(function=request.function_call)
        called, mode = (_existing(choice, tools, "function_call", "functions"),), "named"
    elif request.function_call == "none":
        called, mode = (), "none"
    return ToolPlan(
        tools=tools, names=called, mode=mode, is_parallel=False, is_legacy=True,
        source="functions",
    )  # fmt: skip


def _wrong(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': {reason}.", param=param)
