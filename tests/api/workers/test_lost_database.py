"""PostgreSQL goes away in the middle of streams and comes back: they end with an error, and no job
is stuck."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import make_url, select

from api.settings import ServerSettings
from api.storage.database import Database
from api.storage.tables.responses import ResponseRow
from tests.api.workers.forked import Forge, ForkedServer, forging
from tests.api.workers.life import MODEL, RESPONSES, Life, Told

FEW = 4
"""Events, of many."""
SLOW_S = 0.03


class Line:
    """Between a server and its PostgreSQL. While it is cut connections are refused, as by one that
    was stopped."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: list[asyncio.StreamWriter] = []
        self._listening: asyncio.Server | None = None
        self.port = 0

    async def mend(self) -> None:
        self._listening = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listening.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._listening is not None
        self._listening.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, far_writer]
        await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    with forging() as forge:
        yield forge


@pytest.fixture
async def line(storage_settings: ServerSettings) -> AsyncGenerator[Line]:
    if not storage_settings.database_url:
        pytest.skip("needs SERVAX_TEST_POSTGRES")
    url = make_url(storage_settings.database_url)
    made = Line(url.host or "", url.port or 5432)
    await made.mend()
    yield made
    await made.cut()


@pytest.fixture
def settings(line: Line, storage_settings: ServerSettings) -> ServerSettings:
    """The storage, at the other end of the line."""
    url = make_url(storage_settings.database_url or "").set(port=line.port)
    return dataclasses.replace(
        storage_settings, database_url=url.render_as_string(hide_password=False)
    )


async def streamed_until_cut(server: ForkedServer, line: Line, **body: Any) -> list[bytes]:
    """The events of a response whose database goes away after a few."""
    blocks: list[bytes] = []
    body = MODEL | {"input": "four", "stream": True} | body
    async with server.client.stream("POST", RESPONSES, json=body) as answer:
        rest = b""
        async for piece in answer.aiter_raw():
            *ready, rest = (rest + piece).split(b"\n\n")
            if len(blocks) < FEW <= len(blocks) + len(ready):
                await line.cut()
            blocks += ready
    return blocks


def read(block: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(block.partition(b"data: ")[2])
    return event


async def until_nothing_is_open(settings: ServerSettings) -> list[str]:
    """How the responses ended."""
    database = Database.open(settings.database_url or "")
    async with asyncio.timeout(20):
        while True:
            async with database.reading() as session:
                rows = (await session.scalars(select(ResponseRow))).all()
            if not any(row.is_open for row in rows):
                break
            await asyncio.sleep(0.05)
    await database.close()
    return [row.status for row in rows]


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_stream_ends_as_failed_and_is_failed_for_good(
    forge, storage_settings, settings, line, is_killed
):
    async with forge.serving(settings, step_s=SLOW_S) as server:
        await Life(server, Told()).ask("GET", "/v1/files")
        *_, error, end, done = await streamed_until_cut(server, line)
        assert done == b"data: [DONE]"
        assert read(error) | {"sequence_number": 0} == {
            "type": "error", "sequence_number": 0, "code": "storage_unavailable",
            "message": "The server's storage is not available now.", "param": None,
        }  # fmt: skip
        response = read(end)["response"]
        assert (read(end)["type"], response["error"]["code"]) == ("response.failed", "server_error")
        refused = await server.client.get(f"{RESPONSES}/{response['id']}")
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        if is_killed:
            server.kill()
        await line.mend()
        if not is_killed:
            assert await until_nothing_is_open(storage_settings) == ["failed"]
    async with forge.serving(settings) as server:
        assert await until_nothing_is_open(storage_settings) == ["failed"]
        stream = await Life(server, Told()).follow(
            "GET", f"{RESPONSES}/{response['id']}?stream=true"
        )
        assert (stream.last, stream.is_done) == ("response.failed", True)


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_background_response_is_made_when_the_database_is_back(
    forge, storage_settings, settings, line, is_killed
):
    async with forge.serving(settings, step_s=SLOW_S) as server:
        await Life(server, Told()).ask("GET", "/v1/files")
        *told, error, done = await streamed_until_cut(server, line, background=True)
        assert done == b"data: [DONE]"
        assert (read(error)["type"], read(error)["code"]) == ("error", "storage_unavailable")
        last = read(told[-1])["sequence_number"]
        assert read(error)["sequence_number"] == last
        if is_killed:
            server.kill()
        await line.mend()
        if not is_killed:
            assert await until_nothing_is_open(storage_settings) == ["completed"]
    async with forge.serving(settings) as server:
        assert await until_nothing_is_open(storage_settings) == ["completed"]
        path = f"{RESPONSES}/{read(told[0])['response']['id']}?stream=true"
        whole = await Life(server, Told()).follow("GET", path)
        assert list(whole.blocks.values())[: len(told)] == told
        rest = await Life(server, Told()).follow("GET", f"{path}&starting_after={last}")
        assert list(rest.blocks.values()) == list(whole.blocks.values())[len(told) :]
        assert (rest.last, rest.is_done) == ("response.completed", True)
