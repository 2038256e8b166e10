"""Names of events in the three dialects, and compatibility mode."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from api.protocol.responses.queries import RetrieveQuery
from api.services.responses.exchange import Exchange
from api.services.responses.stored import retrieval
from engine.errors import InvalidParameterError

CALL = '<tool_call>\n{"name": "look", "arguments": {"city": "Rome"}}\n</tool_call>'
EVERYTHING = f"<think>\nHm.\n</think>\n\nLet me look.\n{CALL}"
LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}


async def kinds(asker: Any, **fields: Any) -> list[str]:
    return [event["type"] for event in await asker.stream(tools=[LOOK], **fields)]


async def test_aliases_follow_what_they_repeat_and_share_its_number(asking: Any) -> None:
    events = await asking(EVERYTHING).stream(
        tools=[LOOK], event_dialect="seed", reasoning={"summary": "auto"}
    )
    official = official_ones(events)
    assert [e["sequence_number"] for e in official] == list(range(len(official)))
    found = {e["type"] for e in events} - {e["type"] for e in official}
    assert found == {
        "response.reasoning.delta", "response.reasoning.done", "response.tool_call.delta",
        "response.reasoning_part.added", "response.reasoning_part.done",
        "response.reasoning.summary.delta", "response.reasoning.summary.added",
        "response.additional_context",
    }  # fmt: skip
    for before, event in itertools.pairwise(events):
        if event["type"] == "response.tool_call.delta":
            assert before["type"] == "response.function_call_arguments.delta"
            assert before["sequence_number"] == event["sequence_number"]
            assert (event["name"], event["delta"]) == ("look", before["delta"])
            assert event["tool_call_id"] == event["call_id"] != event["item_id"]


def official_ones(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    aliases = ("response.reasoning.", "response.reasoning_part.", "response.tool_call.")
    return [
        event
        for event in events
        if not event["type"].startswith(aliases) and event["type"] != "response.additional_context"
    ]


async def test_open_responses_has_its_own_names_of_thoughts(asking: Any) -> None:
    found = await kinds(asking(EVERYTHING), event_dialect="openresponses")
    assert "response.reasoning.delta" in found
    assert not any(".reasoning_text." in kind for kind in found)


async def test_the_legacy_flag_keeps_the_official_names_everywhere(asking: Any) -> None:
    asker = asking(EVERYTHING, legacy_reasoning_events=True)
    for dialect in ("openresponses", "seed"):
        found = await kinds(asker, event_dialect=dialect)
        assert "response.reasoning_text.delta" in found
        assert "response.reasoning.delta" not in found


async def test_the_body_overrules_the_header_and_the_header_the_flag(asking: Any) -> None:
    asker = asking(EVERYTHING, responses_event_dialect="seed")
    assert "response.tool_call.delta" in await kinds(asker)
    asker.dialect = "openai"
    assert "response.tool_call.delta" not in await kinds(asker)
    assert "response.reasoning.delta" in await kinds(asker, event_dialect="openresponses")
    asker.dialect = "martian"
    with pytest.raises(InvalidParameterError) as caught:
        await kinds(asker)
    assert caught.value.param == "X-Responses-Event-Dialect"


async def test_a_failure_has_each_dialects_error(asking: Any) -> None:
    asker = asking("hello there")
    asker.speaker.engine.failure = RuntimeError("x")
    asker.speaker.engine.failure_after = 2
    open_error = (await asker.stream(event_dialect="openresponses"))[-2]
    assert open_error["error"]["code"] == "server_error"
    seed = await asker.stream(event_dialect="seed")
    assert [event["type"] for event in seed[-4:]] == [
        "error", "response.error", "response.additional_context", "response.failed",
    ]  # fmt: skip


async def test_a_stream_that_is_read_again_has_the_same_obfuscation(
    asking: Any, storage: Any
) -> None:
    asker = asking(EVERYTHING)
    asker.storage = storage
    body = {"input": "hi", "stream": True, "stream_options": {"include_obfuscation": True}}
    answer = await asker.answer(body | {"store": True})
    live = b"".join([event async for event in answer.events])
    response_id = json.loads(live.split(b"data: ", 1)[1].split(b"\n")[0])["response"]["id"]
    query = RetrieveQuery(stream=True, include_obfuscation=True)
    again = await retrieval.stream_again(asker.exchange, response_id, query)
    assert b"".join([event async for event in again]) == live
    assert b'"obfuscation":"' in live


async def test_obfuscation_hides_the_length_of_text(asking: Any) -> None:
    options = {"include_obfuscation": True}
    for event in await asking(EVERYTHING).stream(stream_options=options):
        if event["type"].endswith(".delta"):
            assert (len(event["delta"].encode()) + len(event["obfuscation"])) % 16 == 0


@pytest.mark.parametrize(
    "name", ["top_k", "structured_outputs", "priority", "event_dialect", "mm_processor_kwargs"]
)
async def test_compatibility_mode_refuses_what_openai_does_not_have(asking: Any, name: str) -> None:
    asker = asking("hello", responses_compatibility_mode=True)
    with pytest.raises(InvalidParameterError) as caught:
        await asker.ask(**{name: 1})
    assert (caught.value.param, caught.value.code) == (name, "unknown_parameter")


async def test_compatibility_mode_wants_one_request_id(asking: Any) -> None:
    asker = asking("hello", responses_compatibility_mode=True)
    exchange = Exchange(context=asker.speaker.context, request_id="abc")
    from api.services.responses.service import create_response

    body = {"input": "hi", "store": False}
    answer = await create_response(exchange, {**body, "request_id": "abc"})
    assert b'"resp_abc"' in answer.body
    with pytest.raises(InvalidParameterError):
        await create_response(exchange, {**body, "request_id": "other"})
