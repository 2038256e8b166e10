"""Jobs: rows that one worker at a time works on, whichever replica it lives in.

    open, free ──claim──► open, leased ──(its own code)──► not open
                  ▲            │
                  └─release────┤   the worker hands over, or failed and lets others try later
                  └─expires────┘   the worker died: nobody renewed the lease

Claiming is one statement, the same on SQLite and PostgreSQL. Each claim has a higher number; what a
worker writes for its job is written in a transaction that first holds the row by that number, so a
worker that lost its lease without noticing can write nothing. Times are the database's own, because
the clocks of replicas differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import BigInteger, ColumnElement, String, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.sql.expression import FunctionElement

from api.storage.owned import OwnedRow


class now_ms(FunctionElement[int]):
    """The database's clock, in milliseconds of Unix time."""

    type = BigInteger()
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _sqlite_now(element: Any, compiler: Any, **keywords: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(now_ms, "postgresql")
def _postgresql_now(element: Any, compiler: Any, **keywords: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"


class Leased:
    """Columns of a job, beside what the job is about.

    Attributes:
        queue: who may claim it: workers that serve this queue.
        is_open: there is something left to do.
        lease_owner: the worker; None = nobody yet, or handed over.
        lease_until: in the database's `now_ms`; before it nobody else may claim the job.
        lease_number: counts claims.
        num_failures: how often work on it ended with an error.
    """

    queue: Mapped[str] = mapped_column(String(128))
    is_open: Mapped[bool] = mapped_column(index=True)
    lease_owner: Mapped[str | None] = mapped_column(String(64), default=None)
    lease_until: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_number: Mapped[int] = mapped_column(default=0)
    num_failures: Mapped[int] = mapped_column(default=0)


class LeasedRow(Leased, OwnedRow):
    """What tables of jobs have in common, for types."""

    __abstract__ = True


Row = TypeVar("Row", bound=LeasedRow)

FRESH: dict[str, Any] = {"populate_existing": True, "synchronize_session": False}
"""Rows come from the statement, not from what the session remembers."""


@dataclasses.dataclass(frozen=True)
class Lease:
    """One claim."""

    row_id: str
    owner: str
    number: int


class LeaseLostError(Exception):
    """Somebody else has the job, or it is no longer open."""


async def claim(
    session: AsyncSession, table: type[Row], queues: Sequence[str], owner: str, lease_ms: int
) -> Row | None:
    """The oldest free job of these queues, leased to `owner`; None if there is none."""
    free = (
        select(table.id)
        .where(table.queue.in_(queues), table.is_open, table.lease_until < now_ms())
        .order_by(table.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(table)
        .where(table.id == free)
        .values(
            lease_owner=owner,
            lease_until=now_ms() + lease_ms,
            lease_number=table.lease_number + 1,
        )
        .returning(table)
        .execution_options(**FRESH)
    )
    return (await session.scalars(statement)).one_or_none()


async def renew(session: AsyncSession, table: type[Row], lease: Lease, lease_ms: int) -> Row | None:
    """Keep the job for `lease_ms` more, and the row as it is now; None when the lease is lost."""
    statement = (
        update(table)
        .where(*_held(table, lease), table.is_open)
        .values(lease_until=now_ms() + lease_ms)
        .returning(table)
        .execution_options(**FRESH)
    )
    return (await session.scalars(statement)).one_or_none()


async def hold(session: AsyncSession, table: type[Row], lease: Lease) -> Row:
    """First in a transaction that writes for a job: the row, safe from others until the end.

    Raises:
        LeaseLostError: the job is not this worker's any more.
    """
    statement = select(table).where(*_held(table, lease)).with_for_update()
    row = (await session.scalars(statement.execution_options(populate_existing=True))).one_or_none()
    if row is None:
        raise LeaseLostError(lease.row_id)
    return row


async def release(
    session: AsyncSession,
    table: type[Row],
    lease: Lease,
    *,
    delay_ms: int = 0,
    has_failed: bool = False,
) -> None:
    """Let others claim the job, after `delay_ms`. Nothing happens if the lease is lost already."""
    await session.execute(
        update(table)
        .where(*_held(table, lease))
        .values(
            lease_owner=None,
            lease_until=now_ms() + delay_ms if delay_ms else 0,
            num_failures=table.num_failures + int(has_failed),
        )
        .execution_options(synchronize_session=False)
    )


def _held(table: type[Row], lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (
        table.id == lease.row_id,
        table.lease_owner == lease.owner,
        table.lease_number == lease.number,
    )
