"""openai-python on files, uploads and batches of a real server."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator

import openai
import pytest


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server}/v1", api_key="unused", max_retries=0) as made:
        yield made


def test_files_are_uploaded_walked_read_and_deleted(client: openai.OpenAI) -> None:
    made = [
        client.files.create(file=(f"{index}.txt", b"x" * index), purpose="user_data")
        for index in range(5)
    ]
    ids = [file.id for file in made]
    assert client.files.retrieve(ids[2]).bytes == 2
    assert client.files.content(ids[4]).read() == b"xxxx"
    walked = [file.id for file in client.files.list(purpose="user_data", limit=2, order="asc")]
    assert [file_id for file_id in walked if file_id in ids] == ids
    for file in client.files.list(purpose="user_data", limit=2):
        assert client.files.delete(file.id).deleted
    assert client.files.list(purpose="user_data").data == []
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(ids[0])
    kept = client.files.create(
        file=b"x", purpose="assistants", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert kept.expires_at == kept.created_at + 3600


def test_an_upload_in_parts_becomes_a_file(client: openai.OpenAI) -> None:
    data = bytes(range(256)) * 4096
    upload = client.uploads.create(
        bytes=len(data), filename="a.jsonl", mime_type="application/jsonl", purpose="batch"
    )
    parts = [
        client.uploads.parts.create(upload.id, data=data[start : start + 2**19]).id
        for start in range(0, len(data), 2**19)
    ]
    done = client.uploads.complete(upload.id, part_ids=parts, md5=hashlib.md5(data).hexdigest())
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).read() == data
    chunked = client.uploads.upload_file_chunked(
        file=data, filename="b.jsonl", bytes=len(data), mime_type="application/jsonl",
        purpose="batch", part_size=300_000,
    )  # fmt: skip
    assert chunked.file is not None
    assert client.files.content(chunked.file.id).read() == data
    other = client.uploads.create(
        bytes=1, filename="c", mime_type="text/plain", purpose="user_data"
    )
    assert client.uploads.cancel(other.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(other.id, data=b"x")


def test_a_batch_answers_what_the_endpoint_answers(client: openai.OpenAI) -> None:
    model = client.models.list().data[0].id
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "What is servax?"}],
        "temperature": 0,
        "max_tokens": 16,
    }
    answer = client.chat.completions.create(**body)
    lines = [
        {"custom_id": f"line-{index}", "method": "POST", "url": "/v1/chat/completions",
         "body": body if index else {**body, "temperature": 9}}
        for index in range(8)
    ]  # fmt: skip
    data = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h",
        metadata={"who": "me"},
    )  # fmt: skip
    deadline_s = time.monotonic() + 120
    while batch.status not in {"completed", "failed"} and time.monotonic() < deadline_s:
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    assert batch.request_counts is not None
    assert (batch.request_counts.completed, batch.request_counts.failed) == (7, 1)
    assert batch.id in [each.id for each in client.batches.list(limit=1)]
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    results = [
        json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()
    ]
    assert [each["custom_id"] for each in results] == [f"line-{index}" for index in range(1, 8)]
    for each in results:
        message = each["response"]["body"]["choices"][0]["message"]
        assert message["content"] == answer.choices[0].message.content
    [refused] = client.files.content(batch.error_file_id).text.splitlines()
    assert json.loads(refused)["response"]["body"]["error"]["param"] == "temperature"
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)
