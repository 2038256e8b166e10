"""Servers and tools that fail or cannot be used: failed items, and the response goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.errors import APIError
from tests.api.services.responses.mcp.world import LOOK, OWN, call, kinds


async def test_a_tool_that_fails_is_a_failed_item_and_the_model_is_told(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    mcp_server.gives["look"] = {"result": {"content": [{"type": "text", "text": "no such city"}],
                                           "isError": True}}  # fmt: skip
    asker = remote(LOOK, "Sorry.")
    events = await asker.stream(tools=[tool()])
    assert "response.mcp_call.failed" in [event["type"] for event in events]
    failed = events[-1]["response"]["output"][1]
    assert (failed["status"], failed["output"]) == ("failed", None)
    assert failed["error"]["type"] == "mcp_tool_execution_error"
    prompt = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert "Error: no such city" in prompt
    assert events[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", "status 500"),
        (b"", "cannot be reached: RemoteProtocolError"),
    ],
)
async def test_a_server_that_is_not_there_is_a_failed_list(
    remote: Any, mcp_server: Any, tool: Any, answer: bytes, words: str
) -> None:
    mcp_server.raw["initialize"] = answer
    events = await remote("No tools.").stream(tools=[tool()])
    assert "response.mcp_list_tools.failed" in [event["type"] for event in events]
    final = events[-1]["response"]
    assert (final["status"], kinds(final)) == ("completed", ["mcp_list_tools", "message"])
    assert words in final["output"][0]["error"]


OF_DOCS = {"type": "mcp", "server_label": "docs"}


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        OF_DOCS,
        OF_DOCS | {"name": "look"},
        {"type": "allowed_tools", "mode": "required", "tools": [OF_DOCS]},
    ],
)
async def test_a_call_that_is_forced_of_a_server_that_is_not_there_fails_and_names_the_server(
    remote: Any, mcp_server: Any, tool: Any, choice: Any
) -> None:
    mcp_server.raw["initialize"] = b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n"
    asker = remote()
    with pytest.raises(APIError) as caught:
        await asker.ask(tools=[tool()], tool_choice=choice)
    error = caught.value
    assert (error.status, error.type) == (424, "external_connector_error")
    assert (error.param, error.code) == ("tools", "http_error")
    assert ("'docs'" in error.message, "status 500" in error.message) == (True, True)
    events = await asker.stream(tools=[tool()], tool_choice=choice, store=True)
    final = events[-1]["response"]
    assert (final["status"], kinds(final)) == ("failed", ["mcp_list_tools"])
    assert final["error"] == {"code": "server_error", "message": error.message}


async def test_a_server_that_is_not_there_forbids_no_call_of_other_tools(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    mcp_server.raw["initialize"] = b""
    asker = remote(call("own"), "hello")
    tools = [OWN, tool()]
    assert kinds(await asker.ask(tools=tools, tool_choice="required")) == [
        "mcp_list_tools", "function_call",
    ]  # fmt: skip
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [OF_DOCS]}
    response = await asker.ask(tools=tools, tool_choice=allowed)
    assert kinds(response) == ["mcp_list_tools", "message"]
    assert response["status"] == "completed"


@pytest.mark.parametrize("choice", ["required", OF_DOCS])
async def test_a_call_that_is_forced_of_a_server_without_tools_is_refused(
    remote: Any, mcp_server: Any, tool: Any, choice: Any
) -> None:
    mcp_server.tools = []
    with pytest.raises(APIError) as caught:
        await remote().ask(tools=[tool()], tool_choice=choice)
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"properties": value}
    return value


@pytest.mark.parametrize("member", ["inputSchema", "annotations"])
async def test_tools_that_are_nested_too_deep_are_a_failed_list(
    remote: Any, mcp_server: Any, tool: Any, member: str
) -> None:
    mcp_server.tools = [{"name": "x", "inputSchema": {"type": "object"}} | {member: nested(300)}]
    events = await remote("No tools.").stream(tools=[tool()], store=True)
    assert events[-1]["type"] == "response.completed"
    assert "nested deeper" in events[-1]["response"]["output"][0]["error"]


@pytest.mark.parametrize(
    "given",
    [
        {"result": {"content": [], "structuredContent": nested(300)}},
        {"result": {"content": [{"type": "x", "x": nested(300)}]}},
        {"result": {"content": [{"type": "x", "x": nested(300)}], "isError": True}},
    ],
)
async def test_what_a_tool_gives_that_is_nested_too_deep_is_a_failed_call(
    remote: Any, mcp_server: Any, tool: Any, given: dict[str, Any]
) -> None:
    mcp_server.gives["look"] = given
    events = await remote(LOOK, "Sorry.").stream(tools=[tool()], store=True)
    assert events[-1]["type"] == "response.completed"
    failed = events[-1]["response"]["output"][1]
    assert (failed["status"], "nested deeper" in failed["error"]["message"]) == ("failed", True)


async def test_approved_arguments_that_are_nested_too_deep_are_not_sent(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    text = json.dumps(nested(300))
    asked = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "docs",
             "name": "look", "arguments": text}  # fmt: skip
    answer = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    response = await remote("ok").ask([asked, answer], tools=[tool()])
    assert [item["status"] for item in response["output"][1:]] == ["failed", "completed"]
    assert mcp_server.calls() == []


async def test_a_schema_that_is_none_is_a_failed_list(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    mcp_server.tools = [{"name": "x", "inputSchema": {"type": "no such type"}}]
    response = await remote("hello").ask(tools=[tool()])
    assert "input schema" in response["output"][0]["error"]


async def test_arguments_that_are_no_object_are_not_sent(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    text = '<tool_call>\n{"name": "look", "arguments": "Rome"}\n</tool_call>'
    response = await remote(text, "ok").ask(tools=[tool()])
    assert mcp_server.calls() == []
    assert response["status"] == "completed"
