"""Claims jobs, runs them, keeps their leases, hands them over.

The rules, in the order in which a job meets them:

- A free worker looks for jobs when told that there is one (`wake`), and every `poll_s` seconds for
  those of other replicas and of dead workers.
- While a job runs its lease is renewed every `lease_s / 5`. A job whose lease is lost is cancelled
  at once: somebody else runs it.
- A job that raises is free again after a while; after `MAX_FAILURES` times its kind gives it up.
- At the end of the process jobs are asked to stop, cancelled after the grace time, and released, so
  that another replica takes them over without waiting for the lease to expire.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from api.storage.database import Database, uninterrupted
from api.storage.errors import StorageError
from api.storage.leases import LeasedRow, LeaseLostError, claim, release
from api.workers.job import Job

LEASE_S = 15.0
POLL_S = 1.0
BEATS_PER_LEASE = 5
MAX_FAILURES = 5
RETRY_S = 2.0

Row = TypeVar("Row", bound=LeasedRow)

log = logging.getLogger("servax.jobs")


class JobKind(Protocol[Row]):
    """One kind of job.

    Attributes:
        name: for the log.
        table: where its jobs are rows.
        queues: which of them this process may run.
        max_num_running: how many of them at a time in this process.
    """

    name: str
    table: type[Row]
    queues: Sequence[str]
    max_num_running: int

    async def run(self, job: Job[Row]) -> None:
        """Do the job, from wherever it stands. Whoever finishes it sets `is_open` to false in its
        last transaction; a return before that hands the job over."""
        ...

    async def give_up(self, job: Job[Row]) -> None:
        """The job failed too often: end it, so that `is_open` is false."""
        ...


class JobRunner:
    """The workers of this process."""

    def __init__(
        self,
        database: Database,
        kinds: Sequence[JobKind[Any]],
        *,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
    ) -> None:
        self.owner = f"{socket.gethostname()[:24]}-{os.getpid()}-{secrets.token_hex(4)}"
        self._database = database
        self._kinds = kinds
        self._lease_ms = int(lease_s * 1000)
        self._poll_s = poll_s
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._running: dict[asyncio.Task[None], tuple[JobKind[Any], Job[Any]]] = {}
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look for jobs from now on."""
        self._looking = asyncio.create_task(self._look())

    def wake(self) -> None:
        """There is a new job, or a worker is free."""
        self._wake.set()

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more, let running jobs come to a good place, release them."""
        self._is_stopping = True
        if self._looking is not None:
            self.wake()
            await asyncio.wait({self._looking})
        for _, job in self._running.values():
            job.should_stop.set()
        if self._running and grace_s > 0:
            await asyncio.wait(self._running, timeout=grace_s)
        await self.cut()

    async def cut(self) -> None:
        """Cancel what still runs, and release it."""
        left = list(self._running)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _look(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            for kind in self._kinds:
                await self._fill(kind)
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _fill(self, kind: JobKind[Any]) -> None:
        """Claim jobs of a kind while there are some and room for them."""
        while self._num_running(kind) < kind.max_num_running and not self._is_stopping:
            try:
                job = await self._claim(kind)
            except StorageError:
                return  # it is in the log; the next look tries again
            if job is None:
                return
            task = asyncio.create_task(self._work(kind, job))
            self._running[task] = (kind, job)
            task.add_done_callback(self._ended)

    def _num_running(self, kind: JobKind[Any]) -> int:
        return sum(of is kind for of, _ in self._running.values())

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self.wake()

    async def _claim(self, kind: JobKind[Any]) -> Job[Any] | None:
        async with self._database.writing() as session:
            row = await claim(session, kind.table, kind.queues, self.owner, self._lease_ms)
        return None if row is None else Job(self._database, kind.table, row, self.owner)

    async def _work(self, kind: JobKind[Any], job: Job[Any]) -> None:
        """Run one job to its end, or to where it is handed over."""
        running = asyncio.create_task(kind.run(job))
        beating = asyncio.create_task(self._beat(job))
        try:
            await asyncio.wait({running, beating}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (running, beating):
                task.cancel()
            await asyncio.gather(running, beating, return_exceptions=True)
            fault = None if running.cancelled() else running.exception()
            await asyncio.shield(self._let_go(kind, job, fault))

    async def _beat(self, job: Job[Any]) -> None:
        """Renew the lease; return when it is lost."""
        failed_s = 0.0
        interval_s = self._lease_ms / 1000 / BEATS_PER_LEASE
        while failed_s < self._lease_ms / 1000:
            await asyncio.sleep(interval_s)
            try:
                if not await uninterrupted(job.beat(self._lease_ms)):
                    return
                failed_s = 0.0
            except StorageError:
                failed_s += interval_s

    async def _tell_of_loss(self, kind: JobKind[Any], job: Job[Any]) -> None:
        """What became of a job that is no longer ours: who asks for its end does not wait for a
        worker that has nothing to write."""
        async with self._database.reading() as session:
            row = await session.get(kind.table, job.lease.row_id)
        if row is not None and row.is_open:
            log.warning("%s %s is run by another worker", kind.name, job.lease.row_id)
        else:
            log.info("%s %s was ended from outside", kind.name, job.lease.row_id)

    async def _let_go(self, kind: JobKind[Any], job: Job[Any], fault: BaseException | None) -> None:
        """Release the job; if it failed, for later, or for good. Never raises."""
        try:
            if isinstance(fault, LeaseLostError):
                await self._tell_of_loss(kind, job)
                return
            has_failed = fault is not None and not isinstance(fault, StorageError)
            if has_failed:
                log.error("%s %s failed", kind.name, job.lease.row_id, exc_info=fault)
                if job.row.num_failures + 1 >= MAX_FAILURES:
                    await kind.give_up(job)
            delay_ms = 0 if fault is None else int(RETRY_S * 1000) << job.row.num_failures
            async with self._database.writing() as session:
                await release(
                    session, kind.table, job.lease, delay_ms=delay_ms, has_failed=has_failed
                )
        except (StorageError, LeaseLostError):
            log.warning("%s %s: its lease will expire", kind.name, job.lease.row_id)
        except Exception:
            log.exception("%s %s could not be given up", kind.name, job.lease.row_id)
