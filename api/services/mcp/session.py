"""One MCP server, spoken to for one response: initialize, tools/list, tools/call."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import httpx
import orjson

from api.services.mcp.faults import McpFault, http_fault, rpc_fault, tool_fault
from api.services.mcp.wire import Message, messages_of
from api.services.webhooks.target import Resolve, Target, TargetError, find_target, resolve_name
from api.version import server_version

FLAG = "--allowed-mcp-domains"
PROTOCOL = "2025-11-25"
SPOKEN = frozenset({"2025-03-26", "2025-06-18", PROTOCOL})
"""Versions of the protocol in which the three requests are the same."""

LIST_S, CALL_S, CLOSE_S = 30.0, 120.0, 2.0
MAX_TOOLS, MAX_PAGES, MAX_REQUESTS_OF_SERVER = 512, 64, 64
MAX_CURSOR_CHARACTERS = 4096
MAX_SESSION_CHARACTERS = 1024


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """Where a server is, and what opens it.

    Attributes:
        headers: secrets among them: never logged, shown or written down.
    """

    url: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str], repr=False)


class McpSession:
    """Speaks to one server, at the address that was looked at first.

    Arguments:
        allowed: hosts that may be spoken to.
    """

    def __init__(
        self, server: McpServer, allowed: Sequence[str], resolve: Resolve = resolve_name
    ) -> None:
        self._server = server
        self._allowed = allowed
        self._resolve = resolve
        self._http: httpx.AsyncClient | None = None
        self._target: Target | None = None
        self._is_open = False
        self._headers: dict[str, str] = {}
        self._num_requests = 0
        self._num_asked = 0

    async def list_tools(self) -> list[dict[str, Any]]:
        """All tools of the server, as it says them. Raises McpFault."""
        async with _in_time(LIST_S):
            await self._open()
            tools: list[dict[str, Any]] = []
            cursor: str | None = None
            for _ in range(MAX_PAGES):
                result = await self._ask("tools/list", {} if cursor is None else {"cursor": cursor})
                tools += _objects(result.get("tools"))
                cursor = _cursor_of(result)
                if cursor is None or len(tools) > MAX_TOOLS:
                    break
            if cursor is not None or len(tools) > MAX_TOOLS:
                raise McpFault(f"The MCP server has more than {MAX_TOOLS} tools.")
            return tools

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> str:
        """What a tool gives, as text. Raises McpFault; what the tool says of its failure, too."""
        async with _in_time(CALL_S):
            await self._open()
            result = await self._ask("tools/call", {"name": name, "arguments": arguments})
        content = _objects(result.get("content"))
        text = "\n".join(map(_text_of, content))
        if not content and result.get("structuredContent") is not None:
            text = orjson.dumps(result["structuredContent"]).decode()
        if result.get("isError") is True:
            raise tool_fault(content, text)
        return text

    async def close(self) -> None:
        """Tell the server that this is over, if it keeps a session."""
        with contextlib.suppress(McpFault):
            async with _in_time(CLOSE_S):
                if "mcp-session-id" in self._headers:
                    async with self._send("DELETE"):
                        pass
        if self._http is not None:
            await self._http.aclose()

    async def _open(self) -> None:
        if self._is_open:
            return
        self._headers = {}
        try:
            self._target = await find_target(
                self._server.url, self._allowed, self._resolve, flag=FLAG
            )
        except TargetError as error:
            raise McpFault(f"The MCP server cannot be called: {error}.") from None
        info = {"name": "servax", "version": server_version()}
        given = {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": info}
        result = await self._ask("initialize", given)
        version = result.get("protocolVersion")
        if not isinstance(version, str) or version not in SPOKEN:
            raise McpFault("The MCP server speaks no version of the protocol that is spoken here.")
        self._headers["mcp-protocol-version"] = version
        await self._tell({"method": "notifications/initialized"})
        self._is_open = True

    async def _ask(self, method: str, params: dict[str, Any]) -> Message:
        """The result of a request."""
        self._num_requests += 1
        own_id = self._num_requests
        message = {"id": own_id, "method": method, "params": params}
        async with self._send("POST", message) as answer:
            self._take_session(answer)
            async with contextlib.aclosing(messages_of(answer)) as messages:
                async for message in messages:
                    if "method" in message:
                        await self._answer(message)
                    elif message.get("id") == own_id:
                        return _result_of(message)
        raise McpFault("The MCP server's stream ended before its answer.")

    async def _answer(self, message: Message) -> None:
        """A server may ask whether we are there; all else it could ask, it is told we cannot."""
        if "id" not in message:
            return
        self._num_asked += 1
        if self._num_asked > MAX_REQUESTS_OF_SERVER:
            raise McpFault("The MCP server asks too much.")
        unknown = {"code": -32601, "message": "Method not found"}
        is_ping = message["method"] == "ping"
        said: Message = {"result": {}} if is_ping else {"error": unknown}
        await self._tell({"id": message["id"], **said})

    async def _tell(self, message: Message) -> None:
        """Send what has no answer."""
        async with self._send("POST", message):
            pass

    @contextlib.asynccontextmanager
    async def _send(
        self, method: str, message: Message | None = None
    ) -> AsyncGenerator[httpx.Response, None]:
        target = self._target
        assert target is not None
        if self._http is None:
            self._http = httpx.AsyncClient(
                follow_redirects=False, trust_env=False, timeout=CALL_S, verify=_trusted()
            )
        body = None if message is None else orjson.dumps({"jsonrpc": "2.0", **message})
        headers = {
            **{name.lower(): value for name, value in self._server.headers.items()},
            "accept": "application/json, text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "host": target.host,
            **self._headers,
        }
        try:
            async with self._http.stream(
                method,
                target.url,
                content=body,
                headers=headers,
                extensions={"sni_hostname": target.server_name},
            ) as answer:
                if not answer.is_success:
                    raise http_fault(answer.status_code)
                yield answer
        except httpx.HTTPError as error:
            raise McpFault(f"The MCP server cannot be reached: {type(error).__name__}.") from None

    def _take_session(self, answer: httpx.Response) -> None:
        """The server may give its session an id, which it wants to see from then on."""
        given = answer.headers.get("mcp-session-id")
        if given is None or "mcp-session-id" in self._headers:
            return
        if len(given) > MAX_SESSION_CHARACTERS or not given.isascii() or not given.isprintable():
            raise McpFault("The MCP server's session id is none.")
        self._headers["mcp-session-id"] = given


@contextlib.asynccontextmanager
async def _in_time(limit_s: float) -> AsyncGenerator[None, None]:
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise McpFault(f"The MCP server took longer than {limit_s:g} seconds.") from None


def _cursor_of(result: Message) -> str | None:
    """Where the next page begins; None after the last."""
    cursor = result.get("nextCursor")
    if cursor is not None and not (isinstance(cursor, str) and len(cursor) < MAX_CURSOR_CHARACTERS):
        raise McpFault("The MCP server's cursor is none.")
    return cursor


def _result_of(message: Message) -> Message:
    if "error" in message:
        raise rpc_fault(message["error"])
    result: Any = message.get("result")
    if not isinstance(result, dict):
        raise McpFault("The MCP server's answer has no result.")
    return result


def _objects(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise McpFault("The MCP server's answer has no list of objects where there must be one.")
    return value


def _text_of(part: dict[str, Any]) -> str:
    """A part of what a tool gave, as the model can read it: text, or JSON without binary data."""
    text = part.get("text")
    resource: Any = part.get("resource")
    if isinstance(resource, dict) and text is None:
        text = resource.get("text")
    if isinstance(text, str):
        return text
    shown = {name: value for name, value in part.items() if name not in {"data", "resource"}}
    return orjson.dumps(shown).decode()


@functools.cache
def _trusted() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
