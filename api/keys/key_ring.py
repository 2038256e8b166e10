"""The keys that open this server, in memory: nothing of a request waits for the database.

A key is 256 random bits, so its SHA-256 is all that is kept: nothing can be guessed back from it.
Where a key is sought, hashes are compared in constant time, with all of them or with one that was
found by its hash; how near a wrong key is to a right one changes nothing that can be measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import time
from collections.abc import Callable, Iterable

from api.keys.tenant import Tenant, tenant_of_key


@dataclasses.dataclass(frozen=True, slots=True)
class StoredKey:
    """A key made by `servax keys create`, without the key.

    Attributes:
        key_hash: SHA-256.
        expires_at: Unix time in seconds; None = never.
    """

    key_hash: bytes
    tenant: Tenant
    expires_at: int | None


class KeyRing:
    """Keys of `--api-key`, and those of the database as they were last read.

    Attributes:
        is_known: whether it is certain which keys there are; written by `expect` and `replace`.
    """

    def __init__(
        self, static_keys: Iterable[str] = (), clock: Callable[[], float] = time.time
    ) -> None:
        self._static = [
            (key_hash, tenant_of_key(key_hash)) for key_hash in map(hash_key, static_keys)
        ]
        self._stored: dict[bytes, StoredKey] = {}
        self._clock = clock
        self._has_ever_stored = False
        self.is_known = True

    @property
    def is_empty(self) -> bool:
        """Whether no key is asked for: none is configured, and none was ever made."""
        return not self._static and not self._has_ever_stored

    @property
    def num_keys(self) -> int:
        """Keys that are known."""
        return len(self._static) + len(self._stored)

    def expect(self) -> None:
        """There may be keys in a database that is not read yet."""
        self.is_known = False

    def replace(self, keys: Iterable[StoredKey], *, has_any: bool) -> None:
        """What the database has now.

        Arguments:
            keys: those that are not revoked.
            has_any: whether it has any at all; a server whose last key was revoked stays closed.
        """
        self._stored = {key.key_hash: key for key in keys}
        self._has_ever_stored = self._has_ever_stored or has_any
        self.is_known = True

    def find(self, key: str) -> Tenant | None:
        """Whose key it is; None if nobody's, revoked or expired."""
        given = hash_key(key)
        static = [tenant for known, tenant in self._static if hmac.compare_digest(given, known)]
        if static:
            return static[0]
        stored = self._stored.get(given)
        if stored is None or not hmac.compare_digest(given, stored.key_hash):
            return None
        is_expired = stored.expires_at is not None and stored.expires_at <= self._clock()
        return None if is_expired else stored.tenant


def hash_key(key: str) -> bytes:
    """SHA-256 of a key: all that is kept of it."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
