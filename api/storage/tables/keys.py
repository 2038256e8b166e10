"""API keys: what each may do, and the hash it is known by."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import FreeText, Json
from api.storage.owned import OwnedRow


class KeyRow(OwnedRow):
    """One key. Rows are never deleted: usage names them.

    Attributes:
        name: the operator's note.
        hint: the key's last characters, to tell it by.
        key_hash: SHA-256 of the key.
        roles: of `api.keys.tenant.ROLES`.
        requests_per_minute, tokens_per_minute: None = the server's default.
        expires_at, revoked_at: Unix time in seconds; None = not.
    """

    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(FreeText)
    hint: Mapped[str] = mapped_column(String(8))
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    roles: Mapped[list[str]] = mapped_column(Json)
    requests_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    tokens_per_minute: Mapped[int | None] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
