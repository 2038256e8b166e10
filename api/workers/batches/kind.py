"""One batch after another through its states; each step can be killed and begins again."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence

from api.context import ServerContext, ServerState
from api.keys.tenant import Tenant
from api.services.batches.names import (
    CANCELLED,
    CANCELLING,
    COMPLETED,
    EXPIRED,
    FAILED,
    FINALIZING,
    IN_PROGRESS,
    VALIDATING,
    queue_of,
)
from api.services.files.names import now_s
from api.services.webhooks.events import emit
from api.storage.store import Storage
from api.storage.tables.batches import BatchRow
from api.workers.batches.answering import Answerer
from api.workers.batches.finishing import done_lines, finish
from api.workers.batches.gate import LiveFirst
from api.workers.batches.reading import InputGoneError, input_lines
from api.workers.batches.running import LineRunner
from api.workers.batches.validation import validate
from api.workers.job import Job

MAX_NUM_BATCHES = 4


class Batches:
    """Runs batches of this server's model."""

    name = "batch"
    table = BatchRow
    max_num_running = MAX_NUM_BATCHES

    def __init__(self, context: ServerContext, storage: Storage, gate: LiveFirst) -> None:
        self.queues: Sequence[str] = (queue_of(context.model_names[0]),)
        self._context = context
        self._storage = storage
        self._gate = gate

    async def run(self, job: Job[BatchRow]) -> None:
        """Take the batch from where it stands to its end, or to where it is handed over."""
        try:
            if job.row.status == VALIDATING:
                await self._validate(job)
            if job.row.status == IN_PROGRESS:
                await self._run_lines(job)
        except InputGoneError:
            await self._fail(job, "The input file is gone.")
        if not job.row.is_open or job.should_stop.is_set():
            return
        await self._finish(job)

    async def give_up(self, job: Job[BatchRow]) -> None:
        """It failed too often."""
        await self._fail(job, "The server could not run this batch.")

    async def _validate(self, job: Job[BatchRow]) -> None:
        lines = input_lines(self._storage, job.row)
        async with contextlib.aclosing(lines):
            findings = await validate(self._context, job.row.endpoint, lines)
        async with job.writing() as (session, row):
            if row.status != VALIDATING:
                return  # cancelled meanwhile
            row.model = findings.model
            row.num_total = findings.num_lines
            if findings.errors:
                row.errors = findings.errors
                row.status, row.failed_at, row.is_open = FAILED, now_s(), False
                await emit(session, row.project_id, f"batch.{FAILED}", row.id)
            else:
                row.status, row.in_progress_at = IN_PROGRESS, now_s()

    async def _run_lines(self, job: Job[BatchRow]) -> None:
        done = await done_lines(self._storage, job.row.id)
        tenant = Tenant(project_id=job.row.project_id, key_id=job.row.key_id)
        context = dataclasses.replace(self._context.for_tenant(tenant), can_wait=True)
        answerer = Answerer(context, self._storage, job.row.endpoint, job.row.id)
        lines = input_lines(self._storage, job.row)
        with contextlib.suppress(TimeoutError):
            async with contextlib.aclosing(lines), asyncio.timeout(self._time_left_s(job)):
                await LineRunner(job, answerer, self._gate).run(lines, done)

    def _time_left_s(self, job: Job[BatchRow]) -> float:
        return max(0.0, job.row.expires_at - now_s())

    async def _finish(self, job: Job[BatchRow]) -> None:
        if job.row.status == CANCELLING:
            await finish(self._storage, job, CANCELLED)
            return
        num_done = job.row.num_completed + job.row.num_failed
        if num_done < job.row.num_total and self._time_left_s(job):
            raise RuntimeError(f"{num_done} of {job.row.num_total} lines have results")
        if num_done < job.row.num_total:
            await finish(self._storage, job, EXPIRED)
            return
        if job.row.status != FINALIZING:
            async with job.writing() as (_, row):
                if row.status == IN_PROGRESS:
                    row.status, row.finalizing_at = FINALIZING, now_s()
        await finish(self._storage, job, COMPLETED if job.row.status == FINALIZING else CANCELLED)

    async def _fail(self, job: Job[BatchRow], message: str) -> None:
        async with job.writing() as (session, row):
            fault = {"code": "server_error", "message": message, "param": None, "line": None}
            row.errors = [*(row.errors or []), fault]
            row.status, row.failed_at, row.is_open = FAILED, now_s(), False
            await emit(session, row.project_id, f"batch.{FAILED}", row.id)


def batches(state: ServerState) -> Batches:
    """The kind, for a server whose storage is open and whose model is loaded."""
    assert state.context is not None
    assert state.storage is not None
    return Batches(state.context, state.storage, LiveFirst(state))
