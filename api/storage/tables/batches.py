"""Batches, and the results of their lines until the output file is written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base, FreeText, Json
from api.storage.leases import LeasedRow


class BatchRow(LeasedRow):
    """One batch, which is a job.

    Attributes:
        status: OpenAI's: validating, in_progress, finalizing, completed, failed, expired,
            cancelling, cancelled.
        errors: why validation failed: `{code, message, param, line}` each.
        num_total: lines; 0 until validation has counted them.
        num_completed, num_failed: lines with a result, by kind.
        key_id: of the key that made it: what its tokens are counted by.
        usage: sums over the results so far.
        output_expires_after_s: of output and error file; None = never.
    """

    __tablename__ = "batches"

    endpoint: Mapped[str] = mapped_column(String(64))
    input_file_id: Mapped[str] = mapped_column(ID, index=True)
    completion_window: Mapped[str] = mapped_column(String(16))
    user_metadata: Mapped[dict[str, str] | None] = mapped_column(Json)
    key_id: Mapped[str] = mapped_column(ID)
    output_expires_after_s: Mapped[int | None]
    model: Mapped[str | None] = mapped_column(FreeText)
    status: Mapped[str] = mapped_column(String(16))
    errors: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    num_total: Mapped[int] = mapped_column(default=0)
    num_completed: Mapped[int] = mapped_column(default=0)
    num_failed: Mapped[int] = mapped_column(default=0)
    usage: Mapped[dict[str, int] | None] = mapped_column(Json)
    output_file_id: Mapped[str | None] = mapped_column(ID)
    error_file_id: Mapped[str | None] = mapped_column(ID)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    in_progress_at: Mapped[int | None] = mapped_column(BigInteger)
    finalizing_at: Mapped[int | None] = mapped_column(BigInteger)
    completed_at: Mapped[int | None] = mapped_column(BigInteger)
    failed_at: Mapped[int | None] = mapped_column(BigInteger)
    expired_at: Mapped[int | None] = mapped_column(BigInteger)
    cancelling_at: Mapped[int | None] = mapped_column(BigInteger)
    cancelled_at: Mapped[int | None] = mapped_column(BigInteger)


class BatchLineRow(Base):
    """The result of one line. Its key makes a second result of the same line impossible.

    Attributes:
        line_index: of the line in the input file, blank lines counted, from 0.
        is_success: goes to the output file; else to the error file.
        result: the line of output, with its line break.
    """

    __tablename__ = "batch_lines"

    batch_id: Mapped[str] = mapped_column(ID, primary_key=True)
    line_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    is_success: Mapped[bool]
    result: Mapped[bytes] = mapped_column(LargeBinary)
