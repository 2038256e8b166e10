"""A server around an engine that follows a script; fixtures shared by the tests of `api`."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.run import worker_serve
from quart import Blueprint, Quart, Response, g, request
from sqlalchemy import text

from api.app import create_app, state_of
from api.context import ServerContext, ServerState, context
from api.http.http1 import install, make_config
from api.http.json_body import read_json_object
from api.http.sse import run_unless_disconnected, sse_response
from api.metrics.registry import Metrics
from api.serve import bind
from api.settings import ServerSettings
from api.storage.database import Database
from api.storage.store import Storage, open_storage
from engine.commands import Suspension
from engine.request import (
    EngineStats,
    FinishReason,
    GenerateRequest,
    ModelInfo,
    SamplingParams,
    TokenDelta,
)

POSTGRES = os.environ.get("SERVAX_TEST_POSTGRES", "")
"""URL of a server whose user may make databases; tests of storage use it instead of SQLite."""

OWN_RESOURCES = (
    "api.resources.health",
    "api.resources.metrics",
    "api.resources.docs",
    "api.resources.management",
)

INFO = ModelInfo(
    architecture="llama",
    vocab_size=256,
    max_model_len=128,
    eos_token_ids=(2,),
    max_logprobs=20,
    max_num_seqs=4,
    fingerprint="fp_test",
    dtype="float32",
    platform="cpu",
    device_kind="cpu",
    num_parameters=1,
    weight_bytes=4,
    num_pages=16,
    page_size=16,
)


class ScriptedEngine:
    """Gives `num_tokens` tokens, one every `step_s` seconds; remembers what was aborted."""

    def __init__(self, num_tokens: int = 3, step_s: float = 0.0) -> None:
        self.num_tokens = num_tokens
        self.step_s = step_s
        self.info = INFO
        self.stats = EngineStats(num_pages=16, num_free_pages=12, total_steps=5)
        self.is_ready = True
        self.suspension = Suspension()
        self.aborted: list[str] = []
        self.started: list[str] = []
        self.probe_error: Exception | None = None
        self.step_age_s = 0.0
        self.num_probes = 0
        self.commands: list[object] = []
        self.control_error: Exception | None = None
        self.control_value = 0
        self.is_closed = asyncio.Event()

    @property
    def total_stats(self) -> EngineStats:
        return self.stats

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[list[TokenDelta], None]:
        self.started.append(request.request_id)
        is_done = False
        try:
            for index in range(self.num_tokens):
                await asyncio.sleep(self.step_s)
                is_last = index + 1 == self.num_tokens
                reason = FinishReason.LENGTH if is_last else None
                yield [
                    TokenDelta(
                        request_id=request.request_id, token_ids=(index,), finish_reason=reason
                    )
                ]
            is_done = True
        finally:
            if not is_done:
                self.aborted.append(request.request_id)

    async def abort(self, request_id: str, sequence_indices: Sequence[int] = ()) -> None:
        self.aborted.append(request_id)

    async def probe(self, timeout_s: float) -> float:
        self.num_probes += 1
        if self.probe_error is not None:
            raise self.probe_error
        return self.step_age_s

    async def control(self, command: object, timeout_s: float | None = None) -> int:
        self.commands.append(command)
        if self.control_error is not None:
            raise self.control_error
        return self.control_value

    async def wait_ready(self) -> ModelInfo:
        return self.info

    async def close(self) -> None:
        self.is_closed.set()


def make_context(settings: ServerSettings, engine: ScriptedEngine) -> ServerContext:
    return ServerContext(
        settings=settings,
        engine=engine,
        tokenizer=cast(Any, None),
        chat_template=None,
        model_names=("test",),
        default_sampling={},
        metrics=Metrics("test"),
        model_root="test",
        created=1,
    )


def probe_blueprint() -> Blueprint:
    """Routes that behave as real ones do, without their protocol."""
    blueprint = Blueprint("probes", __name__)

    def generate() -> AsyncGenerator[list[TokenDelta], None]:
        sampling = SamplingParams(max_tokens=8)
        return context().engine.generate(
            GenerateRequest(request_id=g.request_id, prompt_token_ids=(1,), sampling=sampling)
        )

    @blueprint.post("/t/stream")
    async def stream() -> Response:
        await read_json_object(request)
        deltas = generate()

        async def events() -> AsyncIterator[bytes]:
            try:
                async for batch in deltas:
                    yield b"data: %d\n\n" % batch[0].token_ids[0]
                yield b"data: [DONE]\n\n"
            finally:
                await deltas.aclose()

        return sse_response(events())

    @blueprint.post("/t/whole")
    async def whole() -> dict[str, Any]:
        await read_json_object(request)

        async def collect() -> list[int]:
            deltas = generate()
            try:
                return [token async for batch in deltas for token in batch[0].token_ids]
            finally:
                await deltas.aclose()

        return {"tokens": await run_unless_disconnected(collect())}

    @blueprint.post("/t/json")
    async def json() -> dict[str, Any]:
        return {"num_keys": len(await read_json_object(request))}

    @blueprint.get("/t/fail")
    async def fail() -> Response:
        raise RuntimeError("secret detail in /home/someone")

    @blueprint.get("/t/things/<path:name>")
    async def thing(name: str) -> dict[str, str]:
        return {"name": name}

    @blueprint.get("/t/slow")
    async def slow() -> Response:
        async def late() -> AsyncIterator[bytes]:
            await asyncio.sleep(0.05)
            yield b"late"

        return Response(late(), headers={"content-length": "4"})

    return blueprint


@dataclasses.dataclass
class World:
    """An application, its state and its engine."""

    app: Quart
    state: ServerState
    engine: ScriptedEngine


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> MakeWorld:
    def make(engine: ScriptedEngine | None = None, **settings: Any) -> World:
        engine = engine or ScriptedEngine()
        state = state_of(make_context(ServerSettings(**settings), engine))
        app = create_app(state, OWN_RESOURCES)
        app.register_blueprint(probe_blueprint())
        return World(app, state, engine)

    return make


@asynccontextmanager
async def listening(world: World) -> AsyncIterator[int]:
    """A real Hypercorn around the application; gives its port."""
    install()
    settings = dataclasses.replace(world.state.settings, host="127.0.0.1", port=0)
    config = make_config(settings)
    config.graceful_timeout = 0.5
    sockets = bind(config, settings)
    port = sockets.insecure_sockets[0].getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(
        worker_serve(ASGIWrapper(world.app), config, sockets=sockets, shutdown_trigger=stop.wait)
    )
    try:
        yield port
    finally:
        stop.set()
        await serving


@dataclasses.dataclass
class Wire:
    """A raw connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read_all(self, timeout_s: float = 5.0) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await self.reader.read()

    async def read_until(self, end: bytes, timeout_s: float = 5.0) -> bytes:
        async with asyncio.timeout(timeout_s):
            return await self.reader.readuntil(end)

    def close(self) -> None:
        self.writer.close()


