"""Ownership of pages: each is, at any moment, exactly one of four things.

    trash    page 0: padding is written here, nobody reads it
    free     on the free list
    cached   nobody holds it, but the prefix cache knows what it contains; oldest is evicted first
    owned    one or more sequences hold it (and the prefix cache may know it too)

The pool does not know what is in a page; it only keeps the cache's word that something is.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable

TRASH_PAGE = 0


class PagePool:
    """Reference counts over `num_pages` pages, page 0 being trash.

    Attributes:
        on_evict: called with a cached page that is about to be given away; set by the cache.
    """

    def __init__(self, num_pages: int) -> None:
        assert num_pages >= 2, "a pool needs the trash page and one more"
        self.num_pages = num_pages
        self.on_evict: Callable[[int], None] = _nobody_to_tell
        self._num_holders = [0] * num_pages
        self._is_cached = [False] * num_pages
        self._free = list(range(num_pages - 1, TRASH_PAGE, -1))
        self._unheld_cached: OrderedDict[int, None] = OrderedDict()

    @property
    def num_usable(self) -> int:
        """Pages that sequences can have: all but the trash page."""
        return self.num_pages - 1

    @property
    def num_available(self) -> int:
        """Pages that `take` can give: free ones and cached ones that nobody holds."""
        return len(self._free) + len(self._unheld_cached)

    def is_held(self, page_id: int) -> bool:
        """Whether a sequence holds the page."""
        return self._num_holders[page_id] > 0

    def take(self) -> int:
        """A page with one holder; its contents are garbage. Needs `num_available > 0`."""
        page_id = self._free.pop() if self._free else self._evict()
        self._num_holders[page_id] = 1
        return page_id

    def share(self, page_id: int) -> None:
        """One more holder for a page that the cache knows."""
        assert self._is_cached[page_id], "only a cached page can be shared"
        self._num_holders[page_id] += 1
        self._unheld_cached.pop(page_id, None)

    def give_back(self, page_id: int) -> None:
        """One holder less. Without holders a cached page becomes the newest to evict."""
        assert self._num_holders[page_id] > 0, "a page is given back once per holder"
        self._num_holders[page_id] -= 1
        if self._num_holders[page_id]:
            return
        if self._is_cached[page_id]:
            self._unheld_cached[page_id] = None
        else:
            self._free.append(page_id)

    def set_cached(self, page_id: int) -> None:
        """The cache now knows what this page, which someone holds, contains."""
        assert self._num_holders[page_id] > 0, "a page is published by its holder"
        self._is_cached[page_id] = True

    def set_uncached(self, page_id: int) -> None:
        """The cache forgot the page; it is free if nobody holds it."""
        self._is_cached[page_id] = False
        if page_id in self._unheld_cached:
            del self._unheld_cached[page_id]
            self._free.append(page_id)

    def unheld_cached(self) -> tuple[int, ...]:
        """Cached pages that nobody holds, the first to be evicted first."""
        return tuple(self._unheld_cached)

    def _evict(self) -> int:
        page_id, _ = self._unheld_cached.popitem(last=False)
        self._is_cached[page_id] = False
        self.on_evict(page_id)
        return page_id

    def check(self, holders: Iterable[list[int]]) -> None:
        """Assert that every page is exactly one thing and that these lists are its holders."""
        num_holders = Counter(page_id for page_ids in holders for page_id in page_ids)
        free, cached = set(self._free), set(self._unheld_cached)
        owned = {page_id for page_id, number in enumerate(self._num_holders) if number}
        assert len(free) == len(self._free), "a page is on the free list once"
        assert {TRASH_PAGE, *free, *cached, *owned} == set(range(self.num_pages))
        assert 1 + len(free) + len(cached) + len(owned) == self.num_pages
        assert dict(num_holders) == {page_id: self._num_holders[page_id] for page_id in owned}
        assert all(self._is_cached[page_id] for page_id in cached)
        assert not any(self._is_cached[page_id] for page_id in free)


def _nobody_to_tell(page_id: int) -> None:
    """For a pool without a cache."""
    del page_id
