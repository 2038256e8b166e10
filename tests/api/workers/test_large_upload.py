"""A gigabyte goes through the server without staying in it."""

from __future__ import annotations

import asyncio
import hashlib
import pathlib
import re

import httpx
import pytest

from api.settings import ServerSettings
from tests.api.workers.forked import forging

NUM_BYTES = 2**30
MAX_GROWTH_BYTES = 64 * 2**20
BOUNDARY = b"boundary-of-the-test"
HEAD = (
    b"--" + BOUNDARY + b'\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b"--" + BOUNDARY + b'\r\ncontent-disposition: form-data; name="file"; filename="big"\r\n\r\n'
)
TAIL = b"\r\n--" + BOUNDARY + b"--\r\n"


def resident_bytes(pid: int, name: str) -> int:
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(pid: int) -> None:
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


async def until_storage_is_open(port):
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        while (await client.get("/v1/files")).status_code != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def read_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), int(re.search(rb"content-length: (\d+)", head.lower())[1])


async def send_and_receive(process_id, port):
    await until_storage_is_open(port)
    before = resident_bytes(process_id, "VmRSS")
    forget_peak(process_id)
    block = bytes(range(256)) * 4096
    sent = hashlib.sha256()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    length = len(HEAD) + NUM_BYTES + len(TAIL)
    writer.write(
        b"POST /v1/files HTTP/1.1\r\nhost: t\r\ncontent-type: multipart/form-data; boundary="
        + BOUNDARY + b"\r\ncontent-length: %d\r\n\r\n" % length + HEAD
    )  # fmt: skip
    for _ in range(NUM_BYTES // len(block)):
        writer.write(block)
        sent.update(block)
        await writer.drain()
    writer.write(TAIL)
    status, size = await read_head(reader)
    body = await reader.readexactly(size)
    assert status == 200, body
    file_id = re.search(rb'"id":"([^"]+)"', body)[1]
    writer.write(b"GET /v1/files/" + file_id + b"/content HTTP/1.1\r\nhost: t\r\n\r\n")
    status, size = await read_head(reader)
    assert (status, size) == (200, NUM_BYTES)
    received = hashlib.sha256()
    while size:
        piece = await reader.read(min(size, 2**20))
        received.update(piece)
        size -= len(piece)
    writer.close()
    growth = resident_bytes(process_id, "VmHWM") - before
    print(f"peak growth {growth / 2**20:.1f} MiB over {before / 2**20:.1f} MiB")
    assert received.digest() == sent.digest()
    assert growth < MAX_GROWTH_BYTES


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_memory_grows_by_less_than_64_mib_while_1_gib_comes_and_goes(tmp_path):
    settings = ServerSettings(data_dir=str(tmp_path))
    with forging() as forge:
        async with forge.serving(settings) as server:
            await send_and_receive(server.process_id, server.client.base_url.port)
