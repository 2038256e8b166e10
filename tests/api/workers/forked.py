"""Servers that are forked from one process which has imported all they need; see
`killable_server.py`."""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx

from api.settings import ServerSettings

SERVER = pathlib.Path(__file__).with_name("killable_server.py")
STARTING_S = 120.0
STEP_S = 0.004
LEASE_S = 1.0


class ForkedServer:
    """A process and its address.

    Attributes:
        killed_at: the point where it killed itself; "" while it lives.
    """

    def __init__(self, process_id: int, log: pathlib.Path) -> None:
        self.process_id = process_id
        self.log = log
        self.client = httpx.AsyncClient(
            timeout=30, verify=False
        )  # certificates take a while to read
        self._pidfd = os.pidfd_open(process_id)
        self._dead = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._dead.set)

    @property
    def killed_at(self) -> str:
        last_word = pathlib.Path(f"{self.log}.killed")
        return last_word.read_text() if last_word.exists() else ""

    @property
    def points(self) -> list[str]:
        """Those that were passed, if it was to write them down."""
        return pathlib.Path(f"{self.log}.points").read_text().splitlines()

    async def listen(self) -> None:
        """Return when it listens or is dead."""
        async with asyncio.timeout(STARTING_S):
            while not self._dead.is_set():
                text = self.log.read_text() if self.log.exists() else ""
                if found := re.search(r"listening on (http://[\d.:]+)/v1", text):
                    self.client.base_url = found.group(1)
                    return
                await asyncio.sleep(0.01)

    async def death(self, timeout_s: float) -> None:
        """Wait for its end. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._dead.wait()

    def kill(self) -> None:
        if not self._dead.is_set():
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def close(self) -> None:
        self.kill()
        await self.death(10)
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        await self.client.aclose()


class Forge:
    """Makes servers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._num = 0

    @asynccontextmanager
    async def serving(
        self,
        settings: ServerSettings,
        point: str = "",
        number: int = 1,
        *,
        traces: bool = False,
        step_s: float = STEP_S,
        lease_s: float = LEASE_S,
    ) -> AsyncIterator[ForkedServer]:
        """A server that listens, unless it killed itself before."""
        self._num += 1
        log = pathlib.Path(f"{settings.data_dir}.{self._num}.log")
        order: dict[str, Any] = {
            "data_dir": settings.data_dir, "database_url": settings.database_url,
            "log": str(log), "point": point, "number": number, "traces": traces, "step_s": step_s,
            "lease_s": lease_s,
        }  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        server = ForkedServer(int(self._process.stdout.readline()), log)
        try:
            await server.listen()
            yield server
        finally:
            await server.close()


@contextmanager
def forging() -> Iterator[Forge]:
    """For many servers, one after another or beside each other."""
    process = subprocess.Popen(
        [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        yield Forge(process)
        process.kill()
