"""Whole servers whose engine says "hello world", and which may kill themselves at a named point.

What they need is imported once. Each line on standard input is an order (see `Order`); its answer
on standard output is the process id of a server that was forked for it. A server writes its log
into `order.log` and, as its last word, where it killed itself into `order.log` + ".killed".
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import importlib.util
import json
import os
import pathlib
import random
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

import aiosqlite  # noqa: E402, F401
import uvloop  # noqa: E402

from api.app import RESOURCES  # noqa: E402
from api.keys import accounts  # noqa: E402
from api.logs import set_up_logging  # noqa: E402
from api.model.text import ModelText  # noqa: E402
from api.serve import Server  # noqa: E402
from api.services.access import idempotency, keys, usage  # noqa: E402, F401
from api.services.responses.stored import recorder, rows  # noqa: E402
from api.settings import ServerSettings  # noqa: E402
from api.storage import metadata, migrate  # noqa: E402, F401
from api.storage.blobs import BlobStore  # noqa: E402
from api.storage.database import Database  # noqa: E402
from api.workers import crew, responses, runner, sweeper  # noqa: E402, F401
from api.workers.batches import answering, kind, running  # noqa: E402, F401
from engine.config import EngineConfig  # noqa: E402

MAX_RANDOM_S = 1.0
"""Of the server's own processor time, which a busy machine does not stretch."""
TEXT = "hello world, hello there, one two three"

spec = importlib.util.spec_from_file_location(
    "services_world", ROOT / "tests/api/services/conftest.py"
)
assert spec is not None
assert spec.loader is not None
world = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = world
spec.loader.exec_module(world)


class Engine(world.SpeakingEngine):
    """Takes its time."""

    def __init__(self, text: str, step_s: float) -> None:
        super().__init__(text)
        self.step_s = step_s

    async def generate(self, request: Any) -> Any:
        async for deltas in super().generate(request):
            await asyncio.sleep(self.step_s)
            yield deltas

    async def wait_ready(self) -> Any:
        return self.info

    async def close(self) -> None:
        pass


class Order(SimpleNamespace):
    """What server is to be started.

    Attributes:
        data_dir, database_url: of its settings.
        log: the path of its log.
        point: "PLACE: MOMENT", "random", or "" for one that lives.
        number: of the visit to the point that kills it, or the seed of the time.
        traces: write down each point that is passed.
        step_s: how long the engine takes for a token.
        lease_s: after which those who died are succeeded.
    """


class Points:
    """Knows each point that is passed; kills at the one that was ordered."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._left = int(order.number)

    def passed(self, place: str, moment: str) -> None:
        point = f"{place}: {moment}"
        if self._order.traces:
            with open(f"{self._order.log}.points", "a") as trace:
                trace.write(point + "\n")
        if point == self._order.point:
            self._left -= 1
            if self._left == 0:
                self.die(point)

    def die(self, where: str) -> None:
        pathlib.Path(f"{self._order.log}.killed").write_text(where)
        os.kill(os.getpid(), signal.SIGKILL)

    def die_after(self, used_s: float) -> None:
        end_s = time.process_time() + used_s

        def wait() -> None:
            while time.process_time() < end_s:
                time.sleep(0.001)
            self.die("random")

        threading.Thread(target=wait, daemon=True).start()


PASSED_OVER = ("database.py", "job.py", "rows.py", "contextlib.py", pathlib.Path(__file__).name)
"""Files through which everybody writes."""


def place() -> str:
    """Module and function that write now, in whichever room."""
    frame: Any = sys._getframe(1)
    while _is_passed_over(frame):
        frame = frame.f_back
    module = frame.f_globals["__name__"].rpartition(".")[2]
    return f"{module}.{frame.f_code.co_name}"


def _is_passed_over(frame: Any) -> bool:
    is_common = pathlib.Path(frame.f_code.co_filename).name in PASSED_OVER
    return is_common and frame.f_code.co_name != "beat"


def watch(points: Points) -> None:
    """Every transaction that writes, every blob, every line of a batch passes its points."""
    original_writing, original_write = Database.writing, BlobStore.write
    original_delete, original_answer = BlobStore.delete, answering.Answerer.answer

    @asynccontextmanager
    async def writing(self: Database) -> AsyncIterator[Any]:
        where = place()
        points.passed(where, "before write")
        async with original_writing(self) as session:
            yield session
            await session.flush()
            points.passed(where, "before commit")
        points.passed(where, "after commit")

    async def write(self: BlobStore, key: str, parts: Any) -> int:
        where = place()

        async def counted() -> AsyncIterator[bytes]:
            async for part in parts:
                yield part
            points.passed(where, "before rename")

        points.passed(where, "before blob")
        num_bytes = await original_write(self, key, counted())
        points.passed(where, "after blob")
        return num_bytes

    async def delete(self: BlobStore, key: str) -> None:
        where = place()
        await original_delete(self, key)
        points.passed(where, "after delete")

    async def answer(self: Any, *arguments: Any) -> Any:
        result = await original_answer(self, *arguments)
        points.passed("workers.batches", "line done")
        return result

    Database.writing = writing  # type: ignore[method-assign, assignment]
    BlobStore.write, BlobStore.delete = write, delete  # type: ignore[method-assign]
    answering.Answerer.answer = answer  # type: ignore[method-assign]


def be_quick(lease_s: float) -> None:
    """Leases of those who died end soon."""
    runner.JobRunner.__init__.__kwdefaults__.update(lease_s=lease_s, poll_s=0.1)
    recorder.LEASE_MS = rows.LEASE_MS = int(lease_s * 1000)
    idempotency.LEASE_S, idempotency.RENEW_S = lease_s, lease_s / 3
    running.GROUP_S = 0.02
    accounts.MAX_SETTLE_S = 30.0


def serve(order: Order) -> int:
    """Be a server until it is over."""
    output = os.open(order.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    set_up_logging("info")
    be_quick(order.lease_s)
    points = Points(order)
    if order.point or order.traces:
        watch(points)

    async def start_engine(config: EngineConfig) -> Any:
        if order.point == "random":
            points.die_after(random.Random(int(order.number)).uniform(0.0, MAX_RANDOM_S))
        engine = Engine(TEXT, order.step_s)
        engine.ends_with_eos = True
        return engine

    def load_text(settings: ServerSettings, config: EngineConfig) -> ModelText:
        template = world.ChatTemplate(world.TEMPLATE)
        return ModelText(world.TOKENIZER, template, {}, "test-model")

    settings = ServerSettings(
        host="127.0.0.1", port=0, data_dir=order.data_dir, database_url=order.database_url,
        shutdown_timeout_s=5.0,
    )  # fmt: skip
    server = Server(settings, EngineConfig(model="test-model"), start_engine, load_text)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as one:
        return one.run(server.serve())


def fork(run: Callable[[], int]) -> int:
    """The id of a process that runs it and ends."""
    process_id = os.fork()
    if process_id:
        return process_id
    code = 1
    try:
        code = run()
    finally:
        os._exit(code)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for name in RESOURCES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what was imported is never looked at again, and its memory stays shared
    for line in sys.stdin:
        order = Order(**json.loads(line))
        print(fork(lambda order=order: serve(order)), flush=True)  # type: ignore[misc]


if __name__ == "__main__":
    main()
