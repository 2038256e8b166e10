"""Tools of MCP servers as functions that the model may call."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from api.protocol.responses.mcp import McpFilter, McpTool
from api.protocol.responses.request import PromptFields
from api.protocol.responses.tools import ResponseCustomTool, ResponseFunctionTool
from api.services.responses.mcp.asked import mcp_tools

ListedTool = dict[str, Any]
Lists = Mapping[str, Sequence[ListedTool]]
"""The tools of each server, by its label, as items of lists have them."""

MAX_SPELLED_CHARACTERS = 128
_ODD = re.compile(r"[^A-Za-z0-9_.:/-]")

Stage = Literal["checking", "first", "later"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RemoteTool:
    """One tool of a server.

    Attributes:
        spelled: its name to the model, which no other tool has.
        needs_approval: the client is asked before it is called.
        function: its definition, as chat completions have it.
    """

    label: str
    name: str
    spelled: str
    needs_approval: bool
    function: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """The tools of all servers of a request, as far as they are known.

    Attributes:
        stage: `checking`, some servers were not asked yet; `first`, the model's first turn;
            `later`, a call that the request forces was made.
        can_call: the limit of calls is not reached.
        failed: servers that did not tell their tools, with the reasons.
    """

    tools: tuple[RemoteTool, ...] = ()
    stage: Stage = "first"
    can_call: bool = True
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    def of(self, label: str) -> list[RemoteTool]:
        """The tools of one server."""
        return [tool for tool in self.tools if tool.label == label]

    def spelled(self, label: str, name: str) -> str:
        """A tool's name to the model, also of one that is not here any more."""
        for tool in self.tools:
            if (tool.label, tool.name) == (label, name):
                return tool.spelled
        return plain(name)

    def called(self, spelled: str) -> RemoteTool | None:
        """The tool that the model means."""
        return next((tool for tool in self.tools if tool.spelled == spelled), None)


EMPTY = Toolbox()


def make_tools(request: PromptFields, lists: Lists) -> tuple[RemoteTool, ...]:
    """What the model may call of the servers whose lists are known."""
    taken = {
        tool.name
        for tool in request.tools or ()
        if isinstance(tool, ResponseFunctionTool | ResponseCustomTool)
    }
    tools: list[RemoteTool] = []
    for server in mcp_tools(request):
        for listed in allowed(server, lists.get(server.server_label, ())):
            tool = _remote(server, listed, taken)
            taken.add(tool.spelled)
            tools.append(tool)
    return tuple(tools)


def allowed(server: McpTool, listed: Sequence[ListedTool]) -> list[ListedTool]:
    """What `allowed_tools` leaves of a list."""
    chosen = filter_of(server)
    return [tool for tool in listed if fits(chosen, tool)]


def filter_of(server: McpTool) -> McpFilter:
    """The `allowed_tools` of a server; without them everything fits."""
    wanted = server.allowed_tools
    return wanted if isinstance(wanted, McpFilter) else McpFilter(tool_names=wanted)


def covers(server: McpTool, names: Collection[str]) -> bool:
    """Whether a list that was made before, of tools of these names, has all that the request
    names."""
    return set(filter_of(server).tool_names or ()) <= set(names)


def needs_approval(server: McpTool, tool: ListedTool) -> bool:
    """Without a rule for it a call needs approval, and of two rules the careful one counts."""
    rule = server.require_approval
    if rule is None or isinstance(rule, str):
        return rule != "never"
    if rule.always is not None and fits(rule.always, tool):
        return True
    return rule.never is None or not fits(rule.never, tool)


def fits(chosen: McpFilter, tool: ListedTool) -> bool:
    """Whether a filter means a tool."""
    is_read_only = (tool.get("annotations") or {}).get("readOnlyHint") is True
    is_named = chosen.tool_names is None or tool["name"] in chosen.tool_names
    return is_named and (chosen.read_only is None or chosen.read_only == is_read_only)


def plain(name: str) -> str:
    """A name with what names of functions may be made of."""
    return _ODD.sub("_", name)[:MAX_SPELLED_CHARACTERS]


def _remote(server: McpTool, listed: ListedTool, taken: Collection[str]) -> RemoteTool:
    spelled = _free(plain(listed["name"]), server.server_label, taken)
    about = [listed.get("description"), server.server_description]
    function = {
        "name": spelled,
        "description": "\n".join(text for text in about if text) or None,
        "parameters": listed["input_schema"],
    }
    return RemoteTool(
        label=server.server_label,
        name=listed["name"],
        spelled=spelled,
        needs_approval=needs_approval(server, listed),
        function={name: value for name, value in function.items() if value is not None},
    )


def _free(name: str, label: str, taken: Collection[str]) -> str:
    """The name itself; with its server's label, and then a number, where another tool has it."""
    found = name if name not in taken else f"{label}__{name}"
    count = 1
    while found in taken:
        count += 1
        found = f"{label}__{name}_{count}"
    return found
