from __future__ import annotations

import hmac
import random
import secrets
import time

import numpy as np
import pytest

from api.keys.key_ring import KeyRing, StoredKey, hash_key
from api.keys.tenant import Tenant

STORED = "sk-servax-" + "a" * 43
STATIC = "sk-static-" + "b" * 43
TENANT = Tenant(project_id="proj_x", key_id="key_x")


def ring(now_s: float = 0.0, expires_at: int | None = None) -> KeyRing:
    keys = KeyRing((STATIC, "other"), clock=lambda: now_s)
    keys.replace([StoredKey(hash_key(STORED), TENANT, expires_at)], has_any=True)
    return keys


def test_a_key_of_either_kind_is_found_and_nothing_else():
    assert ring().find(STORED) == TENANT
    assert ring().find(STATIC).project_id.startswith("proj_")
    for wrong in ("", STORED[:-1], STORED + "a", STORED.upper(), hash_key(STORED).hex()):
        assert ring().find(wrong) is None


@pytest.mark.parametrize(("now_s", "is_open"), [(99.9, True), (100.0, False), (1e9, False)])
def test_a_key_is_closed_from_the_second_it_expires(now_s, is_open):
    assert (ring(now_s, expires_at=100).find(STORED) is not None) is is_open


def test_a_server_whose_last_key_is_revoked_does_not_become_open():
    keys = KeyRing()
    assert keys.is_empty
    keys.replace([], has_any=False)
    assert keys.is_empty
    keys.replace([], has_any=True)
    assert not keys.is_empty
    keys.replace([], has_any=False)
    assert not keys.is_empty


def test_every_static_key_is_compared_whichever_was_given(monkeypatch):
    compared = []

    def compare(a, b):
        compared.append((a, b))
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(
        "api.keys.key_ring.hmac", type("", (), {"compare_digest": staticmethod(compare)})
    )
    keys = KeyRing(("one", "two", "three"))
    for given in ("one", "two", "three", "none"):
        compared.clear()
        keys.find(given)
        assert len(compared) == 3
        assert all(len(a) == len(b) == 32 for a, b in compared)


def auc(one: list[int], other: list[int]) -> float:
    """How well times tell the two apart: 0.5 is not at all."""
    values = np.array(one + other)
    order = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(order[2])
    ranks = (ends - (order[2] - 1) / 2)[order[1]]
    return (ranks[: len(one)].sum() - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))


@pytest.mark.parametrize("right", [STORED, STATIC])
def test_time_does_not_tell_how_near_a_wrong_key_is(right):
    keys, shuffle = ring(), random.Random(1)
    near = [right[:-6] + secrets.token_hex(3) for _ in range(4000)]
    far = [secrets.token_hex(40)[: len(right)] for _ in range(4000)]
    times: dict[bool, list[int]] = {True: [], False: []}
    trials = [(True, key) for key in near] + [(False, key) for key in far]
    shuffle.shuffle(trials)
    for is_near, key in trials:
        start = time.perf_counter_ns()
        keys.find(key)
        times[is_near].append(time.perf_counter_ns() - start)
    assert auc(times[True], times[False]) == pytest.approx(0.5, abs=0.03)
