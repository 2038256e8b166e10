"""Answers that are kept so that a request sent again is not carried out again."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from api.storage.base import ID, Base, Json


class IdempotencyRow(Base):
    """One `Idempotency-Key` of a project.

    Attributes:
        id: SHA-256 of project and key, in hexadecimal.
        request_hash: SHA-256 of method, path, query and body.
        origin: an id from which those of what the request makes follow, the same for each attempt.
        owner: who carries the request out; "" when its answer is here.
        lease_until_ms: Unix time; an owner that has not renewed it until then is gone.
        expires_at: Unix time in seconds, after which the key is free again.
        status, headers, body: the answer.
    """

    __tablename__ = "idempotency_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project_id: Mapped[str] = mapped_column(ID)
    request_hash: Mapped[bytes] = mapped_column(LargeBinary)
    origin: Mapped[str] = mapped_column(ID)
    owner: Mapped[str] = mapped_column(String(64))
    lease_until_ms: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger, index=True)
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[dict[str, str]] = mapped_column(Json)
    body: Mapped[bytes] = mapped_column(LargeBinary)
