"""What a request cannot ask of a server: 400 by name."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import APIError
from engine.errors import InvalidParameterError


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"server_url": "https://elsewhere.example/mcp"}, "tools[0].server_url"),
        ({"server_url": "http://localhost/mcp"}, "tools[0].server_url"),
        ({"server_url": None}, "tools[0].server_url"),
        ({"server_label": "a b"}, "tools[0].server_label"),
        ({"connector_id": "connector_gmail"}, "tools[0].connector_id"),
        ({"tunnel_id": "tunnel_x"}, "tools[0].tunnel_id"),
        ({"defer_loading": True}, "tools[0].defer_loading"),
        ({"allowed_callers": ["programmatic"]}, "tools[0].allowed_callers"),
        ({"headers": {"Host": "x"}}, "tools[0].headers.Host"),
        ({"headers": {"ab": " x "}}, "tools[0].headers.ab"),
        ({"headers": {"X-A": "x\t"}}, "tools[0].headers.X-A"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "tools[0].headers.x-a"),
        ({"authorization": ""}, "tools[0].authorization"),
        ({"authorization": "TOKEN "}, "tools[0].authorization"),
        ({"headers": {"X-A": "a\r\nb: c"}}, "tools[0].headers"),
        ({"headers": {"Authorization": "x"}, "authorization": "y"}, "tools[0].authorization"),
    ],
)
async def test_what_cannot_be_asked_of_a_server_is_named(
    remote: Any, mcp_server: Any, tool: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await remote("x").ask(tools=[tool(**fields)])
    assert (caught.value.param or "").startswith(param)
    assert mcp_server.received == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.server_label"),
        ({"tool_outputs_mode": "hold", "stream": True, "store": True}, "tool_outputs_mode"),
        ({"max_tool_calls": 0}, "max_tool_calls"),
        (
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "x",
                        "approve": True}]},
            "input[0].approval_request_id",
        ),
    ],
)  # fmt: skip
async def test_what_does_not_go_together_is_named(
    remote: Any, tool: Any, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        await remote("x").answer({"input": "hi", "tools": [tool()], **fields})
    assert caught.value.param == param


async def test_background_takes_no_secrets(remote: Any, tool: Any) -> None:
    tools = [tool(authorization="x")]
    with pytest.raises(InvalidParameterError) as caught:
        await remote("x").ask(tools=tools, background=True, store=True)
    assert caught.value.param == "tools[0].authorization"


async def test_without_the_flag_servers_are_refused_by_its_name(asking: Any, tool: Any) -> None:
    with pytest.raises(InvalidParameterError, match="--allowed-mcp-domains") as caught:
        await asking("x").ask(tools=[tool()])
    assert caught.value.param == "tools[0].type"


async def test_a_tool_that_the_server_does_not_have_is_named(remote: Any, tool: Any) -> None:
    choice = {"type": "mcp", "server_label": "docs", "name": "fly"}
    with pytest.raises(APIError) as caught:
        await remote("x").ask(tools=[tool()], tool_choice=choice)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")
