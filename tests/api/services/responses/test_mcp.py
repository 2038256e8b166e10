"""Tools of MCP servers in responses: listed, called, approved, continued."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from api.errors import APIError
from api.protocol.responses.queries import IncludeQuery, RetrieveQuery
from api.services.responses import conversations, retrieval
from api.services.responses.rendered import render_response
from api.services.responses.tokens import count_input_tokens
from api.services.responses.tool_outputs import give_outputs
from api.storage.tables.responses import ResponseRow
from engine.errors import InvalidParameterError, OverloadedError
from engine.request import GenerateRequest, TokenDelta

OWN = {"type": "function", "name": "own", "parameters": {"type": "object"}}


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


LOOK = call("look", city="Rome")


def says(asker: Any, *texts: str) -> None:
    """The model's turns, one after the other."""
    engine = asker.speaker.engine
    turns, original = iter(texts), type(engine).generate

    async def generate(request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        engine.texts = (next(turns),)
        async for deltas in original(engine, request):
            yield deltas

    engine.generate = generate


@pytest.fixture
def remote(asking: Any, mcp_server: Any, storage: Any) -> Any:
    """Makes an `Asker` that may call the MCP server, whose model says `texts`, turn by turn."""

    def make(*texts: str, **options: Any) -> Any:
        asker = asking(allowed_mcp_domains=(mcp_server.host,), **options)
        asker.storage = storage
        says(asker, *texts)
        return asker

    return make


@pytest.fixture
def tool(mcp_server: Any) -> Any:
    """Makes the tool of a request: the server's tools, without approvals."""

    def make(**fields: Any) -> dict[str, Any]:
        head = {"type": "mcp", "server_label": "docs", "server_url": mcp_server.url}
        return head | {"require_approval": "never"} | fields

    return make


def kinds(response: Any) -> list[str]:
    return [item["type"] for item in response["output"]]


async def test_tools_are_listed_called_and_answered(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote(LOOK, "It is warm.")
    response = await asker.read(tools=[tool()])
    listed, called, message = response.output
    assert (listed.type, [each.name for each in listed.tools]) == (
        "mcp_list_tools", ["look", "erase", "read"],
    )  # fmt: skip
    assert (called.type, called.status, called.error) == ("mcp_call", "completed", None)
    assert (called.name, called.server_label) == ("look", "docs")
    assert json.loads(called.arguments) == {"city": "Rome"}
    assert called.output == 'got {"city": "Rome"}'
    assert message.content[0].text == "It is warm."
    assert mcp_server.calls() == [{"name": "look", "arguments": {"city": "Rome"}}]
    prompt = asker.speaker.context.tokenizer.decode(asker.prompt(), skip_special_tokens=False)
    assert "got {" in prompt
    assert "Look it up" in prompt
    usage = response.usage
    turns = usage.input_tokens_details.input_tokens_per_turn
    assert (len(turns), sum(turns)) == (2, usage.input_tokens)


async def test_events_come_in_order_item_after_item(
    remote: Any, tool: Any, sdk_events: Any
) -> None:
    asker = remote(f"{LOOK}\n{call('read')}", "Done.")
    events = await asker.stream(tools=[tool()])
    for event in events:
        sdk_events.validate_python(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    short = [event["type"].removeprefix("response.") for event in events]
    told = list(dict.fromkeys(short))
    assert told[:11] == [
        "created", "in_progress", "output_item.added", "mcp_list_tools.in_progress",
        "mcp_list_tools.completed", "output_item.done", "mcp_call.in_progress",
        "mcp_call_arguments.delta", "mcp_call_arguments.done", "mcp_call.completed",
        "content_part.added",
    ]  # fmt: skip
    indices = [event["output_index"] for event in events if "output_index" in event]
    assert indices == sorted(indices)
    assert kinds(events[-1]["response"]) == ["mcp_list_tools", "mcp_call", "mcp_call", "message"]
    assert events[-1]["type"] == "response.completed"


@pytest.mark.parametrize("num_left_out", [12, 18, 29])
async def test_a_call_that_is_cut_is_incomplete_and_not_made(
    remote: Any, mcp_server: Any, tool: Any, num_left_out: int
) -> None:
    asker = remote(LOOK)
    limit = len(asker.speaker.context.tokenizer.encode(LOOK)) - num_left_out
    events = await asker.stream(tools=[tool()], max_output_tokens=limit)
    final = events[-1]["response"]
    assert (events[-1]["type"], final["error"]) == ("response.incomplete", None)
    assert final["incomplete_details"] == {"reason": "max_output_tokens"}
    called = final["output"][-1]
    assert (called["type"], called["status"], called["output"]) == ("mcp_call", "incomplete", None)
    assert "response.mcp_call_arguments.done" not in [event["type"] for event in events]
    assert mcp_server.calls() == []


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [
        ("openresponses", "servax:mcp_call_arguments.delta"),
        ("seed", "response.tool_call.delta"),
    ],
)
async def test_dialects_have_their_names(remote: Any, tool: Any, dialect: str, kind: str) -> None:
    events = await remote(LOOK, "ok").stream(tools=[tool()], event_dialect=dialect)
    assert kind in [event["type"] for event in events]


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


async def test_the_clients_own_calls_end_the_response(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote(f"{LOOK}\n{call('own')}", "Both.")
    tools = [OWN, tool()]
    first = await asker.ask(tools=tools, store=True)
    assert kinds(first) == ["mcp_list_tools", "mcp_call", "function_call"]
    assert len(mcp_server.calls()) == 1
    output = {"tool_call_id": first["output"][2]["call_id"], "output": "x"}
    answer = await give_outputs(asker.exchange, first["id"], output)
    assert b"Both." in answer.body
    assert len(mcp_server.calls()) == 1


async def test_the_limit_of_calls_holds(remote: Any, mcp_server: Any, tool: Any) -> None:
    asker = remote(f"{LOOK}\n{LOOK}", "Enough.")
    response = await asker.ask(tools=[tool()], max_tool_calls=1)
    assert kinds(response) == ["mcp_list_tools", "mcp_call", "mcp_call", "message"]
    assert [item["status"] for item in response["output"][1:3]] == ["completed", "failed"]
    assert len(mcp_server.calls()) == 1


async def test_a_forced_call_is_forced_once(remote: Any, mcp_server: Any, tool: Any) -> None:
    asker = remote(LOOK, "ok")
    choice = {"type": "mcp", "server_label": "docs", "name": "look"}
    response = await asker.ask(tools=[tool()], tool_choice=choice)
    assert response["tool_choice"] == choice
    first, second = asker.speaker.engine.requests
    assert first.grammar is not None
    assert second.grammar is None


async def test_a_choice_of_a_server_leaves_its_tools(remote: Any, tool: Any) -> None:
    asker = remote(LOOK, "ok")
    choice = {
        "type": "allowed_tools", "mode": "required",
        "tools": [{"type": "mcp", "server_label": "docs"}],
    }  # fmt: skip
    await asker.ask(tools=[OWN, tool()], tool_choice=choice)
    grammar = asker.speaker.engine.requests[0].grammar.source
    assert "look" in grammar
    assert "own" not in grammar


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
    events = await remote("No tools.").stream(tools=[tool()], tool_choice="required")
    assert "response.mcp_list_tools.failed" in [event["type"] for event in events]
    final = events[-1]["response"]
    assert (final["status"], kinds(final)) == ("completed", ["mcp_list_tools", "message"])
    assert words in final["output"][0]["error"]


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


async def test_secrets_reach_the_server_and_nothing_else(
    remote: Any, mcp_server: Any, tool: Any, storage: Any, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    asker = remote(f"{LOOK}\n{call('own')}")
    secret = tool(authorization="hidden-1", headers={"X-Key": "hidden-2"})
    events = await asker.stream(tools=[secret, OWN], store=True)
    assert {headers["authorization"] for _, headers, _ in mcp_server.received} == {
        "Bearer hidden-1"
    }
    assert {headers["x-key"] for _, headers, _ in mcp_server.received} == {"hidden-2"}
    async with storage.database.reading() as session:
        row = await session.get(ResponseRow, events[-1]["response"]["id"])
    assert row is not None
    for kept in (json.dumps(events), json.dumps(row.request), json.dumps(row.body), caplog.text):
        assert "hidden" not in kept
    assert events[0]["response"]["tools"][0]["headers"] is None
    assert "in-the-query" not in json.dumps(events)
    calls = events[-1]["response"]["output"]
    output = {"tool_call_id": calls[-1]["call_id"], "output": "x"}
    with pytest.raises(InvalidParameterError) as caught:
        await give_outputs(asker.exchange, events[-1]["response"]["id"], output)
    assert caught.value.param == "tool_outputs"


async def test_a_stream_is_read_again_as_it_was(remote: Any, tool: Any) -> None:
    asker = remote(LOOK, "ok")
    answer = await asker.answer({"input": "hi", "tools": [tool()], "stream": True, "store": True})
    live = b"".join([event async for event in answer.events])
    response_id = json.loads(live.split(b"data: ", 1)[1].split(b"\n")[0])["response"]["id"]
    again = await retrieval.stream_again(asker.exchange, response_id, RetrieveQuery(stream=True))
    assert b"".join([event async for event in again]) == live


async def test_a_client_that_leaves_ends_the_call(remote: Any, mcp_server: Any, tool: Any) -> None:
    mcp_server.delay_s = 30.0
    asker = remote(LOOK)
    answer = await asker.answer({"input": "hi", "tools": [tool()], "stream": True, "store": True})

    async def read() -> bytes:
        return b"".join([event async for event in answer.events])

    reading = asyncio.create_task(read())
    while not mcp_server.calls():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await answer.events.aclose()
    assert mcp_server.methods[-1] == "DELETE"


async def test_rendering_and_counting_call_no_server(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote("hello", "again")
    for work in (render_response, count_input_tokens):
        with pytest.raises(InvalidParameterError) as caught:
            await work(asker.exchange, {"input": "hi", "tools": [tool()]})
        assert caught.value.param == "tools[0]"
    assert mcp_server.received == []
    first = await asker.ask(tools=[tool()])
    given = [first["output"][0], {"role": "user", "content": "hi"}]
    rendered = await render_response(asker.exchange, {"input": given, "tools": [tool()]})
    counted = await count_input_tokens(asker.exchange, {"input": given, "tools": [tool()]})
    assert json.loads(rendered.body)["token_ids"] == list(asker.prompt())
    assert json.loads(counted.body)["input_tokens"] == len(asker.prompt())


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
