"""Queries that never leave their project."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.errors import APIError
from api.storage import ids
from api.storage.base import Base, Owned


class OwnedRow(Owned, Base):
    """What `Owned` tables have in common, for types."""

    __abstract__ = True


Row = TypeVar("Row", bound=OwnedRow)


def owned(table: type[Row], project_id: str) -> Select[Row]:
    """The project's rows of a table."""
    return select(table).where(table.project_id == project_id)


def id_of(table: type[Row]) -> InstrumentedAttribute[str]:
    """The id column, for `api.storage.paging.page_of`."""
    return table.id  # pyright: ignore[reportReturnType]


async def find_owned(
    session: AsyncSession, table: type[Row], project_id: str, row_id: str, *, lock: bool = False
) -> Row | None:
    """A row by its id, or None if the project has none of that id.

    Arguments:
        lock: keep others from changing it until the transaction ends (PostgreSQL; SQLite's writer
            is alone anyway).
    """
    if not ids.is_sane(row_id):
        return None
    query = owned(table, project_id).where(table.id == row_id)
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def load_owned(
    session: AsyncSession,
    table: type[Row],
    project_id: str,
    row_id: str,
    what: str,
    *,
    lock: bool = False,
) -> Row:
    """A row by its id. Raises APIError 404, naming `what` it is, if the project has none."""
    row = await find_owned(session, table, project_id, row_id, lock=lock)
    if row is None:
        raise not_found(what, row_id)
    return row


def not_found(what: str, row_id: str) -> APIError:
    """404, the same whether the row is another project's or nobody's."""
    shown = row_id if ids.is_sane(row_id) else ascii(row_id)[1:-1]
    return APIError(f"No such {what}: {shown[:128]}", status=404, param="id", code="not_found")
