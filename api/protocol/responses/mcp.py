"""MCP servers in the Responses API: the tool, choices of it, its items."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from api.protocol.base import ItemId, RequestModel

MAX_NAMES = 512
MAX_NAME_CHARACTERS = 256
MAX_HEADERS = 32
MAX_SECRET_CHARACTERS = 16 * 1024
LATER: dict[str, tuple[Any, ...]] = {
    "connector_id": (None,),
    "tunnel_id": (None,),
    "defer_loading": (None, False),
    "allowed_callers": (None, ["direct"]),
}
"""Fields of the tool that cannot be honoured, with the values that ask for nothing."""

ServerLabel = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]
McpName = Annotated[str, pydantic.Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Names = Annotated[list[McpName], pydantic.Field(max_length=MAX_NAMES)]
HeaderName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
Secret = Annotated[
    str, pydantic.Field(max_length=MAX_SECRET_CHARACTERS, pattern=r"^[\t\x20-\x7e]*$")
]


class McpFilter(RequestModel):
    """Some of a server's tools: those that fit everything that is given."""

    tool_names: Names | None = None
    read_only: bool | None = None


class McpApproval(RequestModel):
    """Which calls need the client's approval, and which do not."""

    always: McpFilter | None = None
    never: McpFilter | None = None


class McpTool(RequestModel):
    """The tools of a server.

    Attributes:
        authorization: sent as `Authorization: Bearer …`; like `headers` never kept or shown.
    """

    unnoticed: ClassVar[frozenset[str]] = frozenset(LATER)

    type: Literal["mcp"]
    server_label: ServerLabel
    server_url: Annotated[str, pydantic.Field(min_length=1, max_length=2048)]
    server_description: Annotated[str, pydantic.Field(max_length=4096)] | None = None
    authorization: Secret | None = None
    headers: Annotated[dict[HeaderName, Secret], pydantic.Field(max_length=MAX_HEADERS)] | None = (
        None
    )
    allowed_tools: Names | McpFilter | None = None
    require_approval: Literal["always", "never"] | McpApproval | None = None


class McpChoice(RequestModel):
    """A server's tools, or one of them, and no other."""

    type: Literal["mcp"]
    server_label: str
    name: str | None = None


class McpListedTool(RequestModel):
    """One tool of a list."""

    name: McpName
    description: str | None = None
    input_schema: dict[str, Any]
    annotations: dict[str, Any] | None = None


class McpListToolsItem(RequestModel):
    """What a server has; `error` says why nothing is known of it."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["mcp_list_tools"]
    server_label: ServerLabel
    tools: Annotated[list[McpListedTool], pydantic.Field(max_length=MAX_NAMES)]
    error: str | None = None
    id: ItemId | None = None


class McpCallItem(RequestModel):
    """A call that was made, with what it gave."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["mcp_call"]
    server_label: ServerLabel
    name: McpName
    arguments: str
    output: str | None = None
    error: str | dict[str, Any] | None = None
    status: Literal["in_progress", "completed", "incomplete", "calling", "failed"] | None = None
    approval_request_id: ItemId | None = None
    id: ItemId | None = None


class McpApprovalRequestItem(RequestModel):
    """A call that waits for the client's approval."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["mcp_approval_request"]
    id: ItemId
    server_label: ServerLabel
    name: McpName
    arguments: str


class McpApprovalResponseItem(RequestModel):
    """What the client says to it."""

    unnoticed: ClassVar[frozenset[str]] = frozenset({"created_by"})

    type: Literal["mcp_approval_response"]
    approval_request_id: ItemId
    approve: bool
    reason: str | None = None
    id: ItemId | None = None


McpItem = McpListToolsItem | McpCallItem | McpApprovalRequestItem | McpApprovalResponseItem
