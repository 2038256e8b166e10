"""The WebSocket of the Responses API, as Open Responses' tests use it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from quart.testing.connections import WebsocketResponseError

from api.app import create_app, state_of
from api.services.responses.events.dialects import TERMINAL


@pytest.fixture
def speaker(services_world: Any) -> Any:
    made = services_world.make_speaker("hello world")
    made.engine.info = msgspec.structs.replace(made.engine.info, max_model_len=1024)
    made.engine.ends_with_eos = True
    return made


@pytest.fixture
def client(speaker: Any, storage: Any) -> Any:
    state = state_of(speaker.context)
    state.storage = storage
    return create_app(state).test_client()


async def ask(socket: Any, text: Any = "hi", **fields: Any) -> list[dict[str, Any]]:
    await socket.send(json.dumps({"type": "response.create", "input": text, **fields}))
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] not in {*TERMINAL, "error"}:
        found.append(json.loads(await socket.receive()))
    return found


async def test_a_response_comes_as_its_events(client: Any) -> None:
    async with client.websocket("/v1/responses") as socket:
        events = await ask(socket, stream_id="s1")
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert events[0]["type"] == "response.created"
        assert {event["stream_id"] for event in events} == {"s1"}
        made = events[-1]["response"]
        again = (await ask(socket))[-1]["response"]
    assert again["id"] != made["id"]
    assert await (await client.get(f"/v1/responses/{made['id']}")).get_json() == made


@pytest.mark.parametrize("store", [True, False])
async def test_a_connection_goes_on_with_its_newest_response(
    client: Any, speaker: Any, store: bool
) -> None:
    async with client.websocket("/v1/responses") as socket:
        first = (await ask(socket, "one", store=store))[-1]["response"]
        second = (await ask(socket, "two", store=store, previous_response_id=first["id"]))[-1]
        third = await ask(
            socket, "three", store=store, previous_response_id=second["response"]["id"]
        )
    assert third[-1]["response"]["previous_response_id"] == second["response"]["id"]
    prompt = speaker.engine.requests[-1].prompt_token_ids
    text = speaker.context.tokenizer.decode(prompt, skip_special_tokens=False)
    turns = "<|user|>one<|assistant|>hello world<|user|>two<|assistant|>hello world<|user|>three"
    assert text.startswith(turns)


async def test_another_connection_does_not_know_what_was_not_kept_and_goes_on(
    client: Any,
) -> None:
    async with client.websocket("/v1/responses") as socket:
        first = (await ask(socket, store=False))[-1]["response"]
    async with client.websocket("/v1/responses") as socket:
        (error,) = await ask(socket, previous_response_id=first["id"])
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        assert (await ask(socket))[-1]["type"] == "response.completed"


async def test_a_continuation_that_fails_forgets_what_it_built_on(client: Any) -> None:
    async with client.websocket("/v1/responses") as socket:
        first = (await ask(socket, store=False))[-1]["response"]
        (error,) = await ask(socket, previous_response_id=first["id"], temperature=9)
        assert error["error"]["param"] == "temperature"
        (error,) = await ask(socket, previous_response_id=first["id"])
        assert error["error"]["code"] == "previous_response_not_found"


async def test_what_was_not_kept_is_kept_with_a_response_that_is(client: Any) -> None:
    async with client.websocket("/v1/responses") as socket:
        first = (await ask(socket, "one", store=False))[-1]["response"]
        second = (await ask(socket, "two", previous_response_id=first["id"]))[-1]["response"]
    url = f"/v1/responses/{second['id']}/input_items?order=asc"
    items = (await (await client.get(url)).get_json())["data"]
    assert [item["content"][0]["text"] for item in items] == ["one", "hello world", "two"]


@pytest.mark.parametrize(
    ("frame", "param"),
    [
        ({"type": "response.steer"}, "type"),
        ({"type": "response.create", "input": "x", "stream": True}, "stream"),
        ({"type": "response.create", "input": "x", "background": True}, "background"),
        ({"type": "response.create", "input": "x", "generate": False}, "generate"),
        (
            {"type": "response.create", "input": "x", "tools": [{"type": "web_search"}]},
            "tools[0].type",
        ),
    ],
)
async def test_what_cannot_be_is_an_error_and_the_connection_lives(
    client: Any, frame: dict[str, Any], param: str
) -> None:
    async with client.websocket("/v1/responses") as socket:
        await socket.send(json.dumps(frame))
        error = json.loads(await socket.receive())
        assert (error["type"], error["status"], error["error"]["param"]) == ("error", 400, param)
        await socket.send("no json")
        assert json.loads(await socket.receive())["error"]["code"] == "invalid_json"
        assert (await ask(socket))[-1]["type"] == "response.completed"


async def test_a_connection_ends_after_its_time(client: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("api.resources.responses_socket.LIMIT_S", 0.2)
    async with client.websocket("/v1/responses") as socket:
        error = json.loads(await socket.receive())
        assert error["error"]["code"] == "websocket_connection_limit_reached"


async def test_over_plain_http_there_is_nothing_to_get(client: Any) -> None:
    answer = await client.get("/v1/responses")
    assert 400 <= answer.status_code < 500
    assert (await answer.get_json())["error"]["message"]


async def test_a_connection_needs_a_key_where_there_are_keys(
    services_world: Any, storage: Any
) -> None:
    state = state_of(services_world.make_speaker("hello", api_keys=("secret",)).context)
    state.storage = storage
    client = create_app(state).test_client()
    with pytest.raises(WebsocketResponseError) as caught:
        async with client.websocket("/v1/responses") as socket:
            await ask(socket)
    assert caught.value.response.status_code == 401
    headers = {"authorization": "Bearer secret"}
    async with client.websocket("/v1/responses", headers=headers) as socket:
        assert (await ask(socket))[-1]["type"] in TERMINAL