async def connect(port: int) -> Wire:
    return Wire(*await asyncio.open_connection("127.0.0.1", port))


def post(path: str, body: bytes = b"{}", *headers: bytes) -> bytes:
    """The bytes of a POST of JSON."""
    lines = [
        f"POST {path} HTTP/1.1".encode(),
        b"host: test",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *headers,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


class Net:
    """Sockets for tests: a listening server and raw connections to it."""

    listening = staticmethod(listening)
    connect = staticmethod(connect)
    post = staticmethod(post)
    until = staticmethod(until)


@pytest.fixture
def net() -> Net:
    return Net()


@pytest.fixture
def scripted_engine() -> type[ScriptedEngine]:
    return ScriptedEngine


@asynccontextmanager
async def empty_storage(data_dir: Path) -> AsyncGenerator[ServerSettings]:
    """Settings of an empty storage of its own."""
    if not POSTGRES:
        yield ServerSettings(data_dir=str(data_dir))
        return
    name = f"servax_{uuid.uuid4().hex}"
    await administer(f"CREATE DATABASE {name}")
    base = POSTGRES.rpartition("/")[0]
    try:
        yield ServerSettings(data_dir=str(data_dir), database_url=f"{base}/{name}")
    finally:
        await administer(f"DROP DATABASE {name} WITH (FORCE)")


EmptyStorage = Callable[[Path], AbstractAsyncContextManager[ServerSettings]]


@pytest.fixture
def make_storage() -> EmptyStorage:
    """For tests of several storages."""
    return empty_storage


@pytest.fixture
async def storage_settings(tmp_path: Path) -> AsyncGenerator[ServerSettings]:
    """Settings of an empty storage of its own."""
    async with empty_storage(tmp_path / "data") as settings:
        yield settings


@pytest.fixture
async def storage(storage_settings: ServerSettings) -> AsyncGenerator[Storage]:
    """An empty storage."""
    opened = await open_storage(storage_settings)
    yield opened
    await opened.close()


async def administer(statement: str) -> None:
    """Run a statement outside of any transaction."""
    database = Database.open(POSTGRES)
    async with database.engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await plain.execute(text(statement))
    await database.close()
