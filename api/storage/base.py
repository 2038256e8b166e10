"""The declarative base, the mixins of rows, and column types that SQLite and PostgreSQL share.

Text and JSON that clients chose are kept as bytes: PostgreSQL's text cannot hold U+0000, which
JSON may contain, and bytes come back exactly as they were.
"""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import BigInteger, Dialect, Index, LargeBinary, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column
from sqlalchemy.types import TypeDecorator

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

ID = String(128)


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(naming_convention=NAMING)


class Json(TypeDecorator[Any]):
    """A JSON value, as bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        """To the database."""
        return None if value is None else orjson.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """From the database."""
        return None if value is None else orjson.loads(value)


class FreeText(TypeDecorator[str]):
    """Text that a client chose, as UTF-8; lone surrogates come back as they were."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        """To the database."""
        return None if value is None else value.encode("utf-8", "surrogatepass")

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """From the database."""
        return None if value is None else bytes(value).decode("utf-8", "surrogatepass")


class Owned:
    """A row of one project.

    Attributes:
        id: from `api.storage.ids.new_id`, so the order of ids is the order of creation.
        project_id: whose it is; no other project sees it.
        created_at: Unix time, in seconds.
    """

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    project_id: Mapped[str] = mapped_column(ID)
    created_at: Mapped[int] = mapped_column(BigInteger)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return (Index(None, "project_id", "id"),)
