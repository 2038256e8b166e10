"""A request with an `Idempotency-Key` whose server died between what it kept and its answer: the
next attempt finds what there is."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from quart.datastructures import FileStorage
from sqlalchemy import func, select, update

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
CASES = [
    ("/v1/chat/completions", CHAT | {"metadata": {"a": "b"}}, ChatCompletionRow),
    ("/v1/chat/completions", CHAT | {"stream": True}, ChatCompletionRow),
    ("/v1/responses", {"input": "hi"}, ResponseRow),
    ("/v1/responses", {"input": "hi", "stream": True}, ResponseRow),
    ("/v1/responses", {"input": "hi", "background": True}, ResponseRow),
    ("/v1/conversations", {"items": [USER]}, ConversationRow),
    ("/v1/uploads", UPLOAD, UploadRow),
    ("/v1/batches", {"endpoint": LINE["url"], "completion_window": "24h"}, BatchRow),
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


def id_in(data: bytes) -> str:
    return data.partition(b'"id":"')[2].partition(b'"')[0].decode()


@pytest.mark.parametrize(("path", "body", "table"), CASES)
async def test_there_is_one_thing_whose_id_both_attempts_tell(client, storage, path, body, table):
    if path == "/v1/batches":
        files = {"file": FileStorage(io.BytesIO(json.dumps(LINE).encode()), filename="a.jsonl")}
        file = await client.post("/v1/files", form={"purpose": "batch"}, files=files)
        body = body | {"input_file_id": (await file.get_json())["id"]}
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
