"""The workers of this process in the server's life: hired when storage and model are there, asked
to hand over as soon as the server is to stop, gone before the engine is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from api.context import ServerState

if TYPE_CHECKING:
    from api.workers.runner import JobKind

MAX_GRACE_S = 10.0

MakeKind = Callable[[ServerState], "JobKind[Any]"]


def _background_responses(state: ServerState) -> JobKind[Any]:
    from api.workers.responses import background_responses

    return background_responses(state)


def _left_responses(state: ServerState) -> JobKind[Any]:
    from api.workers.responses import left_responses

    return left_responses(state)


def _batches(state: ServerState) -> JobKind[Any]:
    from api.workers.batches.kind import batches

    return batches(state)


KINDS: tuple[MakeKind, ...] = (_background_responses, _left_responses, _batches)
"""Kinds of jobs, made when storage is open and the model loaded."""


class Crew:
    """`state.jobs` runs from when it can until it hands over."""

    def __init__(self, state: ServerState, kinds: tuple[MakeKind, ...] = KINDS) -> None:
        self._state = state
        self._kinds = kinds
        self._starting: asyncio.Task[None] | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def hire(self) -> None:
        """Start as soon as storage is open and the model loaded."""
        self._starting = asyncio.create_task(self._start())

    async def hand_over(self) -> None:
        """Claim nothing more; return when running jobs are at a good place and released, or
        were cancelled at the end of the grace time."""
        await self._end(min(MAX_GRACE_S, self._state.settings.shutdown_timeout_s))

    async def dismiss(self) -> None:
        """Cancel what still runs, and release it."""
        await self._end(0.0)
        self._state.jobs = None

    async def _end(self, grace_s: float) -> None:
        for task in (self._starting, self._sweeping):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._state.jobs is not None:
            await self._state.jobs.stop(grace_s)

    async def _start(self) -> None:
        await self._state.storage_opened.wait()
        await self._state.loaded.wait()
        from api.workers.runner import JobRunner
        from api.workers.sweeper import keep_sweeping

        storage = self._state.storage
        assert storage is not None
        jobs = JobRunner(storage.database, [make(self._state) for make in self._kinds])
        jobs.start()
        self._state.jobs = jobs
        self._sweeping = asyncio.create_task(keep_sweeping(storage))
