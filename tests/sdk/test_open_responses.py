"""The cases of Open Responses' compliance suite, against a real server with the embedded model.

basic, streaming, system prompt, tool calling whole and streamed, multi-turn: as there, asked in
our own words. Image input is refused by name: the embedded model takes text only. The cases of
the WebSocket are in `tests/api/resources/test_responses_socket.py`.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.sdk.open_responses_schema import (
    COMPACTED,
    ITEM,
    RESPONSE,
    TERMINAL,
    faults,
    faults_of_event,
)

MODEL = "servax-tiny"
DIALECT = {"X-Responses-Event-Dialect": "openresponses"}
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A city"}},
        "required": ["city"],
    },
}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def ask(server: str, path: str = "/v1/responses", **body: Any) -> httpx.Response:
    with httpx.Client(base_url=server, timeout=120, headers=DIALECT) as client:
        return client.post(path, json={"model": MODEL, "temperature": 0, **body})


def answered(server: str, given: Any, **body: Any) -> dict[str, Any]:
    answer = ask(server, input=given, **body)
    assert answer.status_code == 200, answer.text
    response = answer.json()
    assert list(faults(response, RESPONSE)) == []
    assert response["output"]
    return response


def streamed(server: str, given: Any, **body: Any) -> list[dict[str, Any]]:
    answer = ask(server, input=given, stream=True, **body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *pieces, last, nothing = answer.text.split("\n\n")
    assert (last, nothing) == ("data: [DONE]", "")
    events: list[dict[str, Any]] = []
    for piece in pieces:
        name, data = piece.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert list(faults_of_event(name.removeprefix("event: "), event)) == []
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] in TERMINAL for event in events].index(True) == len(events) - 1
    return events


def test_a_user_is_answered(server: str) -> None:
    response = answered(server, [said("user", "Say hello in exactly 3 words.")])
    assert response["status"] == "completed"


def test_an_answer_is_streamed(server: str) -> None:
    events = streamed(server, [said("user", "Count from 1 to 5.")])
    final = events[-1]["response"]
    assert final["status"] == "completed"
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == final["output"][-1]["content"][0]["text"]


def test_a_system_message_is_taken(server: str) -> None:
    given = [said("system", "You are a pirate."), said("user", "Say hello.")]
    assert answered(server, given)["status"] == "completed"


def test_a_function_is_called(server: str) -> None:
    given = [said("user", "What is the weather in Paris?")]
    response = answered(server, given, tools=[WEATHER])
    assert "function_call" in [item["type"] for item in response["output"]]


def test_a_call_is_streamed(server: str) -> None:
    given = [said("user", "What is the weather in Paris?")]
    events = streamed(server, given, tools=[WEATHER])
    kinds = {(event["type"], event.get("item", {}).get("type")) for event in events}
    assert ("response.output_item.added", "function_call") in kinds
    assert ("response.function_call_arguments.delta", None) in kinds
    assert ("response.function_call_arguments.done", None) in kinds
    assert ("response.output_item.done", "function_call") in kinds


def test_turns_before_are_taken(server: str) -> None:
    given = [
        said("user", "My name is Alice."),
        said("assistant", "Hello Alice! How can I help you today?"),
        said("user", "What is my name?"),
    ]
    assert answered(server, given)["status"] == "completed"


def test_thoughts_have_the_names_of_the_specification(server: str) -> None:
    events = streamed(server, "What is 12 + 30?", reasoning={"effort": "high", "summary": "auto"})
    kinds = [event["type"] for event in events]
    assert "response.reasoning.delta" in kinds
    assert "response.reasoning_summary_text.done" in kinds


def test_an_answer_that_is_cut_is_incomplete_and_so_is_its_last_item(server: str) -> None:
    events = streamed(server, "What is servax?", max_output_tokens=3)
    final = events[-1]["response"]
    assert (events[-1]["type"], final["status"]) == ("response.incomplete", "incomplete")
    assert final["output"][-1]["status"] == "incomplete"


def test_a_conversation_is_compacted_and_goes_on(server: str) -> None:
    first = answered(server, [said("user", "What is servax?")])
    compacted = ask(
        server, "/v1/responses/compact", previous_response_id=first["id"], input="Go on."
    ).json()
    assert list(faults(compacted, COMPACTED)) == []
    later = answered(server, [*compacted["output"], said("user", "What is servax?")])
    assert later["status"] == "completed"


def test_kept_items_are_items_of_the_specification(server: str) -> None:
    first = answered(server, [said("user", "one")])
    answered(server, [said("user", "two")], previous_response_id=first["id"])
    with httpx.Client(base_url=server, timeout=60) as client:
        listed = client.get(f"/v1/responses/{first['id']}/input_items").json()["data"]
    assert listed
    assert [fault for item in listed for fault in faults(item, ITEM)] == []


def test_an_image_is_refused_by_name(server: str) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    answer = ask(server, input=[said("user", [image])])
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input[0].content[0].type"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"previous_response_id": "resp_missing"}, 404, "previous_response_not_found"),
        ({"max_output_tokens": 0}, 400, "integer_below_min_value"),
    ],
)
def test_errors_have_the_envelope(server: str, body: Any, status: int, code: str) -> None:
    answer = ask(server, input="hi", **body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
