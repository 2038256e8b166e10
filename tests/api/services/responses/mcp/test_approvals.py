"""Calls that need the client's approval: asked for, given once, refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from api.errors import APIError
from api.protocol.responses.queries import IncludeQuery
from api.services.responses.conversation import conversations
from api.services.responses.stored import background, retrieval
from engine.errors import InvalidParameterError, OverloadedError
from engine.request import GenerateRequest, TokenDelta
from tests.api.services.responses.mcp.world import LOOK, kinds


async def test_approval_is_asked_for_by_default_and_given(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote(LOOK, "Warm.")
    tools = [tool(require_approval=None)]
    first = await asker.ask(tools=tools, store=True)
    assert kinds(first) == ["mcp_list_tools", "mcp_approval_request"]
    asked = first["output"][1]
    assert (asked["name"], json.loads(asked["arguments"])) == ("look", {"city": "Rome"})
    assert mcp_server.calls() == []
    answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": True}
    second = await asker.ask([answer], tools=tools, previous_response_id=first["id"], store=True)
    assert kinds(second) == ["mcp_call", "message"]
    assert second["output"][0]["approval_request_id"] == asked["id"]
    assert len(mcp_server.calls()) == 1
    with pytest.raises(InvalidParameterError) as caught:
        await asker.ask([answer], tools=tools, previous_response_id=second["id"])
    assert caught.value.param == "input[0].approval_request_id"


async def test_approvals_of_a_conversation_refuse_no_later_request(
    remote: Any, tool: Any, conversation: Any
) -> None:
    asker = remote("hello", LOOK, "hello")
    asker.store = True
    conversation_id = await conversation(asker)

    async def put(asked_id: str) -> None:
        answer = {"type": "mcp_approval_response", "approval_request_id": asked_id, "approve": True}
        items, query = {"items": [answer]}, IncludeQuery()
        await conversations.add_items(asker.exchange, conversation_id, items, query)

    await put("mcpr_none")
    assert (await asker.ask(conversation=conversation_id))["status"] == "completed"
    asks = {"conversation": conversation_id, "tools": [tool(require_approval="always")]}
    asked = (await asker.ask(**asks))["output"][-1]
    await put(asked["id"])
    await put(asked["id"])
    assert (await asker.ask(conversation=conversation_id))["status"] == "completed"
    answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": True}
    with pytest.raises(InvalidParameterError, match="answered already") as caught:
        await asker.ask([answer], **asks)
    assert caught.value.param == "input[0].approval_request_id"


@pytest.fixture
def approving(remote: Any, tool: Any, conversation: Any) -> Any:
    """A conversation whose model waits for an approval; a request that gives it."""

    async def make(*texts: str) -> tuple[Any, dict[str, Any]]:
        asker = remote(LOOK, *texts)
        asker.store = True
        tools = [tool(require_approval="always")]
        asks = {"conversation": await conversation(asker), "tools": tools}
        asked = (await asker.ask(**asks))["output"][-1]["id"]
        answer = {"type": "mcp_approval_response", "approval_request_id": asked, "approve": True}
        return asker, asks | {"given": [answer]}

    return make


@pytest.mark.parametrize("fields", [{}, {"stream": True}])
async def test_an_approval_that_many_requests_bring_at_once_makes_one_call(
    approving: Any, mcp_server: Any, fields: dict[str, Any]
) -> None:
    mcp_server.delay_s = 0.2
    asker, asks = await approving("It is warm.", "It is warm.", "It is warm.", "hello")
    ask = asker.stream if fields else asker.ask
    found = await asyncio.gather(*(ask(**asks) for _ in range(3)), return_exceptions=True)
    refused = [each for each in found if isinstance(each, InvalidParameterError)]
    assert [each.param for each in refused] == ["input[0].approval_request_id"] * 2
    assert len(mcp_server.calls()) == 1
    mcp_server.delay_s = 0.0
    again = await asker.ask(conversation=asks["conversation"])
    assert again["status"] == "completed"


async def test_an_approval_in_the_background_is_taken_up_when_it_is_queued(approving: Any) -> None:
    asker, asks = await approving("It is warm.")
    assert (await asker.ask(**asks, background=True))["status"] == "queued"
    with pytest.raises(InvalidParameterError, match="answered already"):
        await asker.ask(**asks)


async def test_an_approval_can_be_given_again_until_its_call_was_made(
    approving: Any, mcp_server: Any
) -> None:
    asker, asks = await approving("It is warm.")
    left = await asker.answer({"input": asks["given"], "stream": True} | _without_given(asks))
    await left.events.aclose()
    assert mcp_server.calls() == []
    assert kinds(await asker.ask(**asks)) == ["mcp_call", "message"]
    assert len(mcp_server.calls()) == 1


async def test_an_approval_whose_call_was_made_is_used_up_though_the_response_failed(
    approving: Any, mcp_server: Any
) -> None:
    asker, asks = await approving()
    asker.speaker.engine.generate = _failing
    with pytest.raises(APIError):
        await asker.ask(**asks)
    assert len(mcp_server.calls()) == 1
    with pytest.raises(InvalidParameterError, match="answered already"):
        await asker.ask(**asks)


@pytest.fixture
def branching(remote: Any, tool: Any) -> Any:
    """A response whose model waits for an approval; two requests that give it, side by side."""

    async def make(is_stored: bool) -> tuple[Any, list[dict[str, Any]]]:
        asker = remote(LOOK, "It is warm.", "It is warm.")
        tools = [tool(require_approval="always")]
        first = await asker.ask(tools=tools, store=is_stored)
        asked = first["output"][-1]["id"]
        answer = {"type": "mcp_approval_response", "approval_request_id": asked, "approve": True}
        ask = {"given": [answer], "previous_response_id": first["id"]}
        if not is_stored:
            ask = {"given": [{"role": "user", "content": "hi"}, *first["output"], answer]}
        return asker, [ask | {"tools": tools, "store": store} for store in (True, False)]

    return make


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
async def test_an_approval_makes_one_call_in_whichever_branch_and_kept_or_not(
    branching: Any, mcp_server: Any, is_stored: bool, at_once: bool
) -> None:
    asker, asks = await branching(is_stored)
    if at_once:
        mcp_server.delay_s = 0.2
        found = await asyncio.gather(*(asker.ask(**ask) for ask in asks), return_exceptions=True)
    else:
        found = [await asker.ask(**asks[1]), await _refusal(asker, asks[0])]
    refused = [each for each in found if isinstance(each, InvalidParameterError)]
    place = len(asks[0]["given"]) - 1
    assert [each.param for each in refused] == [f"input[{place}].approval_request_id"]
    assert len(mcp_server.calls()) == 1


async def test_all_items_can_be_sent_again_after_an_approved_call(
    branching: Any, mcp_server: Any
) -> None:
    asker, (_, ask) = await branching(is_stored=False)
    answered = await asker.ask(**ask)
    more = [*ask["given"], *answered["output"], {"role": "user", "content": "more"}]
    assert kinds(await asker.ask(**ask | {"given": more})) == ["message"]
    assert len(mcp_server.calls()) == 1


async def test_an_approval_of_no_call_yet_is_free_again_however_its_response_ends(
    branching: Any, mcp_server: Any
) -> None:
    asker, (stored, unstored) = await branching(is_stored=True)
    for end in (background.cancel, retrieval.delete_response):
        queued = await asker.ask(**stored, background=True)
        assert isinstance(await _refusal(asker, unstored), InvalidParameterError)
        await end(asker.exchange, queued["id"])
    left = await asker.answer(
        {"input": unstored["given"], "stream": True} | _without_given(unstored)
    )
    await left.events.aclose()
    assert mcp_server.calls() == []
    assert kinds(await asker.ask(**unstored)) == ["mcp_call", "message"]


async def _refusal(asker: Any, ask: dict[str, Any]) -> BaseException:
    with pytest.raises(InvalidParameterError, match="answered already") as caught:
        await asker.ask(**ask)
    return caught.value


def _without_given(asks: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asks.items() if name != "given"}


async def _failing(request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
    raise OverloadedError("full")
    yield []


async def approve(asker: Any, tool: Any, narrow: Any) -> Any:
    """Ask with any tools, then approve with these."""
    first = await asker.ask(tools=[tool(require_approval="always")], store=True)
    answer = {
        "type": "mcp_approval_response", "approve": True,
        "approval_request_id": first["output"][-1]["id"],
    }  # fmt: skip
    tools = [tool(allowed_tools=narrow)]
    return await asker.ask([answer], tools=tools, previous_response_id=first["id"])


@pytest.mark.parametrize("narrow", [["read"], {"tool_names": ["read"]}, []])
async def test_an_approved_call_of_a_tool_that_is_not_allowed_is_refused(
    remote: Any, mcp_server: Any, tool: Any, narrow: Any
) -> None:
    with pytest.raises(InvalidParameterError, match="allowed_tools") as caught:
        await approve(remote(LOOK, "ok"), tool, narrow)
    assert caught.value.param == "input[0]"
    assert mcp_server.calls() == []


async def test_an_approved_call_that_a_filter_leaves_out_is_a_failed_item(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    response = await approve(remote(LOOK, "ok"), tool, {"read_only": True})
    called = response["output"][0]
    assert (called["status"], "not allow" in called["error"]["message"]) == ("failed", True)
    assert mcp_server.calls() == []


async def test_a_call_that_is_not_approved_is_told_to_the_model(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote(LOOK, "I will not.")
    tools = [tool(require_approval="always")]
    first = await asker.ask(tools=tools)
    asked = first["output"][1]
    answer = {
        "type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": False,
        "reason": "Too hot.",
    }  # fmt: skip
    given = [{"role": "user", "content": "hi"}, *first["output"], answer]
    second = await asker.ask(given, tools=tools)
    assert kinds(second) == ["message"]
    assert mcp_server.calls() == []
    prompt = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert "did not approve this call. Too hot." in prompt


@pytest.mark.parametrize(
    ("fields", "asks"),
    [
        ({"require_approval": {"never": {"tool_names": ["look"]}}}, False),
        ({"require_approval": {"never": {"read_only": True}}}, True),
        ({"require_approval": {"always": {"tool_names": ["look"]}, "never": {}}}, True),
        ({"require_approval": {"always": {"read_only": True}, "never": {}}}, False),
        ({"require_approval": {"always": {"tool_names": ["erase"]}}}, True),
        ({"require_approval": {}}, True),
    ],
)
async def test_rules_say_which_calls_need_approval(
    remote: Any, tool: Any, fields: dict[str, Any], asks: bool
) -> None:
    response = await remote(LOOK, "ok").ask(tools=[tool(**fields)])
    assert ("mcp_approval_request" in kinds(response)) == asks
