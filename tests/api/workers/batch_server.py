"""A whole server whose engine says "hello world", and which may kill itself at a named point:
`python batch_server.py DATA_DIR DATABASE_URL POINT NUMBER`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pathlib
import random
import signal
import sys
import threading
import time
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))

from api.logs import set_up_logging  # noqa: E402
from api.model.text import ModelText  # noqa: E402
from api.serve import Server  # noqa: E402
from api.settings import ServerSettings  # noqa: E402
from api.storage.blobs import BlobStore  # noqa: E402
from api.workers import runner  # noqa: E402
from api.workers.batches import answering, finishing, kind, running  # noqa: E402
from api.workers.job import Job  # noqa: E402
from engine.config import EngineConfig  # noqa: E402

STEP_S = 0.01

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

    async def generate(self, request: Any) -> Any:
        await asyncio.sleep(STEP_S)
        async for deltas in super().generate(request):
            yield deltas

    async def wait_ready(self) -> Any:
        return self.info

    async def close(self) -> None:
        pass


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count_down(number: int) -> Any:
    left = number

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            die()

    return step


def around(owner: Any, name: str, step: Any, *, is_before: bool) -> None:
    """Call `step` before or after a coroutine function."""
    original = getattr(owner, name)

    async def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if is_before:
            step()
        result = await original(*arguments, **keywords)
        if not is_before:
            step()
        return result

    setattr(owner, name, wrapped)


def before_commit(step: Any) -> None:
    """In the transaction of results, everything written and nothing committed."""
    original = Job.writing

    class Writing:
        def __init__(self, job: Any) -> None:
            self._inner = original(job)

        async def __aenter__(self) -> Any:
            self._pair = await self._inner.__aenter__()
            return self._pair

        async def __aexit__(self, *fault: Any) -> Any:
            await self._pair[0].flush()
            step()
            return await self._inner.__aexit__(*fault)

    Job.writing = lambda job: Writing(job)  # type: ignore[assignment, method-assign]


POINTS = {
    "line done": lambda step: around(answering.Answerer, "answer", step, is_before=False),
    "before write": lambda step: around(running, "keep_results", step, is_before=True),
    "before commit": before_commit,
    "after commit": lambda step: around(running, "keep_results", step, is_before=False),
    "before blob": lambda step: around(BlobStore, "write", step, is_before=True),
    "after blob": lambda step: around(BlobStore, "write", step, is_before=False),
    "before end": lambda step: around(finishing, "publish", step, is_before=True),
    "after end": lambda step: around(kind, "finish", step, is_before=False),
}


def kill_after(delay_s: float) -> None:
    def wait() -> None:
        time.sleep(delay_s)
        die()

    threading.Thread(target=wait, daemon=True).start()


def main() -> int:
    data_dir, database_url, point, number = sys.argv[1:5]
    set_up_logging("info")
    runner.LEASE_S = 1.0
    runner.JobRunner.__init__.__kwdefaults__.update(lease_s=1.0, poll_s=0.1)
    running.GROUP_S = 0.05
    if point == "random":
        kill_after(random.Random(int(number)).uniform(0.0, 1.5))
    elif point:
        POINTS[point](count_down(int(number)))

    async def start_engine(config: EngineConfig) -> Any:
        return Engine("hello world")

    def load_text(settings: ServerSettings, config: EngineConfig) -> ModelText:
        template = world.ChatTemplate(world.TEMPLATE)
        return ModelText(world.TOKENIZER, template, {}, "test-model")

    settings = ServerSettings(
        host="127.0.0.1", port=0, data_dir=data_dir, database_url=database_url,
        shutdown_timeout_s=5.0,
    )  # fmt: skip
    server = Server(settings, EngineConfig(model="test-model"), start_engine, load_text)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as one:
        return one.run(server.serve())


if __name__ == "__main__":
    sys.exit(main())
