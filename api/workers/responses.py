"""Responses as jobs: those made in the background, and those whose maker died."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from api.context import ServerContext, ServerState
from api.errors import APIError
from api.services.access.usage import record_left
from api.services.generation.events import told
from api.services.responses.events.dialects import TERMINAL
from api.services.responses.events.run import TRANSIENT
from api.services.responses.objects.open_items import Event
from api.services.responses.objects.snapshot import error_of
from api.services.responses.stored.background import end_now, make_again, queue_of
from api.services.responses.stored.mcp_claims import called_in, let_go
from api.services.responses.stored.rows import FOREGROUND, write_end
from api.storage.database import Database
from api.storage.errors import StorageError
from api.storage.responses import add_events
from api.storage.tables.responses import ResponseRow
from api.workers.job import Job
from engine.errors import EngineError

LEFT = {
    "code": "server_error",
    "message": "The server stopped, or lost its storage, while it made this response.",
}
GIVEN_UP = {"code": "server_error", "message": "The server could not make this response."}


class BackgroundResponses:
    """Makes background responses of this server's model."""

    name = "response"
    table = ResponseRow

    def __init__(self, context: ServerContext, database: Database) -> None:
        self._context = context
        self._database = database
        self.queues: Sequence[str] = (queue_of(context),)
        self.max_num_running = context.engine.info.max_num_seqs

    async def run(self, job: Job[ResponseRow]) -> None:
        """Make what is missing of it."""
        try:
            async with self._database.reading() as session:
                frame, events, own = await make_again(self._context, job.row, session)
            async with contextlib.aclosing(events):
                async for ready in events:
                    await _write(job, ready, own, frame.usage)
                    if job.row.is_cancelled:
                        break
        except (*TRANSIENT, StorageError):
            raise  # it is made again
        except (APIError, EngineError) as fault:
            await _end(job, error_of(told(fault)))
        else:
            if job.row.is_open:
                await _cancel(job, frame.usage)

    async def give_up(self, job: Job[ResponseRow]) -> None:
        """It failed too often."""
        await _end(job, GIVEN_UP)


class LeftResponses:
    """Ends responses whose client waited for them when their process died; what they say to have
    used is in the ledger."""

    name = "left response"
    table = ResponseRow
    queues: Sequence[str] = (FOREGROUND,)
    max_num_running = 4

    async def run(self, job: Job[ResponseRow]) -> None:
        """Say that it failed."""
        async with job.writing() as (session, row):
            await end_now(session, row, "failed", LEFT)
            await record_left(session, row)

    give_up = run


def background_responses(state: ServerState) -> BackgroundResponses:
    """For `api.workers.crew`."""
    assert state.context is not None
    assert state.storage is not None
    return BackgroundResponses(state.context, state.storage.database)


def left_responses(state: ServerState) -> LeftResponses:
    """For `api.workers.crew`."""
    return LeftResponses()


async def _write(
    job: Job[ResponseRow],
    events: Sequence[Event],
    own: list[dict[str, Any]],
    usage: dict[str, Any],
) -> None:
    """Events, and what they say of the response, in one transaction."""
    async with job.writing() as (session, row):
        row.usage = usage
        add_events(session, row.id, events)
        for event in events:
            if event["type"] in TERMINAL:
                await write_end(session, row, event["response"], own)
                await let_go(session, row.id, called_in(row.body["output"]))
            elif event["type"] == "response.in_progress":
                row.status, row.body = "in_progress", event["response"]


async def _end(job: Job[ResponseRow], error: dict[str, Any]) -> None:
    async with job.writing() as (session, row):
        await end_now(session, row, "failed", error)


async def _cancel(job: Job[ResponseRow], usage: dict[str, Any]) -> None:
    """What it made after the last write is not told, but counted."""
    async with job.writing() as (session, row):
        row.usage = usage
        await end_now(session, row, "cancelled")
