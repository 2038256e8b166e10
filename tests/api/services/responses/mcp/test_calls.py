"""Tools of MCP servers in responses: listed, called, answered, read again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from api.errors import APIError
from api.protocol.responses.queries import RetrieveQuery
from api.services.responses.rendered import render_response
from api.services.responses.stored import retrieval
from api.services.responses.tokens import count_input_tokens
from api.services.responses.tool_outputs import give_outputs
from api.storage.tables.responses import ResponseRow
from engine.errors import InvalidParameterError
from tests.api.services.responses.mcp.world import LOOK, OWN, call, kinds


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


def num_tokens(asker: Any, text: str) -> int:
    """With the one that ends it."""
    return len(asker.speaker.context.tokenizer.encode(text)) + 1


@pytest.mark.parametrize("num_more", [0, 1, 3])
async def test_one_bound_of_tokens_holds_for_all_turns_together(
    remote: Any, mcp_server: Any, tool: Any, num_more: int
) -> None:
    asker = remote(LOOK, "It is warm today and all the week.")
    limit = num_tokens(asker, LOOK) + num_more
    response = await asker.ask(tools=[tool()], max_output_tokens=limit, min_tokens=2)
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == limit
    assert len(mcp_server.calls()) == 1
    expected = ["mcp_list_tools", "mcp_call"] + ["message"] * (num_more > 0)
    assert kinds(response) == expected
    assert response["output"][1]["status"] == "completed"


async def test_what_tools_gave_may_leave_fewer_tokens_than_the_bound(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    asker = remote(LOOK, "It is warm.")
    length = asker.speaker.engine.info.max_model_len
    response = await asker.ask(tools=[tool()], max_output_tokens=length - 1200)
    assert (response["status"], len(mcp_server.calls())) == ("completed", 1)
    asker = remote(LOOK, "It is warm.")
    mcp_server.gives["look"] = long_text(1200)
    response = await asker.ask(tools=[tool()], max_output_tokens=length - 1200)
    assert (response["status"], len(mcp_server.calls())) == ("completed", 2)
    last = asker.speaker.engine.requests[-1]
    assert len(last.prompt_token_ids) + last.sampling.max_tokens == length


def long_text(num_words: int) -> dict[str, Any]:
    return {"result": {"content": [{"type": "text", "text": "hello " * num_words}]}}


@pytest.mark.parametrize("truncation", ["disabled", "auto"])
@pytest.mark.parametrize("fields", [{}, {"max_output_tokens": 200}])
async def test_an_output_that_leaves_no_room_ends_the_response_and_its_call_stays(
    remote: Any, mcp_server: Any, tool: Any, truncation: str, fields: dict[str, Any]
) -> None:
    mcp_server.gives["look"] = long_text(5000)
    asker = remote(LOOK)
    events = await asker.stream(tools=[tool()], store=True, truncation=truncation, **fields)
    final = events[-1]["response"]
    assert events[-1]["type"] == "response.incomplete"
    assert final["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (kinds(final), final["error"]) == (["mcp_list_tools", "mcp_call"], None)
    assert final["output"][1]["output"] == "hello " * 5000
    again = await retrieval.retrieve(asker.exchange, final["id"], RetrieveQuery())
    assert again["output"] == final["output"]


async def test_tools_that_leave_no_room_are_refused_as_a_long_prompt_is(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    mcp_server.tools[0] |= {"description": "hello " * 5000}
    with pytest.raises(APIError) as caught:
        await remote("x").ask(tools=[tool()])
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
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


async def test_a_server_that_ends_waits_for_no_call(
    remote: Any, mcp_server: Any, tool: Any
) -> None:
    mcp_server.delay_s = 30.0
    asker = remote(LOOK)
    reading = asyncio.create_task(asker.stream(tools=[tool()], store=True))
    while not mcp_server.calls():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    asker.speaker.context.ending.set()
    *_, told, failed = await asyncio.wait_for(reading, 10)
    assert (told["type"], told["code"]) == ("error", "server_shutting_down")
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert [item["type"] for item in failed["response"]["output"]] == ["mcp_list_tools", "mcp_call"]
    assert failed["response"]["output"][-1]["status"] == "incomplete"
    stored = await retrieval.retrieve(asker.exchange, failed["response"]["id"], RetrieveQuery())
    assert stored == failed["response"]


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
