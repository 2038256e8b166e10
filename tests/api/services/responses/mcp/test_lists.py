"""Lists of a server's tools: narrowed, used again, told apart."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.services.responses.mcp.world import LOOK, OWN, call, kinds


async def test_lists_are_used_again_and_the_prompt_stays(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote(LOOK, "one", "two", "three")
    first = await asker.ask(tools=[tool()], store=True)
    asked = len(mcp_server.received)
    second = await asker.ask("more", tools=[tool()], previous_response_id=first["id"])
    assert kinds(second) == ["message"]
    assert len(mcp_server.received) == asked
    by_id = asker.prompt()
    full = [
        {"role": "user", "content": "hi"},
        *first["output"],
        {"role": "user", "content": "more"},
    ]
    third = await asker.ask(full, tools=[tool()])
    assert kinds(third) == ["message"]
    assert asker.prompt() == by_id


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (["look"], ["look"]),
        ({"tool_names": ["read", "look"]}, ["look", "read"]),
        ({"read_only": True}, ["read"]),
        ({"read_only": False, "tool_names": ["erase", "read"]}, ["erase"]),
    ],
)
async def test_only_allowed_tools_are_listed(
    remote: Any, tool: Any, allowed: Any, names: list[str]
) -> None:
    response = await remote("hello").ask(tools=[tool(allowed_tools=allowed)])
    assert [each["name"] for each in response["output"][0]["tools"]] == names


@pytest.mark.parametrize("narrow", [["erase"], {"read_only": True}, []])
@pytest.mark.parametrize("is_stored", [True, False])
async def test_a_narrowed_list_is_not_taken_for_the_whole_one(
    remote: Any, tool: Any, narrow: Any, is_stored: bool
) -> None:
    asker = remote("one", "two", "three")
    first = await asker.ask(tools=[tool(allowed_tools=narrow)], store=True)
    given: Any = [*first["output"], {"role": "user", "content": "more"}]
    before = {"previous_response_id": first["id"]} if is_stored else {}
    given = "more" if is_stored else given
    same = await asker.ask(given, tools=[tool(allowed_tools=narrow)], **before)
    assert kinds(same) == ["message"]
    second = await asker.ask(given, tools=[tool()], **before)
    assert kinds(second) == ["mcp_list_tools", "message"]
    assert [each["name"] for each in second["output"][0]["tools"]] == ["look", "erase", "read"]


async def test_a_whole_list_is_narrowed_without_asking_again(remote: Any, tool: Any) -> None:
    asker = remote("one", "two")
    first = await asker.ask(tools=[tool()], store=True)
    narrow = tool(allowed_tools=["look"])
    second = await asker.ask("more", tools=[narrow], previous_response_id=first["id"])
    assert kinds(second) == ["message"]
    prompt = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert ("look" in prompt, "erase" in prompt) == (True, False)


async def test_a_list_of_another_url_is_not_used(remote: Any, mcp_server: Any, tool: Any) -> None:
    asker = remote("one", "two")
    first = await asker.ask(tools=[tool()], store=True)
    moved = tool(server_url=f"http://{mcp_server.host}/other")
    second = await asker.ask("more", tools=[moved], previous_response_id=first["id"])
    assert kinds(second) == ["mcp_list_tools", "message"]


async def test_a_list_that_the_client_wrote_is_used(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    listed = {
        "type": "mcp_list_tools", "server_label": "docs",
        "tools": [{"name": "look", "input_schema": {"type": "object"}}],
    }  # fmt: skip
    response = await remote("hello").ask([listed, {"role": "user", "content": "x"}], tools=[tool()])
    assert kinds(response) == ["message"]
    assert mcp_server.received == []


async def test_names_that_two_tools_have_are_told_apart(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    mcp_server.tools = [{"name": "own", "inputSchema": {"type": "object"}}]
    asker = remote(call("docs__own", a=1), "ok")
    response = await asker.ask(tools=[OWN, tool()])
    assert mcp_server.calls() == [{"name": "own", "arguments": {"a": 1}}]
    assert response["output"][1]["name"] == "own"
