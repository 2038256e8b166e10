"""A real process with real signals; the engine in it is scripted."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pathlib
import re
import signal
import sys
from contextlib import asynccontextmanager

import httpx
import pytest

from api.serve import keep_what_is_loaded

SERVER = pathlib.Path(__file__).with_name("scripted_server.py")
TEXT = "".join(f"data: {index}\n\n" for index in range(20)) + "data: [DONE]\n\n"


class Process:
    """The server's process and the address it logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""
        self.url = ""

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    async def read_log_until(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while not (match := re.search(pattern, self.log)):
                line = await self.process.stderr.readline()
                assert line, self.log
                self.log += line.decode()
        return match

    async def exit_code(self) -> int:
        async with asyncio.timeout(20):
            assert self.process.stderr is not None
            self.log += (await self.process.stderr.read()).decode()
            return await self.process.wait()


@asynccontextmanager
async def serving(grace_s: float = 10.0, mode: str = "plain", until: str = "ready in"):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), "0", str(grace_s), mode, stderr=asyncio.subprocess.PIPE
    )
    server = Process(process)
    try:
        server.url = (await server.read_log_until(r"listening on (http://[\d.:]+)/v1")).group(1)
        await server.read_log_until(until)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_stream(client: httpx.AsyncClient, started: asyncio.Event) -> str:
    text = ""
    async with client.stream("POST", "/t/stream", json={}) as response:
        async for part in response.aiter_text():
            text += part
            started.set()
    return text


async def test_what_is_loaded_is_kept_from_the_collector_before_the_server_is_ready():
    async with serving() as server:
        assert server.log.index("all is loaded") < server.log.index("ready in")
    keep_what_is_loaded()
    try:
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


async def test_sigterm_lets_streams_end_and_tells_newcomers_503():
    async with serving() as server, httpx.AsyncClient(base_url=server.url) as client:
        started = asyncio.Event()
        streams = [asyncio.create_task(read_stream(client, started)) for _ in range(3)]
        await started.wait()
        server.process.send_signal(signal.SIGTERM)
        await server.read_log_until("shutting down: 3 requests")
        newcomer = await client.post("/t/stream", json={})
        assert newcomer.status_code == 503
        assert newcomer.json()["error"]["code"] == "server_shutting_down"
        assert newcomer.headers["retry-after"] == "10"
        assert (await client.get("/ready")).status_code == 503
        assert await asyncio.gather(*streams) == [TEXT] * 3
        assert await server.exit_code() == 0
        assert "engine closed" in server.log
        assert "Traceback" not in server.log


async def test_an_idle_server_stops_at_once():
    async with serving(grace_s=60) as server, httpx.AsyncClient(base_url=server.url) as client:
        await client.get("/health")  # leaves a kept-alive connection behind
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await server.exit_code() == 0


async def test_streams_over_the_grace_time_end_with_an_error_event():
    async with serving(0.3, "endless") as server, httpx.AsyncClient(base_url=server.url) as client:
        started = asyncio.Event()
        stream = asyncio.create_task(read_stream(client, started))
        await started.wait()
        server.process.send_signal(signal.SIGTERM)
        text = await stream
        assert '"code":"engine_unavailable"' in text
        assert text.endswith("data: [DONE]\n\n")
        assert await server.exit_code() == 0


async def test_what_does_not_wait_for_the_engine_ends_with_it():
    async with serving(0.3) as server, httpx.AsyncClient(base_url=server.url) as client:
        waiting = asyncio.create_task(client.post("/t/wait"))
        await server.read_log_until("waiting for something else")
        server.process.send_signal(signal.SIGTERM)
        answer = await waiting
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            503, "server_shutting_down")  # fmt: skip
        assert await server.exit_code() == 0


async def test_a_second_signal_does_not_wait():
    async with serving(600, "endless") as server, httpx.AsyncClient(base_url=server.url) as client:
        started = asyncio.Event()
        stream = asyncio.create_task(read_stream(client, started))
        await started.wait()
        server.process.send_signal(signal.SIGTERM)
        await server.read_log_until("shutting down")
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await server.exit_code() == 0
            await asyncio.gather(stream, return_exceptions=True)


async def test_while_loading_the_server_answers_and_says_when_to_come_back():
    async with (
        serving(mode="slow", until="listening") as server,
        httpx.AsyncClient(base_url=server.url) as client,
    ):
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/ready")).status_code == 503
        early = await client.post("/t/stream", json={})
        assert early.status_code == 503
        assert early.json()["error"]["code"] == "model_loading"
        assert "retry-after" in early.headers
        await server.read_log_until(r"ready in \d")
        assert (await client.get("/ready")).status_code == 200


async def test_a_setup_error_is_one_line_and_exit_code_1():
    async with serving(mode="broken", until="listening") as server:
        assert await server.exit_code() == 1
        assert "config.json: the file is missing." in server.log
        assert "shutting down" not in server.log
        assert "Traceback" not in server.log


async def run_to_the_end(mode: str) -> tuple[int | None, str]:
    """Exit code and log of a server that cannot start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), "0", "1", mode, stderr=asyncio.subprocess.PIPE
    )
    _, log = await process.communicate()
    return process.returncode, log.decode()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("no model", "/nowhere/model: there is no model folder here."),
        ("no certificate", "--ssl-certfile /nowhere/cert.pem: there is no such file."),
    ],
)
async def test_what_is_not_there_is_one_line_before_listening(mode, said):
    code, log = await run_to_the_end(mode)
    assert code == 1
    assert said in log
    assert len(log.splitlines()) == 1


async def test_a_server_that_is_told_to_stop_while_loading_is_never_ready():
    async with serving(grace_s=1.5, mode="slow", until="listening") as server:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(
            b"POST /t/stream HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
            b"content-length: 9\r\nexpect: 100-continue\r\n\r\n"
        )
        await reader.readline()
        await asyncio.sleep(0.2)  # then it counts, and keeps the server from stopping at once
        server.process.send_signal(signal.SIGTERM)
        assert await server.exit_code() == 0
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    assert "shutting down: 1 requests" in server.log
    assert "ready in" not in server.log


async def test_an_engine_that_is_gone_for_good_is_503_logged_and_true():
    async with serving(mode="dying") as server, httpx.AsyncClient(base_url=server.url) as client:
        await server.read_log_until("gone for good: the engine died too often")
        answers = [
            await client.post("/t/stream", json={}),
            await client.get("/health"),
            await client.get("/ready"),
        ]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "engine_failed"
        assert "restart" not in answer.json()["error"]["message"]


async def test_a_taken_port_is_one_line_and_exit_code_1():
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), str(port), "1", "plain", stderr=asyncio.subprocess.PIPE
    )
    _, log = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in log.decode()
    taken.close()
    await taken.wait_closed()
