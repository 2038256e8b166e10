"""From a request to its job, with its MCP servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.context import ServerContext
from api.protocol.responses.items import ITEMS
from api.protocol.responses.mcp import McpListToolsItem, McpTool
from api.protocol.responses.request import PromptFields, ResponsesRequest
from api.services.chat.job import ChatJob
from api.services.responses.mcp.asked import mcp_tools
from api.services.responses.mcp.lists import is_enough
from api.services.responses.mcp.servers import Claim, McpServers, server_named
from api.services.responses.mcp.told import Approved, approved_calls
from api.services.responses.mcp.toolbox import EMPTY, Lists, Toolbox, filter_of, make_tools
from api.services.responses.objects.open_items import Event, Item
from api.services.responses.objects.open_mcp_items import ARGUMENTS_DONE
from api.services.responses.request.conversion import Placed
from api.services.responses.request.job import ResponseJob
from api.services.responses.request.making import make_job
from engine.errors import InvalidParameterError


async def begin_job(
    context: ServerContext,
    request: ResponsesRequest,
    body: Mapping[str, Any],
    *,
    items: Sequence[Placed],
    response_id: str,
    created_at: int | None = None,
    known: Sequence[Event] = (),
    claim: Claim | None = None,
) -> tuple[ResponseJob, McpServers | None]:
    """The model's first turn, as far as it is known, and the servers to be asked before and after.

    Arguments:
        items: the conversation, with what the request adds.
        known: events of a response that is made again.
        claim: comes before its first call of a server, and may forbid it.

    Raises:
        APIError, EngineError: the request was refused.
    """

    async def turn(toolbox: Toolbox, output: Sequence[Item], left: int | None) -> ChatJob:
        made = [Placed(item) for item in ITEMS.validate_python(list(output))]
        job = await make_job(
            context,
            request,
            body,
            items=[*items, *made],
            response_id=response_id,
            num_before=len(made),
            left=left,
            toolbox=toolbox,
        )
        return job.chat

    approved = approvals(request, items)
    servers = None
    if mcp_tools(request):
        servers = McpServers(
            request,
            turn,
            context.settings.allowed_mcp_domains,
            max_calls=request.max_tool_calls,
            lists=known_lists(request, items),
            approved=approved,
            claim=claim,
            known=known_items(known),
        )
    job = await make_job(
        context,
        request,
        body,
        items=items,
        response_id=response_id,
        created_at=created_at,
        toolbox=EMPTY if servers is None else servers.toolbox(),
    )
    return job, servers


def known_toolbox(request: PromptFields, items: Sequence[Placed]) -> Toolbox:
    """The tools of a request that no server is asked for.

    Raises:
        InvalidParameterError: a server's tools are not known, or a call is to be made first.
    """
    lists = known_lists(request, items)
    for index, tool in enumerate(request.tools or ()):
        if isinstance(tool, McpTool) and tool.server_label not in lists:
            raise InvalidParameterError(
                f"Invalid 'tools[{index}]': no server is called here; an item 'mcp_list_tools' "
                "must say its tools.",
                param=f"tools[{index}]",
            )
    for waiting in approvals(request, items):
        raise _nowhere(waiting, "no server is called here")
    return Toolbox(tools=make_tools(request, lists))


def approvals(request: PromptFields, items: Sequence[Placed]) -> list[Approved]:
    """Approved calls; the request must have their servers, and must not leave them out."""
    found = approved_calls((each.item, each.path) for each in items)
    for each in found:
        server = server_named(mcp_tools(request), each.request.server_label)
        if server is None:
            raise _nowhere(each, "its server is not in 'tools'")
        names = filter_of(server).tool_names
        if names is not None and each.request.name not in names:
            raise _nowhere(each, "its tool is not in the server's 'allowed_tools'")
    return found


def known_lists(request: PromptFields, items: Sequence[Placed]) -> Lists:
    """Lists that the conversation has and that are enough for the request; newest count."""
    lists: dict[str, list[dict[str, Any]]] = {}
    for placed in items:
        item = placed.item
        if isinstance(item, McpListToolsItem):
            server = server_named(mcp_tools(request), item.server_label)
            if server is not None and is_enough(item, server):
                lists[item.server_label] = [tool.model_dump() for tool in item.tools]
    return lists


def known_items(events: Sequence[Event]) -> dict[str, Item | None]:
    """Items by their ids, from events that were written down."""
    known: dict[str, Item | None] = {
        event["item_id"]: None for event in events if event["type"] == ARGUMENTS_DONE
    }
    for event in events:
        if event["type"] == "response.output_item.done":
            known[event["item"]["id"]] = event["item"]
    return known


def _nowhere(approved: Approved, reason: str) -> InvalidParameterError:
    path = approved.path
    return InvalidParameterError(
        f"Invalid '{path}': the call of '{approved.request.server_label}' cannot be made: "
        f"{reason}.",
        param=path,
    )
