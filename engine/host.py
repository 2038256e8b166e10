"""Where an engine comes from: a process of our own, or one that somebody else keeps.

A host gives the path of a socket; `engine.client` does the talking.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import sys
from collections.abc import Sequence
from typing import Protocol

import msgspec

from engine.config import EngineConfig
from engine.errors import EngineDiedError
from engine.private_folder import PrivateFolder
from engine.runner.environment import engine_environment

SOCKET_POLL_S = 0.02
SOCKET_NAME = "engine.sock"
ENGINE_COMMAND = (sys.executable, "-P", "-m", "engine.process")


class StartOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine process reads from its standard input: one line of JSON."""

    config: EngineConfig
    socket_path: str
    parent_process_id: int


class EngineHost(Protocol):
    """Gives engines, one after another."""

    @property
    def socket_path(self) -> str:
        """Where the present engine listens."""
        ...

    @property
    def process_id(self) -> int | None:
        """Of the present engine process; None when there is none or it is not ours."""
        ...

    @property
    def is_owner(self) -> bool:
        """Whether the engine ends with this client."""
        ...

    @property
    def ending(self) -> str:
        """How the last engine that was stopped had ended, for the log: "exited with code 1"."""
        ...

    async def start(self) -> None:
        """Have an engine that listens. Raises EngineDiedError when it ended before it did."""
        ...

    async def stop(self, grace_s: float) -> None:
        """See that the engine has ended, by force after `grace_s` seconds. May be called again,
        also when a call was cancelled."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


class OwnedProcess:
    """Spawns `python -m engine.process`, which listens in a folder that only we can enter."""

    is_owner = True

    def __init__(self, config: EngineConfig, command: Sequence[str] = ENGINE_COMMAND) -> None:
        self._config = config
        self._command = tuple(command)
        self._folder = PrivateFolder()
        self._process: asyncio.subprocess.Process | None = None
        self._ending = "could not be started"

    @property
    def socket_path(self) -> str:
        """A socket in the private folder."""
        return os.path.join(self._folder.path, SOCKET_NAME)

    @property
    def process_id(self) -> int | None:
        """See `EngineHost.process_id`."""
        return self._process.pid if self._process else None

    @property
    def ending(self) -> str:
        """See `EngineHost.ending`."""
        return self._ending

    async def start(self) -> None:
        """See `EngineHost.start`."""
        _remove(self.socket_path)
        process = self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            env=_child_environment(),
            start_new_session=True,
        )
        assert process.stdin is not None
        order = StartOrder(
            config=self._config, socket_path=self.socket_path, parent_process_id=os.getpid()
        )
        # The pipe stays open: its end tells the engine that we are gone.
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        await _wait_for_socket(self.socket_path, process)

    async def stop(self, grace_s: float) -> None:
        """See `EngineHost.stop`."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace_s)
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        self._ending = _describe_exit(await process.wait())
        if process.stdin is not None:
            process.stdin.close()
            with contextlib.suppress(ConnectionError):
                await process.stdin.wait_closed()
        self._process = None

    def close(self) -> None:
        """Remove the private folder."""
        self._folder.close()


class ForeignProcess:
    """An engine that another client owns and restarts at the same path."""

    is_owner = False
    process_id = None
    ending = "can no longer be reached"

    def __init__(self, socket_path: str) -> None:
        self._socket_path = socket_path

    @property
    def socket_path(self) -> str:
        """As given."""
        return self._socket_path

    async def start(self) -> None:
        """See `EngineHost.start`; waits as long as it takes the owner."""
        await _wait_for_socket(self._socket_path, None)

    async def stop(self, grace_s: float) -> None:
        """The owner's business."""

    def close(self) -> None:
        """The owner's business."""


def _child_environment() -> dict[str, str]:
    """Ours, what the runner wants set, and a path to this very `engine` (nothing of the cwd)."""
    home = str(pathlib.Path(__file__).resolve().parent.parent)
    paths = [home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    added = engine_environment("", os.environ)
    return {**os.environ, **added, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _describe_exit(status: int) -> str:
    """`status` as Python gives it: an exit code, or minus the number of a signal."""
    if status >= 0:
        return f"exited with code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:  # a real-time signal has no name
        name = str(-status)
    return f"was ended by signal {name}"


def _is_there(path: str) -> bool:
    return os.path.exists(path)


def _remove(path: str) -> None:
    pathlib.Path(path).unlink(missing_ok=True)


async def _wait_for_socket(path: str, process: asyncio.subprocess.Process | None) -> None:
    while not _is_there(path):
        if process is not None and process.returncode is not None:
            raise EngineDiedError("the engine process ended before it listened")
        await asyncio.sleep(SOCKET_POLL_S)
