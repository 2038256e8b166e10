"""Every page is trash, free, cached or owned."""

from __future__ import annotations

import pytest

from engine.kv_cache.page_pool import PagePool


def test_the_trash_page_is_never_given_away() -> None:
    pool = PagePool(4)
    assert sorted(pool.take() for _ in range(3)) == [1, 2, 3]
    assert pool.num_available == 0


def test_a_page_is_free_again_only_when_its_last_holder_gives_it_back() -> None:
    pool = PagePool(2)
    page = pool.take()
    pool.set_cached(page)
    pool.share(page)
    pool.set_uncached(page)
    pool.give_back(page)
    assert pool.num_available == 0
    pool.give_back(page)
    assert pool.num_available == 1


def test_giving_a_page_back_twice_is_a_mistake() -> None:
    pool = PagePool(2)
    page = pool.take()
    pool.give_back(page)
    with pytest.raises(AssertionError):
        pool.give_back(page)


def test_free_pages_are_used_before_cached_ones() -> None:
    pool = PagePool(3)
    cached = pool.take()
    pool.set_cached(cached)
    pool.give_back(cached)
    assert pool.take() != cached
    assert pool.take() == cached


def test_the_cached_page_given_back_first_is_evicted_first() -> None:
    pool, evicted = PagePool(4), []
    pool.on_evict = evicted.append
    pages = [pool.take() for _ in range(3)]
    for page in pages:
        pool.set_cached(page)
    for page in (pages[1], pages[0], pages[2]):
        pool.give_back(page)
    for _ in range(3):
        pool.take()
    assert evicted == [pages[1], pages[0], pages[2]]


def test_a_shared_page_is_not_evicted() -> None:
    pool = PagePool(2)
    page = pool.take()
    pool.set_cached(page)
    pool.give_back(page)
    pool.share(page)
    assert pool.num_available == 0


def test_check_notices_a_page_held_by_nobody_it_knows() -> None:
    pool = PagePool(3)
    page = pool.take()
    pool.check([[page]])
    with pytest.raises(AssertionError):
        pool.check([])
