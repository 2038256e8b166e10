"""A request with an `Idempotency-Key` whose server died between what it kept and its answer: the
next attempt finds what there is."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from quart.datastructures import FileStorage
from sqlalchemy import func, select, update

from api.context import EXTENSION
from api.services.access import idempotency as service
from api.storage.tables.batches import BatchRow
from api.storage.tables.chat_completions import ChatCompletionRow
from api.storage.tables.idempotency import IdempotencyRow
from api.storage.tables.responses import ConversationRow, ResponseRow
from api.storage.tables.uploads import UploadRow

USER = {"role": "user", "content": "hi"}
CHAT = {"messages": [USER], "store": True}
UPLOAD = {"filename": "f", "purpose": "user_data", "bytes": 1, "mime_type": "text/plain"}
LINE = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions",
        "body": {"model": "test-model", "messages": [USER]}}  # fmt: skip
BATCH = {"endpoint": LINE["url"], "completion_window": "24h"}
CASES = [
    ("/v1/chat/completions", CHAT | {"metadata": {"a": "b"}}, ChatCompletionRow),
    ("/v1/chat/completions", CHAT | {"stream": True}, ChatCompletionRow),
    ("/v1/responses", {"input": "hi"}, ResponseRow),
    ("/v1/responses", {"input": "hi", "stream": True}, ResponseRow),
    ("/v1/responses", {"input": "hi", "background": True}, ResponseRow),
    ("/v1/conversations", {"items": [USER]}, ConversationRow),
    ("/v1/uploads", UPLOAD, UploadRow),
    ("/v1/batches", BATCH, BatchRow),
]


@pytest.fixture
def client(storing_client: Any) -> Any:
    return storing_client


async def send(client: Any, path: str, body: Any) -> bytes:
    answer = await client.post(path, json=body, headers={"idempotency-key": "k"})
    data: bytes = await answer.get_data(as_text=False)
    assert answer.status_code == 200, data
    assert "idempotent-replayed" not in answer.headers
    return data


async def lose_the_answer(storage: Any) -> None:
    """As if the server had died before it was kept, and its lease had run out."""
    async with storage.database.writing() as session:
        await session.execute(update(IdempotencyRow).values(owner="dead", lease_until_ms=0))


async def batch_file(client: Any) -> str:
    files = {"file": FileStorage(io.BytesIO(json.dumps(LINE).encode()), filename="a.jsonl")}
    file = await client.post("/v1/files", form={"purpose": "batch"}, files=files)
    return (await file.get_json())["id"]


def id_in(data: bytes) -> str:
    return data.partition(b'"id":"')[2].partition(b'"')[0].decode()


@pytest.mark.parametrize(("path", "body", "table"), CASES)
async def test_there_is_one_thing_whose_id_both_attempts_tell(client, storage, path, body, table):
    if path == "/v1/batches":
        body = body | {"input_file_id": await batch_file(client)}
    first = await send(client, path, body)
    await lose_the_answer(storage)
    second = await send(client, path, body)
    assert id_in(first) == id_in(second) != ""
    if table is ResponseRow or path == "/v1/conversations":
        assert first == second
    async with storage.database.reading() as session:
        assert await session.scalar(select(func.count()).select_from(table)) == 1


async def test_another_request_after_a_lost_one_makes_something_else(client, storage):
    first = await send(client, "/v1/conversations", {"items": [USER]})
    await lose_the_answer(storage)
    assert id_in(await send(client, "/v1/conversations", {})) != id_in(first)


async def test_a_response_that_failed_makes_room_for_the_next_attempt(client, storage):
    first = await send(client, "/v1/responses", {"input": "hi", "stream": True})
    await lose_the_answer(storage)
    async with storage.database.writing() as session:
        await session.execute(update(ResponseRow).values(status="failed"))
    again = await send(client, "/v1/responses", {"input": "hi", "stream": True})
    assert id_in(first) == id_in(again)
    assert b"response.completed" in again


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages", "/v1/chat/completions"])
async def test_a_stream_that_failed_is_carried_out_again(client, path):
    engine = client.app.extensions[EXTENSION].context.engine
    engine.failure, engine.failure_after = RuntimeError("secret"), 1
    asked = {"model": "test-model", "input": "hi"}
    if path != "/v1/responses":
        asked = {"model": "test-model", "messages": [USER], "max_tokens": 9}
    assert b"error" in await send(client, path, asked | {"stream": True})
    engine.failure = None
    assert b"error\n" not in await send(client, path, asked | {"stream": True})


@pytest.fixture
def killed_before_the_end(monkeypatch):
    """Whoever answers dies when the work is committed, before the answer is kept by itself."""

    async def die(claim, answer):
        await claim._end()

    monkeypatch.setattr(service.Claim, "complete", die)


async def attempts(client, path, body):
    """What two attempts get."""
    headers = {"idempotency-key": "k"}
    answers = [await client.post(path, json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotent-replayed"] == "true"
    return [await answer.get_data(as_text=False) for answer in answers]


@pytest.mark.usefixtures("killed_before_the_end")
async def test_items_are_added_to_a_conversation_once(client):
    made = await (await client.post("/v1/conversations", json={})).get_json()
    path = f"/v1/conversations/{made['id']}/items"
    first, second = await attempts(client, path, {"items": [USER, USER]})
    assert first == second
    assert json.loads(first)["data"] == (await (await client.get(path)).get_json())["data"][::-1]


@pytest.mark.usefixtures("killed_before_the_end")
@pytest.mark.parametrize("end", ["complete", "cancel"])
async def test_an_upload_ends_once(client, end):
    upload = await (await client.post("/v1/uploads", json=UPLOAD)).get_json()
    path = f"/v1/uploads/{upload['id']}"
    files = {"data": FileStorage(io.BytesIO(b"x"), filename="part")}
    part = await (await client.post(f"{path}/parts", files=files, form={})).get_json()
    body = {"part_ids": [part["id"]]} if end == "complete" else {}
    first, second = await attempts(client, f"{path}/{end}", body)
    assert first == second
    listed = (await (await client.get("/v1/files")).get_json())["data"]
    assert listed == [file for file in [json.loads(first)["file"]] if file]


@pytest.mark.usefixtures("killed_before_the_end")
async def test_a_batch_is_cancelled_once(client):
    body = BATCH | {"input_file_id": await batch_file(client)}
    batch = await (await client.post("/v1/batches", json=body)).get_json()
    path = f"/v1/batches/{batch['id']}/cancel"
    first, second = await attempts(client, path, {})
    assert first == second


async def test_what_lost_its_key_to_another_attempt_changes_nothing(client, storage, monkeypatch):
    made = await (await client.post("/v1/conversations", json={})).get_json()
    path = f"/v1/conversations/{made['id']}/items"
    original = service.Claim.answered

    async def late(claim, session, answer):
        await session.execute(update(IdempotencyRow).values(owner="the other attempt"))
        await original(claim, session, answer)

    monkeypatch.setattr(service.Claim, "answered", late)
    answer = await client.post(path, json={"items": [USER]}, headers={"idempotency-key": "k"})
    assert answer.status_code == 409
    assert (await (await client.get(path)).get_json())["data"] == []


async def test_an_answer_kept_with_the_work_names_unknown_fields_as_the_first_did(client):
    made = await (await client.post("/v1/conversations", json={})).get_json()
    path = f"/v1/conversations/{made['id']}/items"
    body, headers = {"items": [USER], "unheard": 1}, {"idempotency-key": "k"}
    first, second = [await client.post(path, json=body, headers=headers) for _ in range(2)]
    assert "unheard" in first.headers["warning"]
    assert second.headers["warning"] == first.headers["warning"]
    assert second.headers["idempotent-replayed"] == "true"
