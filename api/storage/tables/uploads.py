"""Uploads: files that come in parts. Bytes of a part are a blob under its id."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, FreeText
from api.storage.owned import OwnedRow


class UploadRow(OwnedRow):
    """One upload.

    Attributes:
        num_bytes: what the parts must add up to.
        status: pending, completed, cancelled; expired ones are pending past `expires_at`.
        file_expires_after_s: of the file; None = never.
        file_id: the file it became.
        has_blobs: bytes of its parts are still kept.
    """

    __tablename__ = "uploads"

    filename: Mapped[str] = mapped_column(FreeText)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    purpose: Mapped[str] = mapped_column(String(32))
    mime_type: Mapped[str] = mapped_column(FreeText)
    status: Mapped[str] = mapped_column(String(16))
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    file_expires_after_s: Mapped[int | None]
    file_id: Mapped[str | None] = mapped_column(ID)
    has_blobs: Mapped[bool]


class UploadPartRow(OwnedRow):
    """One part.

    Attributes:
        is_whole: its blob is there.
    """

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ID, index=True)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    is_whole: Mapped[bool]
