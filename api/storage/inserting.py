"""Rows that may be there already."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from api.storage.base import Base

_INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_new(session: AsyncSession, table: type[Base]) -> sqlite.Insert | postgresql.Insert:
    """An insert that passes rows over that are there, in the words of the session's database."""
    return _INSERTS[session.get_bind().dialect.name](table).on_conflict_do_nothing()
