"""`kill -9` at named and random points, and of one of two replicas: nothing acknowledged is lost,
and nothing is there twice. The processes and their storage are real."""

from __future__ import annotations

import asyncio
import json
import pathlib
import re
import sys
import time
from contextlib import asynccontextmanager

import httpx
import pytest

SERVER = pathlib.Path(__file__).with_name("batch_server.py")
CHAT = "/v1/chat/completions"
NUM_LINES = 40

POINTS = [
    ("line done", 3),
    ("line done", 30),
    ("before write", 1),
    ("before write", 2),
    ("before commit", 3),
    ("before commit", 4),
    ("after commit", 1),
    ("after commit", 3),
    ("before blob", 2),
    ("after blob", 2),
    ("before end", 1),
    ("after end", 1),
]
"""The first transactions of a job are its validation; the first blob and file are the upload."""


def batch_input(name="line"):
    return b"".join(
        json.dumps(
            {
                "custom_id": f"{name}-{index}",
                "method": "POST",
                "url": CHAT,
                "body": {
                    "model": "test-model",
                    "messages": [{"role": "user", "content": f"{index}"}],
                    "max_tokens": 4,
                },
            }
        ).encode()
        + b"\n"
        for index in range(NUM_LINES)
    )


class Server:
    """A process and its address."""

    def __init__(self, process, url):
        self.process = process
        self.client = httpx.AsyncClient(base_url=url, timeout=30)
        self.draining = asyncio.create_task(process.stderr.read())

    async def upload(self, data):
        files = {"file": ("in.jsonl", data)}
        return (await self._json("POST", "/v1/files", data={"purpose": "batch"}, files=files))["id"]

    async def create(self, file_id):
        body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
        return (await self._json("POST", "/v1/batches", json=body))["id"]

    async def retrieve(self, batch_id):
        return await self._json("GET", f"/v1/batches/{batch_id}")

    async def content(self, file_id):
        return (await self._answer("GET", f"/v1/files/{file_id}/content")).content

    async def ended(self, batch_id, timeout_s=60):
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            batch = await self.retrieve(batch_id)
            if batch["status"] in {"completed", "failed", "expired", "cancelled"}:
                return batch
            await asyncio.sleep(0.05)
        raise AssertionError(batch)

    async def _json(self, method, path, **options):
        return (await self._answer(method, path, **options)).json()

    async def _answer(self, method, path, **options):
        """Tried again while storage is being opened."""
        for _ in range(400):
            answer = await self.client.request(method, path, **options)
            if answer.status_code != 503:
                break
            await asyncio.sleep(0.05)
        return answer.raise_for_status()


@asynccontextmanager
async def serving(settings, point="", number=0):
    arguments = (settings.data_dir, settings.database_url, point, str(number))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), *arguments, stderr=asyncio.subprocess.PIPE
    )
    log = ""
    async with asyncio.timeout(120):
        while not (match := re.search(r"listening on (http://[\d.:]+)/v1", log)):
            line = await process.stderr.readline()
            assert line or point, log
            if not line:
                break
            log += line.decode()
    server = Server(process, match.group(1) if match else "http://127.0.0.1:1")
    try:
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await server.client.aclose()
        await server.draining


async def use_until_it_dies(server, data):
    """Upload and create; what was acknowledged. The server may be killed at any time."""
    file_id = batch_id = None
    try:
        file_id = await server.upload(data)
        batch_id = await server.create(file_id)
        await server.ended(batch_id, 30)
    except (httpx.HTTPError, AssertionError):
        pass
    return file_id, batch_id


async def verify(server, data, file_id, batch_id):
    """What was acknowledged is there; lines have one result each."""
    if file_id is None:
        return
    assert await server.content(file_id) == data
    batch_id = batch_id or await server.create(file_id)
    batch = await server.ended(batch_id)
    assert batch["status"] == "completed", batch
    assert batch["request_counts"] == {
        "total": NUM_LINES, "completed": NUM_LINES, "failed": 0}  # fmt: skip
    results = [
        json.loads(line) for line in (await server.content(batch["output_file_id"])).splitlines()
    ]
    assert [each["custom_id"] for each in results] == [f"line-{i}" for i in range(NUM_LINES)]
    for each in results:
        message = each["response"]["body"]["choices"][0]["message"]
        assert message["content"].startswith("hello")


async def kill_and_verify(settings, point, number):
    data = batch_input()
    async with serving(settings, point, number) as server:
        file_id, batch_id = await use_until_it_dies(server, data)
        if point != "random":
            async with asyncio.timeout(30):
                assert await server.process.wait() == -9, f"it was not killed at {point}"
    async with serving(settings) as server:
        await verify(server, data, file_id, batch_id)


@pytest.mark.parametrize(("point", "number"), [POINTS[5]])
async def test_a_server_killed_at_a_named_point_loses_and_repeats_nothing(
    storage_settings, point, number
):
    await kill_and_verify(storage_settings, point, number)


@pytest.mark.slow
@pytest.mark.parametrize(("point", "number"), POINTS)
async def test_a_server_killed_at_any_named_point_loses_and_repeats_nothing(
    storage_settings, point, number
):
    await kill_and_verify(storage_settings, point, number)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
async def test_a_server_killed_at_a_random_time_loses_and_repeats_nothing(storage_settings, seed):
    await kill_and_verify(storage_settings, "random", seed)


async def test_what_a_killed_replica_ran_is_finished_by_the_other(storage_settings):
    data = batch_input()
    async with serving(storage_settings) as one, serving(storage_settings, "line done", 25) as two:
        file_id = await one.upload(data)
        batch_ids = [await one.create(file_id) for _ in range(8)]
        async with asyncio.timeout(60):
            assert await two.process.wait() == -9
        for batch_id in batch_ids:
            await verify(one, data, file_id, batch_id)
