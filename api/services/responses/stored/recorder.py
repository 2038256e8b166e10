"""Writes a response down while it is made. What a client was told of, there is.

at the start   a stream's response and its first events, before they are sent
meanwhile      a lease, so that somebody ends it if this process dies
at the end     output, events and the conversation's new items in one transaction, before the
               event that ends it is sent
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from api.errors import APIError
from api.services.responses.conversation.history import History
from api.services.responses.events.dialects import TERMINAL
from api.services.responses.events.frame import ResponseFrame
from api.services.responses.exchange import Exchange
from api.services.responses.objects.open_items import Event
from api.services.responses.objects.snapshot import Snapshot
from api.services.responses.stored.rows import LEASE_MS, Work, write_begin, write_end, writing
from api.storage.errors import StorageError
from api.storage.leases import Lease, LeaseLostError, hold, renew
from api.storage.responses import add_events
from api.storage.tables.responses import ResponseRow

Events = AsyncGenerator[list[Event], None]

BEATS_PER_LEASE = 3


class Recorder:
    """Of one response that its client waits for.

    Arguments:
        request: the body, to be continued.
        is_begun_first: the response is there while it is made, not only when it is over.
    """

    def __init__(
        self,
        exchange: Exchange,
        frame: ResponseFrame,
        history: History,
        request: dict[str, Any],
        *,
        is_begun_first: bool,
    ) -> None:
        self._is_begun_first = is_begun_first
        self._exchange = exchange
        self._frame = frame
        self._history = history
        self._request = request
        self._lease: Lease | None = None

    async def recorded(self, events: Events) -> Events:
        """`events`, each after what it says was written down."""
        kept: list[Event] = []
        is_over = False
        beating: asyncio.Task[None] | None = None
        try:
            async with contextlib.aclosing(events):
                async for ready in events:
                    if beating is None and self._is_begun_first:
                        beating = await self._begin(ready)
                    else:
                        kept += ready
                    is_over = bool(ready) and ready[-1]["type"] in TERMINAL
                    yield await self._ended(ready, kept) if is_over else ready
        finally:
            if beating is not None:
                beating.cancel()
            if not is_over and self._lease is not None:
                await asyncio.shield(self._abandon(kept))

    async def _begin(self, ready: Sequence[Event]) -> asyncio.Task[None]:
        """The response exists from now on."""
        owner = f"stream-{secrets.token_hex(8)}"
        async with writing(self._exchange) as session:
            row = await self._insert(
                session, ready[-1]["response"], Work(is_open=True, owner=owner)
            )
            add_events(session, row.id, ready)
        self._lease = Lease(row.id, owner, 0)
        return asyncio.create_task(self._beat(self._lease))

    async def _beat(self, lease: Lease) -> None:
        """Keep the lease while the response is made, and what it has used."""
        while True:
            await asyncio.sleep(LEASE_MS / 1000 / BEATS_PER_LEASE)
            with contextlib.suppress(StorageError):
                async with self._exchange.storage.database.writing() as session:
                    row = await renew(session, ResponseRow, lease, LEASE_MS)
                    if row is not None:
                        row.usage = self._frame.usage

    async def _ended(self, ready: list[Event], kept: Sequence[Event]) -> list[Event]:
        try:
            await self.finish(ready[-1]["response"], kept)
        except APIError as error:
            return [*ready[:-1], *self._frame.failing(error, ready[-1]["sequence_number"])]
        return ready

    async def finish(self, response: Snapshot, events: Sequence[Event]) -> None:
        """Write down how it ended.

        Raises:
            APIError: it could not be written down, or was deleted meanwhile.
        """
        try:
            async with writing(self._exchange) as session:
                if self._lease is not None:
                    row = await hold(session, ResponseRow, self._lease)
                    add_events(session, row.id, events)
                else:
                    row = await self._insert(session, response, Work())
                await write_end(session, row, response, self._history.own)
        except LeaseLostError:
            raise APIError(
                "The response was deleted while it was made.", status=409, code="not_found"
            ) from None

    async def _abandon(self, events: Sequence[Event]) -> None:
        """The client of a stream went away: what there is stays, as cancelled."""
        ending = self._frame.cancelled()
        with contextlib.suppress(APIError):
            await self.finish(ending[-1]["response"], [*events, *ending])

    async def _insert(self, session: Any, response: Snapshot, work: Work) -> ResponseRow:
        return await write_begin(
            session,
            self._exchange,
            response,
            self._history,
            self._request,
            work=work,
            has_events=self._frame.is_streamed,
            usage=self._frame.usage,
        )
