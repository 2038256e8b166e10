"""Chat completions that are kept, over HTTP."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.app import create_app, state_of
from api.keys.tenant import Tenant
from api.storage.errors import StorageError

USER = [{"role": "user", "content": "hi"}]


@pytest.fixture
def state(services_world: Any, storage: Any) -> Any:
    speaker = services_world.make_speaker("hello world", "hello there")
    speaker.engine.info = msgspec.structs.replace(speaker.engine.info, max_model_len=1024)
    speaker.engine.ends_with_eos = True
    made = state_of(speaker.context)
    made.storage = storage
    return made


@pytest.fixture
def client(state: Any) -> Any:
    return create_app(state).test_client()


async def asked(client: Any, **fields: Any) -> dict[str, Any]:
    body = {"messages": USER, "store": True, **fields}
    return await (await client.post("/v1/chat/completions", json=body)).get_json()


async def got(client: Any, path: str, status: int = 200) -> dict[str, Any]:
    answer = await client.get(path)
    assert answer.status_code == status
    return await answer.get_json()


async def test_a_completion_lives_from_post_to_delete(client: Any) -> None:
    made = await asked(client, metadata={"a": "1"}, n=2)
    url = f"/v1/chat/completions/{made['id']}"
    assert await got(client, url) == made
    assert len(made["choices"]) == 2
    changed = await (await client.post(url, json={"metadata": {"b": "2"}})).get_json()
    assert changed == made | {"metadata": {"b": "2"}} == await got(client, url)
    deleted = await (await client.delete(url)).get_json()
    assert deleted == {"object": "chat.completion.deleted", "id": made["id"], "deleted": True}
    await got(client, url, 404)
    assert (await got(client, "/v1/chat/completions"))["data"] == []


async def test_a_streamed_completion_is_kept_as_if_it_were_not_streamed(client: Any) -> None:
    whole = await asked(client, logprobs=True)
    body = {"messages": USER, "store": True, "stream": True, "logprobs": True}
    sent = await (await client.post("/v1/chat/completions", json=body)).get_data()
    assert sent.endswith(b"data: [DONE]\n\n")
    first, second = (await got(client, "/v1/chat/completions?order=desc"))["data"]
    assert second["id"] == whole["id"]
    changing = {"id", "created", "metadata"}
    kept = {name: value for name, value in first.items() if name not in changing}
    assert kept == {name: value for name, value in whole.items() if name not in changing}


async def test_its_end_is_not_told_if_it_cannot_be_kept(
    client: Any, state: Any, monkeypatch: Any
) -> None:
    def fail() -> Any:
        raise StorageError

    monkeypatch.setattr(state.storage.database, "writing", fail)
    body = {"messages": USER, "store": True}
    assert (await client.post("/v1/chat/completions", json=body)).status_code == 503
    sent = await (
        await client.post("/v1/chat/completions", json=body | {"stream": True})
    ).get_data()
    assert b"storage_unavailable" in sent
    assert b'"finish_reason":"stop"' not in sent
    state.storage = None
    assert (await client.post("/v1/chat/completions", json=body)).status_code == 503
    assert (await client.post("/v1/chat/completions", json={"messages": USER})).status_code == 200


async def test_the_list_is_paged_and_filtered(client: Any) -> None:
    made = [await asked(client, metadata={"n": str(i), "all": "yes"}) for i in range(5)]
    await (await client.post("/v1/chat/completions", json={"messages": USER})).get_json()
    ids = [each["id"] for each in made]
    page = await got(client, "/v1/chat/completions?limit=2")
    assert [each["id"] for each in page["data"]] == ids[:2]
    assert page["has_more"] is True
    rest = await got(client, f"/v1/chat/completions?limit=9&after={page['last_id']}")
    assert [each["id"] for each in rest["data"]] == ids[2:]
    found = await got(client, "/v1/chat/completions?metadata[n]=3&metadata[all]=yes")
    assert [each["id"] for each in found["data"]] == [ids[3]]
    assert (await got(client, "/v1/chat/completions?metadata[n]=9"))["data"] == []
    assert (await got(client, "/v1/chat/completions?model=other"))["data"] == []
    assert len((await got(client, "/v1/chat/completions?model=test-model"))["data"]) == 5


async def test_the_messages_are_listed(client: Any) -> None:
    parts = [{"type": "text", "text": "hi"}]
    messages = [{"role": "system", "content": "Short."}, {"role": "user", "content": parts}]
    made = await asked(client, messages=messages)
    url = f"/v1/chat/completions/{made['id']}/messages"
    first, second = (await got(client, url))["data"]
    assert (first["role"], first["content"], first["content_parts"]) == ("system", "Short.", None)
    assert second["content"] is None
    assert second["content_parts"] == parts
    page = await got(client, f"{url}?limit=1&after={first['id']}")
    assert [message["id"] for message in page["data"]] == [second["id"]]


async def test_the_same_request_id_twice_makes_two(client: Any) -> None:
    headers = {"x-request-id": "abc"}
    body = {"messages": USER, "store": True}
    for _ in range(2):
        answer = await client.post("/v1/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200
    assert len((await got(client, "/v1/chat/completions"))["data"]) == 2


@pytest.mark.parametrize(
    "query", ["metadata=5", "metadata[]=1", "metadata[a=1", "metadata[a][b]=1"]
)
async def test_a_filter_written_otherwise_is_400(client: Any, query: str) -> None:
    answer = await got(client, f"/v1/chat/completions?{query}", 400)
    assert answer["error"]["param"] == "metadata"


async def test_unknown_parameters_are_named_and_filters_are_known(client: Any) -> None:
    url = "/v1/chat/completions?metadata[a]=1&api-version=1"
    assert "warning" not in (await client.get(url)).headers
    assert (await client.get(f"{url}&foo=1")).headers["warning"].endswith(': foo"')
    made = await asked(client)
    body = {"metadata": {}, "foo": 1}
    changed = await client.post(f"/v1/chat/completions/{made['id']}", json=body)
    assert changed.headers["warning"].endswith(': foo"')


async def test_nobody_else_sees_a_completion(client: Any, state: Any, monkeypatch: Any) -> None:
    made = await asked(client, metadata={"a": "1"})
    url = f"/v1/chat/completions/{made['id']}"
    monkeypatch.setattr("api.context.caller", lambda: Tenant(project_id="proj_other"))
    await got(client, url, 404)
    await got(client, f"{url}/messages", 404)
    assert (await client.post(url, json={"metadata": {}})).status_code == 404
    assert (await client.delete(url)).status_code == 404
    assert (await got(client, "/v1/chat/completions?metadata[a]=1"))["data"] == []
    monkeypatch.undo()
    assert await got(client, url) == made


@pytest.mark.parametrize(
    "query", ["limit=0", "order=up", "after=%00", "metadata[a]=1&metadata[a]=2"]
)
async def test_bad_queries_are_400(client: Any, query: str) -> None:
    await got(client, f"/v1/chat/completions?{query}", 400)


async def test_a_cursor_that_is_no_id_is_refused(client: Any) -> None:
    answer = await got(client, "/v1/chat/completions?after=zzz", 400)
    assert answer["error"]["param"] == "after"
