"""Writing the usage ledger, and adding it up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from api.keys.accounts import UsageRecord
from api.storage.database import Database
from api.storage.inserting import insert_new
from api.storage.tables.responses import ResponseRow
from api.storage.tables.usage import UsageRow

LEFT = "left"
"""The outcome of what a process that died had under way."""


class DatabaseUsageWriter:
    """`api.keys.accounts.UsageWriter` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, records: list[UsageRecord]) -> None:
        """One transaction; records that are there already are passed over, so that a commit whose
        answer was lost may be tried again."""
        rows = [dataclasses.asdict(record) for record in records]
        async with self._database.writing() as session:
            await session.execute(insert_new(session, UsageRow), rows)


async def record_left(session: AsyncSession, row: ResponseRow) -> None:
    """A record of what a response says to have used and no record has: its process died before it
    wrote one."""
    if row.usage is None:
        return
    columns = (
        UsageRow.num_prompt_tokens,
        UsageRow.num_cached_tokens,
        UsageRow.num_generated_tokens,
    )
    own = (
        UsageRow.key_id == row.key_id,
        UsageRow.created_at >= row.created_at,
        UsageRow.id.startswith(f"{row.id}-", autoescape=True),
    )
    found = (await session.execute(select(*map(func.sum, columns)).where(*own))).one()
    told = (
        row.usage["input_tokens"],
        row.usage["input_tokens_details"]["cached_tokens"],
        row.usage["output_tokens"],
    )
    rest = [max(0, said - int(had or 0)) for said, had in zip(told, found, strict=True)]
    record = UsageRecord(
        id=f"{row.id}-{LEFT}",
        project_id=row.project_id,
        key_id=row.key_id,
        created_at=int(time.time()),
        model=row.body["model"],
        num_prompt_tokens=rest[0],
        num_cached_tokens=rest[1],
        num_generated_tokens=rest[2],
        outcome=LEFT,
    )
    session.add(UsageRow(**dataclasses.asdict(record)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sums of some records."""

    key_id: str
    project_id: str
    num_requests: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_generated_tokens: int


async def usage_by_key(database: Database, start_s: int, end_s: int) -> Sequence[Usage]:
    """Sums of [start_s, end_s), Unix times, of each key that used anything."""
    query = (
        select(
            UsageRow.key_id,
            UsageRow.project_id,
            func.count(UsageRow.id),
            func.sum(UsageRow.num_prompt_tokens),
            func.sum(UsageRow.num_cached_tokens),
            func.sum(UsageRow.num_generated_tokens),
        )
        .where(UsageRow.created_at >= start_s, UsageRow.created_at < end_s)
        .group_by(UsageRow.key_id, UsageRow.project_id)
        .order_by(UsageRow.key_id, UsageRow.project_id)
    )
    async with database.reading() as session:
        rows = (await session.execute(query)).all()
    return [
        Usage(
            key_id=row[0],
            project_id=row[1],
            num_requests=int(row[2]),
            num_prompt_tokens=int(row[3]),
            num_cached_tokens=int(row[4]),
            num_generated_tokens=int(row[5]),
        )
        for row in rows
    ]
