"""Pages are found by the hash of everything before their end."""

from __future__ import annotations

from engine.kv_cache.page_pool import PagePool
from engine.kv_cache.prefix_cache import PrefixCache, page_key, root_key

ROOT = root_key()


def test_equal_tokens_after_different_prefixes_have_different_keys() -> None:
    assert page_key(page_key(ROOT, [1]), [3]) != page_key(page_key(ROOT, [2]), [3])


def test_salts_and_adapters_are_not_confused_with_each_other() -> None:
    assert len({ROOT, root_key("a"), root_key("", "a"), root_key("a", "a")}) == 4


def test_media_and_their_borders_are_part_of_the_key() -> None:
    keys = {
        page_key(ROOT, [1]),
        page_key(ROOT, [1], [b"ab"]),
        page_key(ROOT, [1], [b"a", b"b"]),
        page_key(ROOT, [1], [b"b", b"a"]),
    }
    assert len(keys) == 4


def test_the_longest_run_from_the_start_is_found() -> None:
    pool = PagePool(8)
    cache = PrefixCache(pool)
    keys = [bytes([i]) for i in range(4)]
    pages = [pool.take() for _ in range(3)]
    for i, page in zip((0, 1, 3), pages, strict=True):
        cache.publish(keys[i], page)
    assert cache.find(keys) == pages[:2]


def test_the_first_page_of_a_name_keeps_it() -> None:
    pool = PagePool(4)
    cache = PrefixCache(pool)
    first, second = pool.take(), pool.take()
    cache.publish(b"key", first)
    cache.publish(b"key", second)
    assert cache.find([b"key"]) == [first]
    pool.give_back(second)
    cache.check()
    pool.check([[first]])


def test_an_evicted_page_is_not_found() -> None:
    pool = PagePool(2)
    cache = PrefixCache(pool)
    page = pool.take()
    cache.publish(b"key", page)
    pool.give_back(page)
    pool.take()
    assert cache.find([b"key"]) == []
    cache.check()


def test_reset_keeps_what_a_sequence_holds() -> None:
    pool = PagePool(3)
    cache = PrefixCache(pool)
    held, idle = pool.take(), pool.take()
    cache.publish(b"held", held)
    cache.publish(b"idle", idle)
    pool.give_back(idle)
    assert cache.reset() == 1
    assert (cache.find([b"held"]), cache.find([b"idle"])) == ([held], [])
    pool.check([[held]])


def test_a_forgotten_page_stays_with_its_holder() -> None:
    pool = PagePool(2)
    cache = PrefixCache(pool)
    page = pool.take()
    cache.publish(b"key", page)
    cache.forget_key(b"key")
    assert cache.find([b"key"]) == []
    pool.check([[page]])
