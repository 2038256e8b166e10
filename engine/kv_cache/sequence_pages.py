"""Pages seen from one sequence: found, taken, published, given back.

    page_ids   [0, num_published_pages)               full, settled, known to the prefix cache
               [num_published_pages, len(page_ids))   being written

Page i holds tokens [i * page_size, (i + 1) * page_size). The page table the device reads is kept
here too, one row a slot, so that a step that needs no new page costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from engine.kv_cache.page_pool import PagePool
from engine.kv_cache.prefix_cache import PrefixCache, page_key, root_key
from engine.prompt_embeds import content_hashes
from engine.sequence import Sequence


class SequencePages:
    """One pool, its prefix cache, and the page table of all slots.

    Attributes:
        page_table_SP: int32, one row per slot and a last one of zeros; entries past a
            sequence's last page are 0.
    """

    def __init__(
        self,
        *,
        num_pages: int,
        page_size: int,
        num_slots: int,
        max_model_len: int,
        is_caching: bool,
    ) -> None:
        self.page_size = page_size
        self.pool = PagePool(num_pages)
        self.cache = PrefixCache(self.pool)
        self.is_caching = is_caching
        num_columns = self.num_pages_for(max_model_len)
        self.page_table_SP: npt.NDArray[np.int32] = np.zeros((num_slots + 1, num_columns), np.int32)

    def num_pages_for(self, num_tokens: int) -> int:
        """Pages that hold this many tokens."""
        return -(-num_tokens // self.page_size)

    def find_prefix(self, sequence: Sequence) -> list[int]:
        """Cached pages the sequence could start from. Its last token is always left to compute."""
        if not self.is_caching:
            return []
        num_usable = (len(sequence.token_ids) - 1) // self.page_size
        self._fill_keys(sequence, num_usable)
        return self.cache.find(sequence.page_keys[:num_usable])

    def num_missing(self, sequence: Sequence, hit_page_ids: list[int]) -> int:
        """Available pages that holding all known tokens would use up, given these hits.

        A hit that nobody holds counts: it stops being available.
        """
        num_idle_hits = sum(not self.pool.is_held(page_id) for page_id in hit_page_ids)
        num_new = self.num_pages_for(len(sequence.token_ids)) - len(hit_page_ids)
        return num_new + num_idle_hits

    def start(self, sequence: Sequence, slot_index: int, hit_page_ids: list[int]) -> None:
        """Give a sequence a slot and the pages of its prefix; it has computed just those."""
        assert not sequence.page_ids, "a sequence starts without pages"
        for page_id in hit_page_ids:
            self.pool.share(page_id)
        num_hits = len(hit_page_ids)
        sequence.slot_index = slot_index
        sequence.page_ids = list(hit_page_ids)
        sequence.num_published_pages = num_hits
        sequence.num_computed_tokens = num_hits * self.page_size
        self.page_table_SP[slot_index, :num_hits] = hit_page_ids

    def extend(self, sequence: Sequence, num_tokens: int) -> bool:
        """Own pages for `[0, num_tokens)`; False, and nothing taken, if there are too few."""
        page_ids = sequence.page_ids
        num_owned = len(page_ids)
        num_new = self.num_pages_for(num_tokens) - num_owned
        if num_new > self.pool.num_available:
            return False
        for column in range(num_owned, num_owned + num_new):
            page_id = self.pool.take()
            page_ids.append(page_id)
            self.page_table_SP[sequence.slot_index, column] = page_id
        return True

    def publish(self, sequence: Sequence, num_tokens: int) -> None:
        """Tokens `[0, num_tokens)` are computed and settled: name the full pages among them."""
        num_full = num_tokens // self.page_size
        if not self.is_caching or num_full <= sequence.num_published_pages:
            return
        self._fill_keys(sequence, num_full)
        for i in range(sequence.num_published_pages, num_full):
            self.cache.publish(sequence.page_keys[i], sequence.page_ids[i])
        sequence.num_published_pages = num_full

    def release(self, sequence: Sequence) -> None:
        """Give back slot and pages, the last page first: it is then evicted before its parents.

        The list is replaced, not emptied: plans under way still refer to it.
        """
        self.page_table_SP[sequence.slot_index, : len(sequence.page_ids)] = 0
        for page_id in reversed(sequence.page_ids):
            self.pool.give_back(page_id)
        sequence.slot_index = None
        sequence.page_ids = []
        sequence.num_published_pages = 0
        sequence.num_computed_tokens = 0

    def distrust(self, sequence: Sequence) -> None:
        """The sequence turned out to be invalid: forget every page it may have published.

        Only what it found in the cache when it first started is above suspicion.
        """
        for key in sequence.page_keys[sequence.num_cached_tokens // self.page_size :]:
            self.cache.forget_key(key)

    def _fill_keys(self, sequence: Sequence, num_keys: int) -> None:
        keys = sequence.page_keys
        if len(keys) >= num_keys:
            return
        parent_key = keys[-1] if keys else root_key(sequence.request.cache_salt)
        for i in range(len(keys), num_keys):
            start = i * self.page_size
            token_ids = sequence.token_ids[start : start + self.page_size]
            hashes = content_hashes(sequence.request.prompt_embeds, start, start + self.page_size)
            parent_key = page_key(parent_key, token_ids, hashes)
            keys.append(parent_key)

    def check(self, running: Iterable[Sequence]) -> None:
        """Assert the invariants of pool, cache and page table, given all holders of pages."""
        running = list(running)
        self.pool.check([sequence.page_ids for sequence in running])
        self.cache.check()
        expected_SP = np.zeros_like(self.page_table_SP)
        for sequence in running:
            expected_SP[sequence.slot_index, : len(sequence.page_ids)] = sequence.page_ids
            assert sequence.num_published_pages <= len(sequence.page_ids)
            assert sequence.num_computed_tokens <= len(sequence.page_ids) * self.page_size
        assert np.array_equal(self.page_table_SP, expected_SP)
