"""Making, listing and revoking keys, and reading them into a server's ring."""

from __future__ import annotations

import dataclasses
import re
import secrets
import time
from collections.abc import Sequence

from sqlalchemy import func, select

from api.errors import APIError
from api.keys.key_ring import KeyRing, StoredKey, hash_key
from api.keys.tenant import ROLES, Role, Tenant
from api.storage.database import Database
from api.storage.ids import new_id
from api.storage.tables.keys import KeyRow

KEY_PREFIX = "sk-servax-"
NUM_SECRET_BYTES = 32
NUM_HINT_CHARACTERS = 4
PROJECT = re.compile(r"proj_[A-Za-z0-9_\-]{1,100}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewKey:
    """What a key shall be.

    Attributes:
        project_id: "" makes a project of its own.
        lifetime_s: seconds until it expires; None = never.
        requests_per_minute, tokens_per_minute: None = the server's default.
    """

    name: str = ""
    project_id: str = ""
    roles: tuple[Role, ...] = ("inference",)
    lifetime_s: float | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


async def create_key(database: Database, wanted: NewKey) -> tuple[KeyRow, str]:
    """The row of a new key, and the key, which is never seen again.

    Raises:
        APIError: 400, the project is not spelled as one.
        StorageError: it could not be written.
    """
    if wanted.project_id and not PROJECT.fullmatch(wanted.project_id):
        raise APIError("Invalid 'project': it begins with proj_.", param="project")
    key, now_s = KEY_PREFIX + secrets.token_urlsafe(NUM_SECRET_BYTES), time.time()
    row = KeyRow(
        id=new_id("key"),
        project_id=wanted.project_id or new_id("project"),
        created_at=int(now_s),
        name=wanted.name,
        hint=key[-NUM_HINT_CHARACTERS:],
        key_hash=hash_key(key),
        roles=sorted(wanted.roles),
        requests_per_minute=wanted.requests_per_minute,
        tokens_per_minute=wanted.tokens_per_minute,
        expires_at=None if wanted.lifetime_s is None else int(now_s + wanted.lifetime_s),
        revoked_at=None,
    )
    async with database.writing() as session:
        session.add(row)
    return row, key


async def list_keys(database: Database) -> Sequence[KeyRow]:
    """All keys of all projects, in order of creation."""
    async with database.reading() as session:
        return (await session.scalars(select(KeyRow).order_by(KeyRow.id))).all()


async def has_keys(database: Database, project_id: str) -> bool:
    """Whether a project has a key here, be it open or not."""
    async with database.reading() as session:
        found = select(KeyRow.id).where(KeyRow.project_id == project_id).limit(1)
        return await session.scalar(found) is not None


async def revoke_key(database: Database, key_id: str) -> KeyRow:
    """Close a key for good; one that is closed stays as it is.

    Raises:
        APIError: 404, there is none of this id.
    """
    async with database.writing() as session:
        row = await session.get(KeyRow, key_id)
        if row is None:
            raise APIError(f"No such key: {key_id[:128]}", status=404, param="id", code="not_found")
        row.revoked_at = row.revoked_at or int(time.time())
    return row


class KeyReader:
    """Keeps a ring in step with the database; a look that finds nothing new costs one count."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._database = database
        self._ring = ring
        self._seen: tuple[int, int] | None = None

    async def refresh(self) -> None:
        """Read what has changed.

        Raises:
            StorageError: the database cannot be read; the ring stays as it was.
        """
        async with self._database.reading() as session:
            counts = (
                await session.execute(select(func.count(KeyRow.id), func.count(KeyRow.revoked_at)))
            ).one()
            seen = (int(counts[0]), int(counts[1]))
            if seen == self._seen:
                return
            rows = await session.scalars(select(KeyRow).where(KeyRow.revoked_at.is_(None)))
            self._ring.replace(map(_stored, rows), has_any=seen[0] > 0)
        self._seen = seen


def _stored(row: KeyRow) -> StoredKey:
    tenant = Tenant(
        project_id=row.project_id,
        key_id=row.id,
        roles=frozenset(role for role in ROLES if role in row.roles),
        is_metered=True,
        requests_per_minute=row.requests_per_minute,
        tokens_per_minute=row.tokens_per_minute,
    )
    return StoredKey(row.key_hash, tenant, row.expires_at)
