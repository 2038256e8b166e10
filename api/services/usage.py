"""Writing the usage ledger, and adding it up."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from api.keys.accounts import UsageRecord
from api.storage.database import Database
from api.storage.tables.usage import UsageRow

INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class DatabaseUsageWriter:
    """`api.keys.accounts.UsageWriter` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, records: list[UsageRecord]) -> None:
        """One transaction; records that are there already are passed over, so that a commit whose
        answer was lost may be tried again."""
        insert = INSERTS[self._database.engine.dialect.name](UsageRow).on_conflict_do_nothing()
        async with self._database.writing() as session:
            await session.execute(insert, [dataclasses.asdict(record) for record in records])


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
