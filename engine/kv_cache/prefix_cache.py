"""What full pages contain, by name: a page's name is a hash of everything before its end.

    root key = sha256(adapter, salt)
    key i    = sha256(key i-1, media hashes of page i, token ids of page i)

So equal keys mean equal prefixes, salts and adapters. A page enters when all its tokens are
computed and the step that did so is settled; it leaves when it is evicted or forgotten. Looking
for a prefix walks the chain until the first key that is not known.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence

from engine.kv_cache.page_pool import PagePool


def root_key(salt: str = "", adapter_id: str = "") -> bytes:
    """32 bytes: the key before the first page. Different salts or adapters share nothing."""
    return hashlib.sha256(_framed(adapter_id.encode()) + _framed(salt.encode())).digest()


def page_key(
    parent_key: bytes, token_ids: Sequence[int], media_hashes: Iterable[bytes] = ()
) -> bytes:
    """32 bytes naming a full page that follows the prefix named by `parent_key`.

    Args:
        token_ids: all ids of the page, each within int64.
        media_hashes: of what stands in the page in place of tokens (images, sounds, embeddings),
            in order.
    """
    media = b"".join([_framed(media_hash) for media_hash in media_hashes])
    return hashlib.sha256(parent_key + _framed(media) + array("q", token_ids).tobytes()).digest()


def _framed(data: bytes) -> bytes:
    """Its length, then itself: joined frames can be cut in one way only."""
    return len(data).to_bytes(8, "little") + data


class PrefixCache:
    """The two-way map of keys and pages over one pool."""

    def __init__(self, pool: PagePool) -> None:
        self._pool = pool
        self._page_of_key: dict[bytes, int] = {}
        self._key_of_page: dict[int, bytes] = {}
        pool.on_evict = self._drop

    def find(self, keys: Sequence[bytes]) -> list[int]:
        """Pages of the longest run of known keys from the first one on. Holds nothing."""
        page_ids: list[int] = []
        for key in keys:
            page_id = self._page_of_key.get(key)
            if page_id is None:
                break
            page_ids.append(page_id)
        return page_ids

    def publish(self, key: bytes, page_id: int) -> None:
        """Remember a held page, unless another page already has this name."""
        if key in self._page_of_key:
            return
        self._page_of_key[key] = page_id
        self._key_of_page[page_id] = key
        self._pool.set_cached(page_id)

    def forget(self, page_id: int) -> None:
        """Forget what a page contains, if it was known. Holders keep it."""
        if page_id in self._key_of_page:
            self._drop(page_id)
            self._pool.set_uncached(page_id)

    def forget_key(self, key: bytes) -> None:
        """Forget the page of this name, if there is one. Holders keep it."""
        page_id = self._page_of_key.get(key)
        if page_id is not None:
            self.forget(page_id)

    def reset(self) -> int:
        """Forget every page that nobody holds; how many there were."""
        page_ids = self._pool.unheld_cached()
        for page_id in page_ids:
            self.forget(page_id)
        return len(page_ids)

    def _drop(self, page_id: int) -> None:
        del self._page_of_key[self._key_of_page.pop(page_id)]

    def __len__(self) -> int:
        """Pages known by name."""
        return len(self._key_of_page)

    def check(self) -> None:
        """Assert that both directions of the map agree, and agree with the pool."""
        assert self._page_of_key == {key: page for page, key in self._key_of_page.items()}
        unheld = set(self._pool.unheld_cached())
        assert unheld == {page for page in self._key_of_page if not self._pool.is_held(page)}
