"""Many lines at a time; their results are kept in groups, each in one transaction.

A line whose result is kept is never run again: the lines to run are those without one. A worker
that lost its lease keeps nothing, and the key of a result makes a second one impossible. What is
under way when a worker dies is run again by the next one; of its first run there is at most the
response that it stored, which is then its result (`api.services.responses.once`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from typing import Protocol

from sqlalchemy import insert

from api.storage.tables.batches import BatchLineRow, BatchRow
from api.workers.batches.answering import NO_USAGE, Answerer, Result
from api.workers.batches.reading import Line
from api.workers.job import Job

GRACE_S = 600.0
"""How long a batch that is cancelled waits for its lines under way: OpenAI's ten minutes."""
GROUP_S = 0.25
MAX_GROUP = 128


class Gate(Protocol):
    """Says when a line may begin."""

    async def enter(self) -> None:
        """Return when there is a place; `leave` gives it back."""
        ...

    def leave(self) -> None:
        """A line ended."""
        ...


class LineRunner:
    """Runs the lines of one batch that have no result yet."""

    def __init__(self, job: Job[BatchRow], answerer: Answerer, gate: Gate) -> None:
        self._job = job
        self._answerer = answerer
        self._gate = gate
        self._under_way: set[asyncio.Task[None]] = set()
        self._results: list[Result] = []
        self._has_results = asyncio.Event()
        self._fault: BaseException | None = None
        self._may_begin = True
        self._is_over = False

    async def run(self, lines: AsyncIterator[Line], done: Collection[int]) -> None:
        """Run them until all have results or the batch is told to end; returns when what was begun
        has ended and is kept."""
        keeping = asyncio.create_task(self._keep())
        watching = asyncio.create_task(self._watch())
        try:
            async for index, line in lines:
                if index in done:
                    continue
                await self._gate.enter()
                if not self._may_begin or self._fault is not None:
                    self._gate.leave()
                    break
                task = asyncio.create_task(self._run_line(index, line))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            while self._under_way and self._fault is None:
                await asyncio.wait(self._under_way, timeout=1.0)
        finally:
            for task in (*self._under_way, watching):
                task.cancel()
            await asyncio.gather(*self._under_way, watching, return_exceptions=True)
            # Never cancelled: a transaction that was cut off may have been committed or not.
            self._is_over = True
            self._has_results.set()
            await asyncio.shield(keeping)
        if self._fault is not None:
            raise self._fault

    async def _run_line(self, index: int, line: bytes) -> None:
        try:
            result = await self._answerer.answer(index, line)
            self._results.append(result)
            self._has_results.set()
        except Exception as fault:
            self._fault = fault
        finally:
            self._gate.leave()

    async def _watch(self) -> None:
        """Begin nothing more when the batch is cancelled or this process ends; what is under way
        in a cancelled batch may end, within `GRACE_S`."""
        stopping = asyncio.create_task(self._job.should_stop.wait())
        ending = asyncio.create_task(self._job.wait_until(_is_ending))
        try:
            await asyncio.wait({stopping, ending}, return_when=asyncio.FIRST_COMPLETED)
            self._may_begin = False
            if ending.done():
                await asyncio.sleep(GRACE_S)
                for task in self._under_way:
                    task.cancel()
        finally:
            stopping.cancel()
            ending.cancel()

    async def _keep(self) -> None:
        """Keep results as they come, a group at a time."""
        try:
            while True:
                await self._has_results.wait()
                if len(self._results) < MAX_GROUP and not self._is_over:
                    await asyncio.sleep(GROUP_S)
                self._has_results.clear()
                group, self._results = self._results, []
                if group:
                    await keep_results(self._job, group)
                elif self._is_over:
                    return
                if self._is_over:
                    self._has_results.set()
        except Exception as fault:
            self._fault = fault


async def keep_results(job: Job[BatchRow], group: list[Result]) -> None:
    """Results and counts, in one transaction. Raises LeaseLostError, StorageError."""
    async with job.writing() as (session, row):
        await session.execute(
            insert(BatchLineRow),
            [
                {
                    "batch_id": row.id,
                    "line_index": result.line_index,
                    "is_success": result.is_success,
                    "result": result.line,
                }
                for result in group
            ],
        )
        num_good = sum(result.is_success for result in group)
        row.num_completed += num_good
        row.num_failed += len(group) - num_good
        usage = row.usage or NO_USAGE
        row.usage = {
            name: usage[name] + sum(result.usage[name] for result in group) for name in NO_USAGE
        }


def _is_ending(row: BatchRow) -> bool:
    return row.status == "cancelling"
