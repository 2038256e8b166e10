"""Blobs in stores of clouds. S3 is spoken with a server that checks signatures, parts and ranges;
of GCS and Azure the requests are looked at."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from quart.datastructures import FileStorage

from api.app import create_app, make_state
from api.settings import ServerSettings
from api.storage.blobs import PART_BYTES, BlobStore, open_blobs, verify_blob_url
from api.storage.errors import StorageError
from api.storage.store import Storage
from engine.errors import SetupError
from tests.api.storage.s3_server import ACCESS_KEY, REGION, S3, SECRET_KEY, s3_serving

NOWHERE = Path("/nowhere")
URL = "s3://bucket/pre/fix"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with s3_serving() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_REGION", REGION)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        yield server


@pytest.fixture
def blobs(s3: S3) -> BlobStore:
    return open_blobs(URL, NOWHERE)


async def parts(*pieces: bytes, fault: Exception | None = None) -> Any:
    for piece in pieces:
        yield piece
    if fault is not None:
        raise fault


async def read(blobs: BlobStore, key: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in blobs.read(key, start, end)])


async def test_a_blob_goes_to_s3_in_parts_and_comes_back_in_ranges(s3, blobs):
    data = bytes(range(256)) * (5 * PART_BYTES // 512)
    pieces = [data[start : start + 1_000_003] for start in range(0, len(data), 1_000_003)]
    assert await blobs.write("files/a", parts(*pieces)) == len(data)
    assert s3.objects == {"pre/fix/files/a": data}
    assert sum("partNumber" in each for each in s3.asked) == 3
    assert await read(blobs, "files/a", 0, len(data)) == data
    assert await read(blobs, "files/a", 999_999, 1_000_010) == data[999_999:1_000_010]


async def test_an_empty_blob_is_one_in_s3_too(s3, blobs):
    assert await blobs.write("files/a", parts()) == 0
    assert s3.objects == {"pre/fix/files/a": b""}
    assert await read(blobs, "files/a", 0, 0) == b""


async def test_a_write_to_s3_that_fails_leaves_nothing_and_raises_what_failed(s3, blobs):
    with pytest.raises(KeyError, match="mine"):
        await blobs.write("files/a", parts(b"x" * 2 * PART_BYTES, fault=KeyError("mine")))
    assert s3.objects == {}
    async with asyncio.timeout(5):
        while s3.uploads:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_blob_is_deleted_from_s3_and_may_be_gone_before(s3, blobs):
    await blobs.write("files/a", parts(b"x"))
    await blobs.delete("files/a")
    await blobs.delete("files/a")
    assert s3.objects == {}


async def test_a_blob_that_s3_does_not_have_is_a_typed_error(blobs):
    with pytest.raises(StorageError):
        await read(blobs, "files/a", 0, 1)


async def test_a_moment_of_failures_of_s3_is_passed_over(s3, blobs):
    s3.num_failures = 2
    await blobs.write("files/a", parts(b"x"))
    assert s3.objects == {"pre/fix/files/a": b"x"}


async def test_a_store_that_does_not_answer_is_given_up_while_clients_still_wait(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    start_s = time.monotonic()
    with pytest.raises(StorageError):
        await open_blobs(URL, NOWHERE).write("files/a", parts(b"x"))
    assert time.monotonic() - start_s < 20


async def test_wrong_credentials_are_503_on_the_routes_of_files_and_a_line_in_the_log(
    s3, storage, monkeypatch, caplog
):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    state = make_state(ServerSettings(), "m")
    state.take_storage(Storage(storage.database, open_blobs(URL, NOWHERE)))
    client = create_app(state).test_client()
    answer = await client.post(
        "/v1/files",
        form={"purpose": "user_data"},
        files={"file": FileStorage(io.BytesIO(b"x"), filename="a")},
    )
    assert answer.status_code == 503
    error = (await answer.get_json())["error"]
    assert error["code"] == "storage_unavailable"
    assert "403" not in error["message"]
    assert answer.headers["retry-after"]
    assert (await client.get("/v1/files")).status_code == 200
    faults = [record.getMessage() for record in caplog.records if record.name == "servax.storage"]
    assert faults
    assert all("SignatureDoesNotMatch" in fault and "\n" not in fault for fault in faults)


async def asked(s3: S3, url: str) -> str:
    """What a store is asked for when a blob is read; this one has nothing."""
    with pytest.raises(StorageError):
        await read(open_blobs(url, NOWHERE), "files/a", 0, 1)
    return s3.asked[-1]


@pytest.mark.parametrize(
    "url", ["az://container/pre/fix", "abfs://container@account.dfs.core.windows.net/pre/fix"]
)
async def test_azure_is_asked_for_container_and_prefix(s3, monkeypatch, url):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "YWJj")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", s3.url)
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    assert await asked(s3, url) == "GET /container/pre/fix/files/a"


async def test_gcs_is_asked_for_bucket_and_prefix(s3, monkeypatch):
    account = {"gcs_base_url": s3.url, "disable_oauth": True, "client_email": "", "private_key": "",
               "private_key_id": ""}  # fmt: skip
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account))
    assert await asked(s3, "gs://bucket/pre/fix") == "GET /bucket/pre%2Ffix%2Ffiles%2Fa"


@pytest.mark.parametrize(
    ("url", "variables", "says"),
    [
        ("az://container", {}, "Account must be specified"),
        ("gs://bucket", {"GOOGLE_SERVICE_ACCOUNT": "/nowhere"}, "/nowhere"),
        ("gs://bucket", {"GOOGLE_SERVICE_ACCOUNT_KEY": "no json"}, "--blob-url"),
    ],
)
def test_a_store_that_cannot_be_is_refused_at_start_in_one_line(monkeypatch, url, variables, says):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupError) as found:
        verify_blob_url(url)
    assert says in str(found.value)
    assert "\n" not in str(found.value)
