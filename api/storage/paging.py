"""Lists in pages, as the SDKs' auto-paging walks them: `after`, `before`, `limit`, `order`.

    {"object": "list", "data": [...], "first_id": ..., "last_id": ..., "has_more": ...}

An id sorts as its time of creation, so a cursor still works when its row is gone: who deletes what
a page shows finds the next page. What can be no id of the list is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from api.errors import APIError
from api.storage import ids
from api.storage.base import Base

Row = TypeVar("Row", bound=Base)

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageQuery:
    """Which page.

    Attributes:
        after, before: ids; the page holds what comes after, or before, them in `order`.
        limit: most rows of the page.
        order: `desc` is newest first.
    """

    after: str | None = None
    before: str | None = None
    limit: int = DEFAULT_LIMIT
    order: Literal["asc", "desc"] = "desc"


@dataclasses.dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows in order, and whether there are more in the direction of the walk."""

    rows: Sequence[Row]
    has_more: bool


async def page_of(
    session: AsyncSession,
    select: Select[Row],
    id_column: InstrumentedAttribute[str],
    query: PageQuery,
    kind: str,
) -> Page[Row]:
    """One page of `select`, which must be filtered and not ordered.

    Arguments:
        kind: of the ids, as in `api.storage.ids.PREFIXES`.

    Raises:
        APIError: 400 for a cursor that cannot be one.
    """
    for name, cursor in (("after", query.after), ("before", query.before)):
        if cursor is not None and not ids.is_generated(cursor, kind):
            raise no_such_item(name)
    is_up = query.order == "asc"
    bounds: list[ColumnElement[bool]] = []
    if query.after is not None:
        bounds.append(id_column > query.after if is_up else id_column < query.after)
    if query.before is not None:
        bounds.append(id_column < query.before if is_up else id_column > query.before)
    # Only `before`: the rows next to the cursor, walked away from it.
    is_backwards = query.before is not None and query.after is None
    ascending = is_up != is_backwards
    ordered = select.where(*bounds).order_by(id_column.asc() if ascending else id_column.desc())
    found = list((await session.scalars(ordered.limit(query.limit + 1))).all())
    rows = found[: query.limit]
    return Page(rows[::-1] if is_backwards else rows, len(found) > query.limit)


def no_such_item(name: str) -> APIError:
    """400 for a cursor; `name` is `after` or `before`."""
    return APIError(
        f"Invalid '{name}': there is no such item in this list.", param=name, code="invalid_value"
    )


def page_body(
    page: Page[Row], to_body: Callable[[Row], dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """The list as OpenAI writes it."""
    data = [to_body(row) for row in page.rows]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": page.has_more,
        **more,
    }
