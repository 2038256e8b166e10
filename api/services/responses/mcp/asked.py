"""What a request says of MCP servers: checked first, and its secrets taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from api.protocol.responses.mcp import McpTool
from api.protocol.responses.request import PromptFields, ResponsesRequest
from api.protocol.responses.tools import AllowedChoice, McpChoice
from api.services.mcp.session import FLAG, McpServer
from api.services.webhooks.target import TargetError, verify_url
from engine.errors import InvalidParameterError

WITHHELD = "[not kept]"
"""What a request that is kept has for secrets."""

RESERVED = frozenset(
    """accept accept-encoding connection content-encoding content-length content-type expect host
    keep-alive mcp-protocol-version mcp-session-id te trailer transfer-encoding upgrade""".split()
)
"""Headers that are the protocol's own."""


def mcp_tools(request: PromptFields) -> list[McpTool]:
    """The servers of a request."""
    return [tool for tool in request.tools or () if isinstance(tool, McpTool)]


def verify_servers(request: PromptFields, allowed: Sequence[str]) -> None:
    """Raise InvalidParameterError for a server that must not or cannot be used."""
    labels: set[str] = set()
    for index, tool in enumerate(request.tools or ()):
        if isinstance(tool, McpTool):
            _verify(tool, f"tools[{index}]", labels, allowed)
            labels.add(tool.server_label)
    for path, choice in _choices(request):
        if choice.server_label not in labels:
            raise _wrong(f"{path}.server_label", "there is no such server in 'tools'")
    if isinstance(request, ResponsesRequest):
        _verify_together(request)


def server_of(tool: McpTool) -> McpServer:
    """Where it is, and what opens it."""
    headers = dict(tool.headers or {})
    if tool.authorization is not None:
        headers["Authorization"] = f"Bearer {tool.authorization}"
    return McpServer(url=tool.server_url, headers=headers)


def without_secrets(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request as it may be written down."""
    kept = dict(body)
    if isinstance(body.get("tools"), list):
        kept["tools"] = [_without_secrets(tool) for tool in body["tools"]]
    return kept


def verify_complete(body: Mapping[str, Any]) -> None:
    """Raise InvalidParameterError if a request that was kept needs secrets to go on."""
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "mcp" and tool.get("authorization") == WITHHELD:
            raise InvalidParameterError(
                f"The secrets of 'tools[{index}]' are not kept. Go on with "
                "'previous_response_id', 'function_call_output' items and the tools again.",
                param="tool_outputs",
            )


def _without_secrets(tool: Any) -> Any:
    if not isinstance(tool, dict) or cast(dict[str, Any], tool).get("type") != "mcp":
        return tool
    given = cast(dict[str, Any], tool)
    kept = {name: given[name] for name in given if name not in {"authorization", "headers"}}
    has_secrets = given.get("authorization") is not None or bool(given.get("headers"))
    return kept | {"authorization": WITHHELD} if has_secrets else kept


def _verify(tool: McpTool, path: str, labels: set[str], allowed: Sequence[str]) -> None:
    if tool.server_label in labels:
        raise _wrong(f"{path}.server_label", "there is another server with this label")
    if not allowed:
        raise InvalidParameterError(
            f"Unsupported value: '{path}.type' is 'mcp', and this server calls no MCP servers: "
            f"its operator has not set {FLAG}.",
            param=f"{path}.type",
            code="unsupported_parameter",
        )
    try:
        verify_url(tool.server_url, allowed, flag=FLAG)
    except TargetError as error:
        raise _wrong(f"{path}.server_url", f"it cannot be called: {error}") from None
    _verify_secrets(tool, path)


def _verify_secrets(tool: McpTool, path: str) -> None:
    """HTTP has each header once, without blanks around its value."""
    if tool.authorization is not None and not _is_trimmed(tool.authorization, least=1):
        raise _wrong(f"{path}.authorization", "it is empty, or begins or ends with a blank")
    names: set[str] = set()
    for given, value in (tool.headers or {}).items():
        name, place = given.lower(), f"{path}.headers.{given}"
        if name in RESERVED:
            raise _wrong(place, "this header cannot be set")
        if name in names:
            raise _wrong(place, "this header is there twice")
        if name == "authorization" and tool.authorization is not None:
            raise _wrong(f"{path}.authorization", "'headers' has it already")
        if not _is_trimmed(value):
            raise _wrong(place, "its value begins or ends with a blank")
        names.add(name)


def _is_trimmed(value: str, *, least: int = 0) -> bool:
    return value == value.strip() and len(value) >= least


def _choices(request: PromptFields) -> list[tuple[str, McpChoice]]:
    choice = request.tool_choice
    if isinstance(choice, McpChoice):
        return [("tool_choice", choice)]
    if not isinstance(choice, AllowedChoice):
        return []
    return [
        (f"tool_choice.tools[{index}]", one)
        for index, one in enumerate(choice.tools)
        if isinstance(one, McpChoice)
    ]


def _verify_together(request: ResponsesRequest) -> None:
    for index, tool in enumerate(request.tools or ()):
        if not isinstance(tool, McpTool):
            continue
        if request.tool_outputs_mode == "hold":
            raise _wrong("tool_outputs_mode", "'hold' is not allowed with MCP servers")
        if request.background:
            for name in ("authorization", "headers"):
                if getattr(tool, name):
                    path = f"tools[{index}].{name}"
                    raise _wrong(path, "not allowed with 'background': secrets are not kept")


def _wrong(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"Invalid '{param}': {reason}.", param=param)
