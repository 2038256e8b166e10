"""The routes over HTTP: status, headers, envelope."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.commands import EndRequests

USER = {"messages": [{"role": "user", "content": "hi"}]}


async def test_a_chat_answer_is_json_with_the_requests_id(client: Any) -> None:
    response = await client.post("/v1/chat/completions", json=USER, headers={"x-request-id": "abc"})
    answer = await response.get_json()
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert answer["choices"][0]["message"]["content"] == "hello world"
    assert answer["id"] == "chatcmpl-abc"
    assert "warning" not in response.headers


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", USER), ("/v1/completions", {"prompt": "one"})],
)
async def test_a_stream_is_events_that_end_with_done(
    client: Any, path: str, body: dict[str, Any]
) -> None:
    response = await client.post(path, json={**body, "stream": True})
    text = (await response.get_data()).decode()
    assert (response.status_code, response.mimetype) == (200, "text/event-stream")
    events = text.removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert all(json.loads(event.removeprefix("data: "))["object"] for event in events[:-1])


async def test_unknown_fields_are_named_safely_in_a_warning(client: Any) -> None:
    message = {"role": "user", "content": "x", "foo": 1}
    response = await client.post("/v1/chat/completions", json={"messages": [message]})
    assert "no effect: messages[0].foo" in response.headers["warning"]
    body = {**USER, "foo_bar": 1, "evil\r\nset-cookie: x": 2}
    response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == 200
    assert "foo_bar, evil??set-cookie??x" in response.headers["warning"]
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        ("/v1/chat/completions", {**USER, "model": "x"}, 404, "model", "model_not_found"),
        ("/v1/chat/completions", {}, 400, "messages", "missing_required_parameter"),
        ("/v1/chat/completions", {**USER, "tools": []}, 400, "tools", "empty_array"),
        ("/v1/completions", {"prompt": "x", "store": True}, 400, "store", "unsupported_parameter"),
        (
            "/v1/chat/completions",
            {**USER, "temperature": 2.5},
            400,
            "temperature",
            "decimal_above_max_value",
        ),
        (
            "/v1/completions",
            {"prompt": "one " * 500},
            400,
            "prompt",
            "context_length_exceeded",
        ),
        ("/tokenize", {}, 400, "prompt", "missing_required_parameter"),
        ("/detokenize", {"tokens": "x"}, 400, "tokens", "invalid_type"),
    ],
)
async def test_refusals_have_the_envelope(
    client: Any, path: str, body: dict[str, Any], status: int, param: str, code: str
) -> None:
    response = await client.post(path, json=body)
    error = (await response.get_json())["error"]
    assert (response.status_code, error["param"], error["code"]) == (status, param, code)


async def test_models_are_found_by_names_with_slashes(client: Any) -> None:
    listed = await (await client.get("/v1/models")).get_json()
    assert len(listed["data"]) == 2
    one = await client.get("/v1/models/alias/of-it")
    assert (await one.get_json())["id"] == "alias/of-it"
    assert (await client.get("/v1/models/nope")).status_code == 404


async def test_tokens_go_there_and_back(client: Any) -> None:
    tokens = (await (await client.post("/tokenize", json={"prompt": "hello"})).get_json())["tokens"]
    back = await client.post("/detokenize", json={"tokens": tokens})
    assert await back.get_json() == {"prompt": "hello"}


async def test_generations_are_ended_by_their_ids_and_never_all_at_once(
    client: Any, speaker: Any
) -> None:
    path = "/inference/v1/abort_requests"
    response = await client.post(path, json={"request_ids": ["generate-tokens-42"]})
    assert (response.status_code, await response.get_data()) == (200, b"")
    assert (await client.post(path, json={"request_ids": []})).status_code == 200
    assert speaker.engine.commands == [EndRequests(("generate-tokens-42",))]


@pytest.mark.parametrize("body", [{}, {"request_ids": None}, {"request_ids": [1]}])
async def test_ending_generations_needs_ids(client: Any, speaker: Any, body: Any) -> None:
    response = await client.post("/inference/v1/abort_requests", json=body)
    assert response.status_code == 400
    assert (await response.get_json())["error"]["param"].startswith("request_ids")
    assert speaker.engine.commands == []
