"""Writes a response down while it is made. What a client was told of, there is.

at the start   a stream's response, before `response.created` is sent
at the end     output, events and the conversation's new items in one transaction, before the
               event that ends it is sent
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import APIError
from api.services.responses.dialects import TERMINAL
from api.services.responses.exchange import Exchange
from api.services.responses.history import History
from api.services.responses.open_items import Event
from api.services.responses.run import ResponseRun
from api.services.responses.snapshot import Snapshot
from api.storage.conversations import append_items, load_conversation
from api.storage.errors import StorageError
from api.storage.responses import add_events, add_items
from api.storage.tables.responses import ResponseRow

Events = AsyncGenerator[list[Event], None]

QUEUE = "responses"
"""Of responses whose client waits for them: nobody else works on them."""

KEPT = frozenset({"completed", "incomplete"})
"""Statuses of responses that become part of their conversation."""


class Recorder:
    """Of one response.

    Arguments:
        request: the body, to be continued or taken over.
    """

    def __init__(
        self, exchange: Exchange, run: ResponseRun, history: History, request: dict[str, Any]
    ) -> None:
        self._exchange = exchange
        self._run = run
        self._history = history
        self._request = request
        self._is_begun = False

    async def begin(self, status: str) -> None:
        """The response exists from now on.

        Raises:
            APIError: 409, its id is taken.
            StorageError: it could not be written down.
        """
        async with self._writing() as session:
            self._insert(session, self._run.snapshot(status))
        self._is_begun = True

    async def recorded(self, events: Events) -> Events:
        """`events`, each after what it says was written down."""
        kept: list[Event] = []
        is_over = False
        try:
            async with contextlib.aclosing(events):
                async for ready in events:
                    if not kept and self._run.is_streamed:
                        await self.begin("in_progress")
                    kept += ready
                    is_over = ready[-1]["type"] in TERMINAL
                    yield await self._ended(ready, kept) if is_over else ready
        finally:
            if not is_over and self._is_begun:
                await asyncio.shield(self._abandon(kept))

    async def _ended(self, ready: list[Event], kept: list[Event]) -> list[Event]:
        try:
            await self.finish(ready[-1]["response"], kept)
        except StorageError as error:
            return [*ready[:-1], *self._run.failing(error, ready[-1]["sequence_number"])]
        return ready

    async def finish(self, response: Snapshot, events: Sequence[Event]) -> None:
        """Write down how it ended. Raises StorageError."""
        async with self._writing() as session:
            if self._is_begun:
                row = await session.get_one(ResponseRow, response["id"])
                row.status, row.body = response["status"], response
            else:
                self._insert(session, response)
            first, project_id = len(self._history.own), self._exchange.project_id
            output = response["output"]
            add_items(session, project_id, response["id"], output, first=first, is_output=True)
            if self._run.is_streamed:
                add_events(session, response["id"], events)
            if response["conversation"] is not None and response["status"] in KEPT:
                await self._converse(session, response)

    async def _converse(self, session: AsyncSession, response: Snapshot) -> None:
        """A conversation that was deleted meanwhile gets nothing."""
        conversation_id = response["conversation"]["id"]
        with contextlib.suppress(APIError):
            row = await load_conversation(
                session, self._exchange.project_id, conversation_id, lock=True
            )
            await append_items(session, row, [*self._history.own, *response["output"]])

    async def _abandon(self, events: Sequence[Event]) -> None:
        """The client of a stream went away: what there is stays, as cancelled."""
        ending = self._run.cancelled()
        with contextlib.suppress(StorageError):
            await self.finish(ending[-1]["response"], [*events, *ending])

    def _insert(self, session: AsyncSession, response: Snapshot) -> None:
        history, conversation = self._history, response["conversation"]
        row = ResponseRow(
            id=response["id"],
            project_id=self._exchange.project_id,
            created_at=response["created_at"],
            key_id=self._exchange.context.tenant.key_id,
            status=response["status"],
            queue=QUEUE,
            is_open=False,
            body=response,
            request=self._request,
            parent_id=response["previous_response_id"],
            ancestors=list(history.ancestors),
            conversation_id=None if conversation is None else conversation["id"],
            num_before=history.num_before,
            is_background=response["background"],
            has_events=self._run.is_streamed,
        )
        session.add(row)
        add_items(session, row.project_id, row.id, history.own)

    @contextlib.asynccontextmanager
    async def _writing(self) -> AsyncGenerator[AsyncSession, None]:
        try:
            async with self._exchange.storage.database.writing() as session:
                yield session
        except IntegrityError:
            raise APIError(
                "There is a response with this 'request_id' already.",
                status=409,
                param="request_id",
                code="duplicate_request_id",
            ) from None
