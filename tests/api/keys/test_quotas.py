from __future__ import annotations

import time

import pytest

from api.errors import APIError
from api.keys.key_ring import StoredKey, hash_key
from api.keys.quotas import Quotas, duration
from api.keys.tenant import Tenant

TENANT = Tenant(project_id="proj_x", key_id="key_x")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def quota_of(tenant=TENANT, requests=6, tokens=600):
    clock = Clock()
    return Quotas(requests, tokens, clock).of(tenant), clock


def test_requests_beyond_the_limit_wait_for_the_bucket_to_fill():
    quota, clock = quota_of()
    for _ in range(6):
        quota.admit()
    with pytest.raises(APIError) as caught:
        quota.admit()
    error = caught.value
    assert (error.status, error.type, error.code) == (429, "requests", "rate_limit_exceeded")
    assert error.headers == {"retry-after": "10", "retry-after-ms": "10000"}
    clock.now_s += 10.01
    quota.admit()


def test_an_overdraft_of_tokens_is_waited_for():
    quota, clock = quota_of()
    quota.tokens.take(900)
    assert quota.tokens.remaining == 0
    with pytest.raises(APIError) as caught:
        quota.admit()
    assert caught.value.type == "tokens"
    clock.now_s += 30
    with pytest.raises(APIError):
        quota.admit()
    clock.now_s += 1
    quota.admit()


def test_a_refused_request_uses_nothing():
    quota, _ = quota_of()
    quota.tokens.take(601)
    for _ in range(10):
        with pytest.raises(APIError):
            quota.admit()
    assert quota.requests.remaining == 6


def test_a_key_may_have_limits_of_its_own():
    own = Tenant(key_id="key_y", requests_per_minute=2, tokens_per_minute=3)
    quota, _ = quota_of(own)
    assert (quota.requests.per_minute, quota.tokens.per_minute) == (2, 3)


@pytest.mark.parametrize(
    ("time_s", "shown"), [(0, "0ms"), (0.0124, "12ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s")]
)
def test_times_are_written_as_openai_does(time_s, shown):
    assert duration(time_s) == shown


NAMES = [
    f"x-ratelimit-{what}-{unit}"
    for what in ("limit", "remaining", "reset")
    for unit in ("requests", "tokens")
]


def with_keys(world, *tenants):
    keys = [StoredKey(hash_key(tenant.key_id), tenant, None) for tenant in tenants]
    world.state.keys.replace(keys, has_any=True)
    return world


async def call(world, key_id="key_x", path="/t/whole", method="POST"):
    client = world.app.test_client()
    return await client.open(path, method=method, headers={"x-api-key": key_id}, json={})


async def test_every_answer_to_a_key_says_what_is_left(make_world):
    world = with_keys(make_world(rate_limit_requests=5, rate_limit_tokens=100), TENANT)
    for path, method, status in (
        ("/t/whole", "POST", 200),
        ("/t/things/x", "GET", 200),
        ("/nowhere", "GET", 404),
        ("/t/fail", "GET", 500),
        ("/metrics", "GET", 403),
    ):
        answer = await call(world, path=path, method=method)
        assert answer.status_code == status
        if status != 403:
            assert all(name in answer.headers for name in NAMES), path
    assert answer.headers["x-request-id"]
    last = await call(world)
    assert last.headers["x-ratelimit-limit-requests"] == "5"
    assert last.headers["x-ratelimit-remaining-requests"] == "3"
    health = await world.app.test_client().get("/health")
    assert "x-ratelimit-limit-requests" not in health.headers


async def test_over_the_limit_is_429_at_once_and_for_this_key_only(make_world):
    other = Tenant(project_id="proj_y", key_id="key_y")
    world = with_keys(make_world(rate_limit_requests=2), TENANT, other)
    assert [(await call(world)).status_code for _ in range(2)] == [200, 200]
    start_s = time.perf_counter()
    refused = await call(world)
    elapsed_s = time.perf_counter() - start_s
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert int(refused.headers["retry-after-ms"]) > 1000
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert elapsed_s < 0.5, "on a busy machine; bench host has the figure"
    assert (await call(world, "key_y")).status_code == 200
    assert (await call(world, path="/t/things/x", method="GET")).status_code == 200
