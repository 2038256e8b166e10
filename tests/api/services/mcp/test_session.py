"""One MCP server: what is asked, and what it may not do."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api.services.mcp import session as sessions
from api.services.mcp.faults import McpFault
from api.services.mcp.session import McpServer, McpSession
from api.services.mcp.wire import MAX_ANSWER_BYTES


@asynccontextmanager
async def opened(server: Any, **headers: str) -> AsyncGenerator[McpSession, None]:
    session = McpSession(McpServer(url=server.url, headers=headers), (server.host,))
    try:
        yield session
    finally:
        await session.close()


async def failing(server: Any) -> McpFault:
    async with opened(server) as session:
        with pytest.raises(McpFault) as caught:
            await session.list_tools()
    return caught.value


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_tools_are_listed_page_by_page_and_called(mcp_server: Any, is_streamed: bool) -> None:
    mcp_server.is_streamed = is_streamed
    mcp_server.page_size = 2
    async with opened(mcp_server) as session:
        assert [tool["name"] for tool in await session.list_tools()] == ["look", "erase", "read"]
        assert await session.call_tool("look", {"city": "Rome"}) == 'got {"city": "Rome"}'
    assert mcp_server.methods == [
        "initialize", "notifications/initialized", "tools/list", "tools/list", "tools/call",
        "DELETE",
    ]  # fmt: skip


async def test_headers_session_and_version_go_with_every_request(mcp_server: Any) -> None:
    async with opened(mcp_server, Authorization="Bearer secret", Accept="text/html") as session:
        await session.list_tools()
    first, *later = [headers for _, headers, _ in mcp_server.received]
    assert all(headers["authorization"] == "Bearer secret" for headers in [first, *later])
    assert all(headers["accept"].startswith("application/json") for headers in [first, *later])
    assert "mcp-session-id" not in first
    assert {headers["mcp-session-id"] for headers in later} == {"session-1"}
    assert {headers["mcp-protocol-version"] for headers in later[1:]} == {"2025-06-18"}


async def test_a_server_without_sessions_is_not_told_of_the_end(mcp_server: Any) -> None:
    mcp_server.session_id = None
    async with opened(mcp_server) as session:
        await session.list_tools()
    assert mcp_server.methods[-1] == "tools/list"


async def test_pings_are_answered_and_other_requests_refused(mcp_server: Any) -> None:
    mcp_server.is_streamed = True
    mcp_server.before = [
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {}},
        {"jsonrpc": "2.0", "id": "p", "method": "ping"},
        {"jsonrpc": "2.0", "id": "s", "method": "sampling/createMessage", "params": {}},
    ]
    async with opened(mcp_server) as session:
        await session.list_tools()
    answers = {m["id"]: m for _, _, m in mcp_server.received if "id" in m and "method" not in m}
    assert answers["p"]["result"] == {}
    assert answers["s"]["error"]["code"] == -32601


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": [], "structuredContent": {"a": 1}}, '{"a":1}'),
        ({"content": [{"type": "resource", "resource": {"uri": "x", "text": "r"}}]}, "r"),
        (
            {"content": [{"type": "image", "mimeType": "image/png", "data": "AAAA"}]},
            '{"type":"image","mimeType":"image/png"}',
        ),
    ],
)
async def test_what_a_tool_gives_becomes_text(
    mcp_server: Any, given: dict[str, Any], text: str
) -> None:
    mcp_server.gives["look"] = {"result": given}
    async with opened(mcp_server) as session:
        assert await session.call_tool("look", {}) == text


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"result": {"content": [{"type": "text", "text": "no"}], "isError": True}},
            {
                "type": "mcp_tool_execution_error",
                "content": [{"type": "text", "text": "no"}],
            },
        ),
        (
            {"error": {"code": -32602, "message": "Unknown tool"}},
            {"type": "mcp_protocol_error", "code": -32602, "message": "Unknown tool"},
        ),
    ],
)
async def test_failures_keep_the_words_of_the_server(
    mcp_server: Any, given: dict[str, Any], error: dict[str, Any]
) -> None:
    mcp_server.gives["look"] = given
    async with opened(mcp_server) as session:
        with pytest.raises(McpFault) as caught:
            await session.call_tool("look", {})
    assert caught.value.error == error


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "status 401"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n", "status 302"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 1\r\n\r\nx", "neither"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\nx", "no"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n"
            b"content-length: 2\r\n\r\n{}",
            "compressed",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n"
            + b" " * (MAX_ANSWER_BYTES + 1),
            "longer",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 3000000\r\n\r\n"
            + b"data: " + b"x" * MAX_ANSWER_BYTES,
            "longer",
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n",
            "ended",
        ),
        (b"nonsense\r\n\r\n", "RemoteProtocolError"),
    ],
)  # fmt: skip
async def test_a_server_that_breaks_the_rules_is_a_fault(
    mcp_server: Any, answer: bytes, words: str
) -> None:
    mcp_server.raw["tools/list"] = answer
    assert words in str(await failing(mcp_server))


@pytest.mark.parametrize(("depth", "is_refused"), [(60, False), (70, True), (400, True)])
async def test_what_a_server_says_is_nested_so_deep_and_no_deeper(
    mcp_server: Any, depth: int, is_refused: bool
) -> None:
    mcp_server.gives["look"] = {"result": {"content": [], "structuredContent": nested(depth)}}
    async with opened(mcp_server) as session:
        if is_refused:
            with pytest.raises(McpFault, match="nested deeper"):
                await session.call_tool("look", {})
        else:
            assert "1" in await session.call_tool("look", {})


@pytest.mark.parametrize(
    "result",
    [
        {}, {"tools": 1}, {"tools": [1]}, {"tools": [], "nextCursor": 1},
        {"tools": [{"name": "x"}] * 600}, {"tools": [], "nextCursor": "again"},
    ],
)  # fmt: skip
async def test_lists_that_are_none_or_endless_are_faults(mcp_server: Any, result: Any) -> None:
    mcp_server.raw["tools/list"] = b""

    async def answer(message: dict[str, Any]) -> bytes:
        said = {"jsonrpc": "2.0", "id": message.get("id"), "result": result}
        if message.get("method") == "tools/list":
            return mcp_server.http(json.dumps(said).encode(), "application/json")
        return await type(mcp_server).answer(mcp_server, message)

    mcp_server.answer = answer
    await failing(mcp_server)


@pytest.mark.parametrize("version", ["2099-01-01", {}, [], 1, None])
async def test_another_version_of_the_protocol_is_a_fault(mcp_server: Any, version: Any) -> None:
    mcp_server.version = version
    assert "version" in str(await failing(mcp_server))


async def test_a_slow_server_is_not_waited_for(mcp_server: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sessions, "CALL_S", 0.2)
    mcp_server.delay_s = 5.0
    async with opened(mcp_server) as session:
        with pytest.raises(McpFault, match="longer than"):
            await session.call_tool("look", {})


async def test_a_name_that_means_an_address_inside_is_not_called() -> None:
    async def resolve(host: str, port: int) -> Any:
        return [ipaddress.ip_address("169.254.169.254")]

    server = McpServer(url="https://mcp.example.com/mcp")
    session = McpSession(server, ("mcp.example.com",), resolve)
    with pytest.raises(McpFault, match="not public"):
        await session.list_tools()
    await session.close()


async def test_secrets_are_in_no_repr() -> None:
    server = McpServer(url="https://a/", headers={"Authorization": "Bearer hidden"})
    assert "hidden" not in repr(server)
