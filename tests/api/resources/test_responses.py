"""Responses and conversations over HTTP, as the official SDK asks for them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.app import create_app


@pytest.fixture
def client(storing_client: Any) -> Any:
    return storing_client


async def made(client: Any, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/responses", json={"input": "hi", **fields})
    assert answer.status_code == 200
    return await answer.get_json()


async def test_a_response_lives_from_post_to_delete(client: Any) -> None:
    response = await made(client)
    url = f"/v1/responses/{response['id']}"
    assert await (await client.get(url)).get_json() == response
    items = await (await client.get(f"{url}/input_items?limit=5&order=asc")).get_json()
    assert items["data"][0]["content"] == [{"type": "input_text", "text": "hi"}]
    assert (await (await client.delete(url)).get_json())["deleted"] is True
    gone = await client.get(url)
    assert gone.status_code == 404
    assert (await gone.get_json())["error"]["code"] == "not_found"


async def test_a_stream_is_read_again_over_http(client: Any) -> None:
    answer = await client.post("/v1/responses", json={"input": "hi", "stream": True})
    assert answer.mimetype == "text/event-stream"
    sent = await answer.get_data()
    first = json.loads(sent.split(b"\n")[1].removeprefix(b"data: "))
    url = f"/v1/responses/{first['response']['id']}?stream=true&starting_after=1"
    again = await (await client.get(url)).get_data()
    assert sent.endswith(again)
    assert again.startswith(b"event: response.output_item.added\n")


async def test_include_may_be_spelled_as_the_sdks_do(client: Any) -> None:
    response = await made(client)
    url = f"/v1/responses/{response['id']}"
    assert (await client.get(f"{url}?include[]=reasoning.encrypted_content")).status_code == 200
    wrong = await client.get(f"{url}?include[]=everything")
    assert wrong.status_code == 400
    assert (await wrong.get_json())["error"]["param"] == "include[0]"


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "order=up", "after=nothing"])
async def test_bad_cursors_are_400(client: Any, query: str) -> None:
    response = await made(client)
    answer = await client.get(f"/v1/responses/{response['id']}/input_items?{query}")
    assert answer.status_code == 400


async def test_tokens_are_counted_as_the_prompt_has_them(client: Any) -> None:
    fields = {"input": "hello there", "instructions": "Be short."}
    answer = await client.post("/v1/responses/input_tokens", json=fields)
    counted = await answer.get_json()
    used = (await made(client, **fields))["usage"]["input_tokens"]
    assert counted == {"object": "response.input_tokens", "input_tokens": used}


async def test_a_compaction_stands_for_the_conversation(client: Any) -> None:
    response = await made(client)
    body = {"previous_response_id": response["id"], "input": "more"}
    window = await (await client.post("/v1/responses/compact", json=body)).get_json()
    assert window["object"] == "response.compaction"
    users, (item,) = window["output"][:-1], window["output"][-1:]
    assert [user["content"][0]["text"] for user in users] == ["hi", "more"]
    assert item["type"] == "compaction"
    answer = await client.post("/v1/responses", json={"input": [*window["output"], *users[:1]]})
    assert answer.status_code == 200
    forged = item | {"encrypted_content": "svx1.AAAA"}
    refused = await client.post("/v1/responses", json={"input": [forged]})
    assert (await refused.get_json())["error"]["param"] == "input[0].encrypted_content"


@pytest.mark.parametrize("body", [{}, {"input": []}, {"instructions": "be brief"}], ids=str)
async def test_a_compaction_of_nothing_is_refused(client: Any, body: dict[str, Any]) -> None:
    refused = await client.post("/v1/responses/compact", json=body)
    error = (await refused.get_json())["error"]
    assert (refused.status_code, error["param"]) == (400, "input")


async def test_a_stream_is_read_again_in_the_dialect_that_its_body_asked_for(client: Any) -> None:
    body = {"input": "hi", "stream": True, "event_dialect": "seed"}
    sent = await (await client.post("/v1/responses", json=body)).get_data()
    response_id = json.loads(sent.split(b"\ndata: ")[1].partition(b"\n\n")[0])["response"]["id"]
    again = await client.get(f"/v1/responses/{response_id}?stream=true")
    assert await again.get_data() == sent
    openai = await client.get(
        f"/v1/responses/{response_id}?stream=true", headers={"X-Responses-Event-Dialect": "openai"}
    )
    assert await openai.get_data() != sent


async def test_unknown_fields_of_a_conversation_are_named(client: Any) -> None:
    item = {"role": "user", "content": "hi", "bar": 1}
    created = await client.post("/v1/conversations", json={"items": [item], "foo": 1})
    assert created.headers["warning"].endswith(': foo, items[0].bar"')
    url = f"/v1/conversations/{(await created.get_json())['id']}"
    changed = await client.post(url, json={"metadata": {}, "foo": 1})
    assert changed.headers["warning"].endswith(': foo"')


async def test_a_conversation_lives_from_post_to_delete(client: Any) -> None:
    item = {"role": "user", "content": "hello"}
    created = await client.post("/v1/conversations", json={"items": [item]})
    url = f"/v1/conversations/{(await created.get_json())['id']}"
    listing = await (await client.get(f"{url}/items")).get_json()
    one = f"{url}/items/{listing['data'][0]['id']}"
    assert (await (await client.get(one)).get_json())["role"] == "user"
    assert (await client.post(f"{url}/items", json={"items": [item]})).status_code == 200
    assert (await client.post(url, json={"metadata": {"a": "b"}})).status_code == 200
    assert (await client.delete(one)).status_code == 200
    assert (await (await client.delete(url)).get_json())["deleted"] is True
    assert (await client.get(url)).status_code == 404


async def test_without_storage_it_is_503_and_says_when_to_come_back(
    services_world: Any,
) -> None:
    client = create_app(services_world.make_speaker("hello").context).test_client()
    answer = await client.post("/v1/responses", json={"input": "hi"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (await client.get("/v1/conversations/conv_1")).status_code == 503
    kept = await client.post("/v1/responses", json={"input": "hi", "store": False})
    assert kept.status_code == 200
