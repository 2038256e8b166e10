"""One claimed job, as the code that runs it sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from api.storage.database import Database
from api.storage.leases import Lease, LeasedRow, hold, renew

Row = TypeVar("Row", bound=LeasedRow)


class Job(Generic[Row]):
    """A job in work.

    Attributes:
        row: as it was when last read: at the claim, at each `writing` and at each heartbeat. Not
            bound to a session.
        lease: what proves that it is ours.
        should_stop: set when this process is to end: begin nothing new, and return or be cancelled
            soon; the job is then handed over as it is.
        changed: set whenever `row` was read anew, for who waits for a change made by others.
    """

    def __init__(self, database: Database, table: type[Row], row: Row, owner: str) -> None:
        self.row = row
        self.lease = Lease(row.id, owner, row.lease_number)
        self.should_stop = asyncio.Event()
        self.changed = asyncio.Event()
        self._database = database
        self._table = table
        # So that `row` is always that of the last transaction.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[tuple[AsyncSession, Row]]:
        """A transaction that writes for this job, with its row, which is safe from others.

        Raises:
            LeaseLostError: the job is somebody else's by now; nothing is written.
            StorageError: the database cannot be used.
        """
        async with self._turn:
            async with self._database.writing() as session:
                row = await hold(session, self._table, self.lease)
                yield session, row
            self._took(row)

    async def beat(self, lease_ms: int) -> bool:
        """Keep the lease; False when it is lost."""
        async with self._turn:
            async with self._database.writing() as session:
                row = await renew(session, self._table, self.lease, lease_ms)
            if row is not None:
                self._took(row)
        return row is not None

    async def wait_until(self, condition: Callable[[Row], bool]) -> None:
        """Return when the row, as last read, satisfies `condition`."""
        while not condition(self.row):
            self.changed.clear()
            await self.changed.wait()

    def _took(self, row: Row) -> None:
        self.row = row
        self.changed.set()
