"""Responses, conversations and stored completions through the OpenAI Python SDK."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

import openai
import pytest
from pydantic import BaseModel, Field

MODEL = "servax-tiny"
QUESTION = "What is the weather in Paris?"
TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
    "strict": None,
}


@pytest.fixture
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server + "/v1", api_key="unused", max_retries=0) as made:
        yield made


def ask(client: openai.OpenAI, given: Any, **fields: Any) -> Any:
    return client.responses.create(model=MODEL, input=given, temperature=0, **fields)


def weather(call: Any) -> Any:
    output = '{"weather": "sunny"}'
    return {"type": "function_call_output", "call_id": call.call_id, "output": output}


def test_thoughts_and_text_are_items_with_their_tokens_counted(client: openai.OpenAI) -> None:
    response = ask(client, "What is 12 + 30?", reasoning={"effort": "high", "summary": "auto"})
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert "42" in response.output_text
    assert response.output[0].summary
    assert response.usage.output_tokens_details.reasoning_tokens > 0
    assert response.status == "completed"


@pytest.mark.parametrize("way", ["previous", "conversation", "full"])
def test_a_tool_is_called_and_its_result_is_told(client: openai.OpenAI, way: str) -> None:
    items: list[Any] = [{"role": "user", "content": QUESTION}]
    held = {"conversation": client.conversations.create().id} if way == "conversation" else {}
    first = ask(client, items, tools=[TOOL], **held)
    (call,) = first.output
    assert (call.type, json.loads(call.arguments)) == ("function_call", {"city": "Paris"})
    if way == "full":
        second = ask(client, [*items, call, weather(call)], tools=[TOOL])
    elif way == "conversation":
        second = ask(client, [weather(call)], tools=[TOOL], **held)
    else:
        second = ask(client, [weather(call)], tools=[TOOL], previous_response_id=first.id)
    assert "sunny" in second.output_text


def test_the_stream_helper_accumulates_and_a_stream_is_resumed(client: openai.OpenAI) -> None:
    with client.responses.stream(model=MODEL, input="What is servax?", temperature=0) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == final.output_text
    rest = list(client.responses.retrieve(final.id, stream=True, starting_after=5))
    assert [event.sequence_number for event in rest] == list(range(6, len(events)))
    assert client.responses.retrieve(final.id).output_text == final.output_text
    with client.responses.stream(response_id=final.id, starting_after=1) as stream:
        assert list(stream)[-1].type == "response.completed"


def test_a_schema_is_parsed(client: openai.OpenAI) -> None:
    class Trip(BaseModel):
        city: Annotated[str, Field(max_length=20)]
        days: Annotated[int, Field(ge=0, le=99)]

    response = client.responses.parse(
        model=MODEL, input="Paris for 3 days", text_format=Trip, temperature=0
    )
    assert isinstance(response.output_parsed, Trip)


def test_a_background_response_is_polled_and_cancelled(client: openai.OpenAI) -> None:
    response = ask(client, "What is servax?", background=True)
    assert response.status == "queued"
    deadline_s = time.monotonic() + 30
    while response.status in {"queued", "in_progress"}:
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
        response = client.responses.retrieve(response.id)
    assert response.status == "completed"
    assert response.output_text == ask(client, "What is servax?").output_text
    assert client.responses.cancel(response.id).status == "completed"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(ask(client, "hi").id)


def test_items_tokens_and_compaction(client: openai.OpenAI) -> None:
    first = ask(client, "one")
    second = ask(client, "two", previous_response_id=first.id)
    items = list(client.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.type for item in items] == ["message"] * 3
    counted = client.responses.input_tokens.count(model=MODEL, input="one").input_tokens
    assert counted == first.usage.input_tokens
    raw = client.responses.with_raw_response.compact(model=MODEL, previous_response_id=second.id)
    assert raw.parse().output[-1].type == "compaction"
    window = json.loads(raw.http_response.text)["output"]
    assert ask(client, [*window, {"role": "user", "content": "three"}]).status == "completed"


def test_what_is_deleted_is_gone(client: openai.OpenAI) -> None:
    response = ask(client, "hi")
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        ask(client, "hi", previous_response_id=response.id)


def test_a_hosted_tool_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "hi", tools=[{"type": "web_search"}])
    assert caught.value.param == "tools[0].type"


def test_outputs_of_tools_go_on(client: openai.OpenAI) -> None:
    first = ask(client, QUESTION, tools=[TOOL])
    body = {"tool_call_id": first.output[0].call_id, "output": '{"weather": "sunny"}'}
    later: Any = client.post(f"/responses/{first.id}/tool_outputs", body=body, cast_to=object)
    assert "sunny" in json.dumps(later["output"])


def test_a_held_stream_is_accumulated_by_the_sdk(client: openai.OpenAI, server: str) -> None:
    response_id = ""
    with (
        openai.OpenAI(base_url=server + "/v1", api_key="unused") as other,
        client.responses.stream(
            model=MODEL,
            input=QUESTION,
            tools=[TOOL],
            temperature=0,
            extra_body={"tool_outputs_mode": "hold"},
        ) as stream,
    ):
        for event in stream:
            if event.type == "response.output_item.done" and event.item.type == "function_call":
                body = {"tool_call_id": event.item.call_id, "output": '{"weather": "sunny"}'}
                path = f"/responses/{response_id}/tool_outputs"
                other.post(path, body=body, cast_to=object)
            elif event.type == "response.created":
                response_id = event.response.id
        final = stream.get_final_response()
    assert [item.type for item in final.output] == [
        "function_call", "function_call_output", "message",
    ]  # fmt: skip
    assert "sunny" in final.output_text


def test_conversations_and_their_items(client: openai.OpenAI) -> None:
    hello: Any = {"type": "message", "role": "user", "content": "hello"}
    made = client.conversations.create(metadata={"a": "1"}, items=[hello])
    added = client.conversations.items.create(made.id, items=[hello, hello])
    assert len(added.data) == 2
    listed = list(client.conversations.items.list(made.id, limit=1, order="asc"))
    assert len(listed) == 3
    item_id: Any = listed[0].id
    assert client.conversations.items.retrieve(item_id, conversation_id=made.id) == listed[0]
    client.conversations.items.delete(item_id, conversation_id=made.id)
    assert len(list(client.conversations.items.list(made.id))) == 2
    assert client.conversations.update(made.id, metadata={"b": "2"}).metadata == {"b": "2"}
    assert client.conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(made.id)


def test_stored_completions(client: openai.OpenAI) -> None:
    question: Any = [{"role": "user", "content": "What is servax?"}]
    mark = {"run": str(time.time_ns())}
    fields: Any = {"model": MODEL, "messages": question, "temperature": 0, "store": True}
    made = client.chat.completions.create(metadata=mark, **fields)
    with client.chat.completions.stream(metadata=mark, **fields) as stream:
        streamed = stream.get_final_completion()
    found = list(client.chat.completions.list(metadata=mark, limit=1))
    assert [each.id for each in found] == [made.id, streamed.id]
    assert found[0].choices[0].message.content == found[1].choices[0].message.content
    messages = list(client.chat.completions.messages.list(made.id))
    assert messages[0].content == "What is servax?"
    changed = client.chat.completions.update(made.id, metadata={"b": "2"})
    assert changed.id == made.id
    assert client.chat.completions.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.retrieve(made.id)
