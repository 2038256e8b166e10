"""The ledger: one row for each engine request that is over."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base, FreeText


class UsageRow(Base):
    """See `api.keys.accounts.UsageRecord`."""

    __tablename__ = "usage_records"
    __table_args__ = (
        Index(None, "created_at"),
        Index(None, "key_id", "created_at"),
        Index(None, "project_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(256), primary_key=True)
    project_id: Mapped[str] = mapped_column(ID)
    key_id: Mapped[str] = mapped_column(ID)
    created_at: Mapped[int] = mapped_column(BigInteger)
    model: Mapped[str] = mapped_column(FreeText)
    num_prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    num_cached_tokens: Mapped[int] = mapped_column(BigInteger)
    num_generated_tokens: Mapped[int] = mapped_column(BigInteger)
    outcome: Mapped[str] = mapped_column(String(32))
