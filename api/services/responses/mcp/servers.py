"""The MCP servers of one response: their lists, their calls, and the model's turn after a call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from api.protocol.json_schema import verify_object_schema
from api.protocol.responses.mcp import MAX_NAME_CHARACTERS, McpTool
from api.protocol.responses.request import PromptFields
from api.services.chat.job import ChatJob
from api.services.mcp.faults import McpFault
from api.services.mcp.session import McpSession
from api.services.responses.mcp.asked import mcp_tools, server_of
from api.services.responses.mcp.lists import marked_id
from api.services.responses.mcp.told import Approved, arguments_of
from api.services.responses.mcp.toolbox import Lists, Toolbox, allowed, make_tools
from api.services.responses.objects.open_items import Item
from api.services.responses.objects.open_mcp_items import OpenMcpCall, OpenMcpList

MAX_CALLS = 128
"""Of one response that has no `max_tool_calls`."""

MakeJob = Callable[[Toolbox, Sequence[Item], int | None], Awaitable[ChatJob]]
"""The model's next turn, with these tools, after this output, of so many tokens at most."""

Claim = Callable[[], Awaitable[None]]

LIMIT = McpFault("The limit of calls of this response is reached; the tool was not called.")
NO_OBJECT = McpFault("The model's arguments are no JSON object; the tool was not called.")
NOT_ALLOWED = McpFault("The request does not allow this tool; it was not called.")
LEFT = McpFault("The server stopped while this call was made. It is not made a second time.")


