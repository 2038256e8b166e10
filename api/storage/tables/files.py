"""Files: the row says what it is; its bytes are a blob under the same id."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import FreeText
from api.storage.owned import OwnedRow


class FileRow(OwnedRow):
    """One file.

    Attributes:
        status: `uploading` until its blob is whole, then `processed`; `deleted` until its blob is
            gone. Only `processed` ones are shown.
        expires_at: Unix time; None = never.
        touched_at: Unix time of the last sign of life of an upload, so that leftovers are found.
    """

    __tablename__ = "files"

    num_bytes: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str] = mapped_column(FreeText)
    purpose: Mapped[str] = mapped_column(String(32))
    status: Mapped[str] = mapped_column(String(16))
    expires_at: Mapped[int | None] = mapped_column(BigInteger, index=True)
    touched_at: Mapped[int] = mapped_column(BigInteger)
