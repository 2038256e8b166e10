"""`Idempotency-Key`: the first request with a key is carried out, later ones get its answer.

    free ──claim──► carried out ──complete──► answered ──24 h──► free
      ▲                  │
      └──release, or the lease of a process that died runs out

A claim is committed before the work begins and the answer before its end is sent, so a client that
did not get the whole answer may always send the request again with the same key: it gets the same
bytes, or 409 while the first one runs, or (when that one failed or was left) a new attempt. Nothing
is there twice after a crash: ids of what a request makes follow from the key's `origin`, so that
the next attempt finds what the first one left behind; and where a request changes what there is
already, its answer is kept in the transaction that does so (`Answered`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import APIError, retry_headers
from api.storage.database import Database
from api.storage.ids import new_id
from api.storage.inserting import insert_new
from api.storage.tables.idempotency import IdempotencyRow

LIFETIME_S = 24 * 3600
LEASE_S = 60.0
RENEW_S = 20.0
MAX_ANSWER_BYTES = 8 * 2**20


@dataclasses.dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What the first request got."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Answered = Callable[[AsyncSession, Mapping[str, Any]], Awaitable[None]]
"""Told, in the transaction that does what a request asks for, what its answer will be."""


async def unasked(session: AsyncSession, body: Mapping[str, Any]) -> None:
    """`Answered` of a request without an `Idempotency-Key`."""


class Claim:
    """The right to carry a request out, kept alive until it is completed or released.

    Attributes:
        origin: see `IdempotencyRow`.
    """

    def __init__(self, database: Database, row_id: str, owner: str, origin: str) -> None:
        self.origin = origin
        self._database = database
        self._row_id = row_id
        self._owner = owner
        self._is_over = False
        self._renewing = asyncio.create_task(self._renew())

    async def complete(self, answer: StoredAnswer) -> None:
        """Keep the answer for those who ask again. Does nothing after `answered`. Raises
        StorageError."""
        await self._end()
        async with self._database.writing() as session:
            await self._keep(session, answer)

    async def answered(self, session: AsyncSession, answer: StoredAnswer) -> None:
        """Keep the answer if, and only if, the transaction is committed.

        Raises:
            APIError: 409, the lease ran out, and another attempt has the key.
        """
        if not await self._keep(session, answer):
            raise _in_use()

    async def _keep(self, session: AsyncSession, answer: StoredAnswer) -> bool:
        kept = await session.execute(
            update(IdempotencyRow)
            .where(IdempotencyRow.id == self._row_id, IdempotencyRow.owner == self._owner)
            .values(
                owner="",
                status=answer.status,
                headers=dict(answer.headers),
                body=answer.body,
                expires_at=int(time.time()) + LIFETIME_S,
            )
            .returning(IdempotencyRow.id)
        )
        return kept.first() is not None

    async def release(self) -> None:
        """There is no answer to keep: the next request with the key is carried out. Does nothing
        after `complete`."""
        if self._is_over:
            return
        await self._end()
        async with self._database.writing() as session:
            await session.execute(
                delete(IdempotencyRow).where(
                    IdempotencyRow.id == self._row_id, IdempotencyRow.owner == self._owner
                )
            )

    async def _end(self) -> None:
        self._is_over = True
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(APIError):  # the next time may work; the lease is longer
                async with self._database.writing() as session:
                    await session.execute(
                        update(IdempotencyRow)
                        .where(
                            IdempotencyRow.id == self._row_id, IdempotencyRow.owner == self._owner
                        )
                        .values(lease_until_ms=_lease_end_ms(time.time()))
                    )


async def claim(
    database: Database,
    project_id: str,
    key: str,
    request_hash: bytes,
    clock: Callable[[], float] = time.time,
) -> Claim | StoredAnswer:
    """The right to carry the request out, or the answer it had.

    Raises:
        APIError: 409 while it is carried out; 422 when the key came with another request before.
        StorageError: it cannot be known.
    """
    now_s, owner = clock(), secrets.token_hex(16)
    row_id = hashlib.sha256(f"{project_id}\0{key}".encode()).hexdigest()
    fresh = {
        "id": row_id,
        "project_id": project_id,
        "request_hash": request_hash,
        "origin": new_id("item"),
        "owner": owner,
        "lease_until_ms": _lease_end_ms(now_s),
        "expires_at": int(now_s) + LIFETIME_S,
        "status": 0,
        "headers": {},
        "body": b"",
    }
    async with database.writing() as session:
        inserting = insert_new(session, IdempotencyRow).values(fresh)
        added = await session.execute(inserting.returning(IdempotencyRow.id))
        found = fresh["origin"] if added.first() else await _take_over(session, fresh, now_s)
    return found if isinstance(found, StoredAnswer) else Claim(database, row_id, owner, str(found))


async def _take_over(
    session: AsyncSession, fresh: Mapping[str, object], now_s: float
) -> StoredAnswer | object:
    """The answer, or the origin when the row, which was there before, is ours now."""
    row = await session.get(IdempotencyRow, fresh["id"], with_for_update=True)
    if row is None or _is_free(row, now_s):
        is_same = row is not None and row.owner and row.request_hash == fresh["request_hash"]
        origin = (row.origin if row is not None and is_same else "") or fresh["origin"]
        await session.merge(IdempotencyRow(**{**fresh, "origin": origin}))
        return origin
    if row.request_hash != fresh["request_hash"]:
        raise APIError(
            "This Idempotency-Key was used with another request.",
            status=422,
            param="Idempotency-Key",
            code="idempotency_key_reused",
        )
    if row.owner:
        raise _in_use()
    return StoredAnswer(row.status, row.headers, row.body)


def _in_use() -> APIError:
    return APIError(
        "The first request with this Idempotency-Key is still being answered.",
        status=409,
        param="Idempotency-Key",
        code="idempotency_key_in_use",
        headers=retry_headers(1.0),
    )


def _is_free(row: IdempotencyRow, now_s: float) -> bool:
    is_abandoned = bool(row.owner) and row.lease_until_ms <= now_s * 1000
    return is_abandoned or row.expires_at <= now_s


def _lease_end_ms(now_s: float) -> int:
    return int((now_s + LEASE_S) * 1000)


async def delete_expired(database: Database, now_s: float) -> None:
    """Forget answers nobody can ask for any more."""
    async with database.writing() as session:
        await session.execute(delete(IdempotencyRow).where(IdempotencyRow.expires_at <= int(now_s)))