class McpServers:
    """The servers.

    Arguments:
        hosts: those that may be spoken to.
        max_calls: the request's `max_tool_calls`.
        lists: tools that the conversation knows already.
        approved: calls to be made before the model's turn.
        claim: comes before the first call, and may forbid it.
        known: items by their ids, of a response that is made again; None: one that was called and
            has no answer.

    Attributes:
        called: requests for approval whose calls were made.
    """

    def __init__(
        self,
        request: PromptFields,
        make_job: MakeJob,
        hosts: Sequence[str],
        *,
        max_calls: int | None,
        lists: Lists,
        approved: Sequence[Approved] = (),
        claim: Claim | None = None,
        known: Mapping[str, Item | None] | None = None,
    ) -> None:
        self._request = request
        self._make_job = make_job
        self._servers = {tool.server_label: tool for tool in mcp_tools(request)}
        self._lists = dict(lists)
        self._failed: dict[str, str] = {}
        self._sessions = {
            label: McpSession(server_of(tool), hosts) for label, tool in self._servers.items()
        }
        self._max_calls = MAX_CALLS if max_calls is None else max_calls
        self._num_calls = 0
        self._num_seen = 0
        self._known = known or {}
        self._claim = claim
        self.approved = approved
        self.called: set[str] = set()

    @property
    def unlisted(self) -> list[str]:
        """Labels of servers whose tools are not known yet."""
        return [label for label in self._servers if label not in self._lists]

    @property
    def is_pending(self) -> bool:
        """Servers are to be asked before the model's first turn."""
        return bool(self.unlisted or self.approved)

    def list_id(self, own_id: str, label: str) -> str:
        """The id of a list that is made now; see `lists`."""
        return marked_id(own_id, self._servers[label])

    def toolbox(self, output: Sequence[Item] = ()) -> Toolbox:
        """What the model may call, after this output."""
        is_called = any(item["type"] == "mcp_call" for item in output)
        first = "checking" if self.unlisted else "first"
        return Toolbox(
            tools=make_tools(self._request, self._lists),
            stage="later" if is_called else first,
            can_call=self._num_calls < self._max_calls,
            failed=self._failed,
        )

    async def settle(self, opened: OpenMcpList | OpenMcpCall) -> None:
        """Ask the server, or say what is known of its answer, and write it into the item."""
        try:
            if isinstance(opened, OpenMcpList):
                opened.tools = await self._list(opened)
            else:
                opened.output = await self._call(opened)
        except McpFault as fault:
            opened.fault = fault
        if isinstance(opened, OpenMcpList):
            self._lists[opened.label] = opened.tools or []
            if opened.fault is not None:
                self._failed[opened.label] = str(opened.fault)

    def waits_for(self, output: Sequence[Item]) -> list[Item]:
        """Calls of the model's turn that it is told the outputs of; none if the client is next."""
        made = output[self._num_seen :]
        calls = [item for item in made if item["type"] == "mcp_call"]
        others = {"function_call", "custom_tool_call", "mcp_approval_request"}
        return [] if any(item["type"] in others for item in made) else calls

    async def next_turn(self, output: Sequence[Item], left: int | None) -> tuple[ChatJob, Toolbox]:
        """The model's turn after this output.

        Arguments:
            left: of `max_output_tokens`, after earlier turns; None: there is no such bound.

        Raises:
            APIError, EngineError: there is no such turn.
        """
        self._num_seen = len(output)
        toolbox = self.toolbox(output)
        return await self._make_job(toolbox, output, left), toolbox

    async def close(self) -> None:
        """Leave the servers."""
        closing = (session.close() for session in self._sessions.values())
        await asyncio.gather(*closing, return_exceptions=True)

    async def _list(self, opened: OpenMcpList) -> list[dict[str, Any]]:
        known = self._known.get(opened.id)
        if known is not None:
            if known["error"] is not None:
                raise McpFault(known["error"])
            return known["tools"]
        found = await self._sessions[opened.label].list_tools()
        return allowed(self._servers[opened.label], [listed(tool) for tool in found])

    async def _call(self, opened: OpenMcpCall) -> str:
        self._num_calls += 1
        if opened.id in self._known:
            return _known_output(self._known[opened.id])
        if self._num_calls > self._max_calls:
            raise LIMIT
        if not self._is_allowed(opened):
            raise NOT_ALLOWED
        arguments = arguments_of(opened.arguments)
        if arguments is None:
            raise NO_OBJECT
        if self._claim is not None:
            await self._claim()
            self._claim = None
        if opened.approval_request_id is not None:
            self.called.add(opened.approval_request_id)
        return await self._sessions[opened.label].call_tool(opened.name, arguments)

    def _is_allowed(self, opened: OpenMcpCall) -> bool:
        """A call that was approved before may be of a tool that the request leaves out by now."""
        server = self._servers[opened.label]
        left = allowed(server, self._lists[opened.label])
        return server.allowed_tools is None or opened.name in {tool["name"] for tool in left}


@contextlib.asynccontextmanager
async def left_at_the_end(servers: McpServers | None) -> AsyncGenerator[None, None]:
    """Servers are left however a response ends."""
    try:
        yield
    finally:
        if servers is not None:
            await asyncio.shield(servers.close())


def listed(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool as lists have it, from what its server says. Raises McpFault for what is none."""
    name, about = tool.get("name"), tool.get("description")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS:
        raise McpFault("The MCP server has a tool without a name, or with one that is too long.")
    schema, hints = tool.get("inputSchema"), tool.get("annotations")
    try:
        if not isinstance(schema, dict):
            raise ValueError
        verify_object_schema(schema, "inputSchema")
    except Exception:
        problem = f"The MCP server's tool '{name}' has an input schema that is none."
        raise McpFault(problem) from None
    return {
        "name": name,
        "description": about if isinstance(about, str) else None,
        "input_schema": schema,
        "annotations": hints if isinstance(hints, dict) else None,
    }


def server_named(servers: Sequence[McpTool], label: str) -> McpTool | None:
    """The server with this label."""
    return next((server for server in servers if server.server_label == label), None)


def _known_output(item: Item | None) -> str:
    error = None if item is None else item["error"]
    if error is not None:
        raise McpFault(str(error.get("message", "")), error)
    output = None if item is None else item["output"]
    if output is None:
        raise LEFT
    return output
