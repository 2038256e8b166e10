"""Two keys of one real server: what one asks, the other cannot learn, and cannot crowd out."""

from __future__ import annotations

import asyncio
import collections
import pathlib
import random
import runpy
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

serving = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "sdk" / "conftest.py"))[
    "serving"
]
KEYS = ("sk-one", "sk-two", "sk-three")
NUM_SLOTS = 2
NUM_TRIALS = 1500
PROMPT = "the quick brown fox jumps over the lazy dog " * 12


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("tenants") / "log"
    with serving(log, "--max-num-seqs", str(NUM_SLOTS), "--api-key", *KEYS) as url:
        yield url
    assert "Traceback" not in log.read_text()


def num_cached(url: str, key: str, route: str, **fields: object) -> int:
    """Cached tokens of one answer to the one prompt."""
    body = {"model": "servax-tiny", "max_tokens": 1, "temperature": 0, **fields}
    if route == "/v1/completions":
        body["prompt"] = PROMPT
    else:
        body["messages"] = [{"role": "user", "content": PROMPT}]
    answer = httpx.post(url + route, json=body, headers={"x-api-key": key}, timeout=60)
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    if "prompt_tokens_details" in usage:
        return usage["prompt_tokens_details"]["cached_tokens"]
    return usage["cache_read_input_tokens"]


@pytest.mark.parametrize("route", ["/v1/completions", "/v1/chat/completions", "/v1/messages"])
def test_cached_tokens_never_cross_tenants(url: str, route: str) -> None:
    one, two, _ = KEYS
    assert num_cached(url, one, route, cache_salt="a" + route) == 0
    assert num_cached(url, one, route, cache_salt="a" + route) > 0
    assert num_cached(url, two, route, cache_salt="a" + route) == 0
    assert num_cached(url, two, route, cache_salt="b" + route) == 0
    assert num_cached(url, one, route, cache_salt="b" + route) == 0


class Load:
    """Keys with so many requests open at any time, and the service each was given."""

    def __init__(self, client: httpx.AsyncClient, num_open: dict[str, int]) -> None:
        self.client, self.num_open = client, num_open
        self.num_answers = 0
        self.service: collections.Counter[str] = collections.Counter()

    async def run(self, num_before: int, num_measured: int) -> None:
        """Measure so many answers of all keys together, after some that do not count."""
        self.first, self.last = num_before, num_before + num_measured
        workers = [self.worker(key) for key, count in self.num_open.items() for _ in range(count)]
        await asyncio.gather(*workers)

    async def worker(self, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        body = {"prompt": f"{key} says", "max_tokens": 40, "ignore_eos": True}
        while self.num_answers < self.last:
            answer = await self.client.post("/v1/completions", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            self.num_answers += 1
            if self.first < self.num_answers <= self.last:
                usage = answer.json()["usage"]
                computed = usage["prompt_tokens"] - usage["prompt_tokens_details"]["cached_tokens"]
                self.service[key] += computed + 2 * usage["completion_tokens"]


async def test_a_key_that_floods_leaves_the_others_their_fair_share(
    url: str,
) -> None:
    flood, one, two = KEYS
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        load = Load(client, {flood: 10 * NUM_SLOTS, one: 2 * NUM_SLOTS, two: 2 * NUM_SLOTS})
        await load.run(num_before=20, num_measured=60)
    shares = [load.service[key] for key in KEYS]
    fair = sum(shares) / len(shares)
    jain = sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))
    print(f"service by key {shares}, of the fair share {[s / fair for s in shares]}, Jain {jain}")
    assert min(load.service[one], load.service[two]) >= 0.9 * fair
    assert jain >= 0.95


def auc(one: list[float], other: list[float]) -> float:
    """How well times tell the two apart: 0.5 is not at all."""
    ranks = np.argsort(np.argsort(np.array(one + other))) + 1
    return (ranks[: len(one)].sum() - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_time_does_not_tell_what_another_tenant_asked(url: str) -> None:
    """R24: an attacker times prompts that the victim has asked and prompts that nobody has."""
    victim, attacker, _ = KEYS
    shuffle = random.Random(7)
    with httpx.Client(base_url=url, timeout=60) as client:

        def ask(key: str, number: int) -> float:
            prompt = f"{number} " + PROMPT
            body = {"prompt": prompt, "max_tokens": 1, "temperature": 0}
            start_s = time.perf_counter()
            answer = client.post("/v1/completions", json=body, headers={"x-api-key": key})
            elapsed_s = time.perf_counter() - start_s
            assert answer.status_code == 200, answer.text
            return elapsed_s

        times: dict[bool, list[float]] = {True: [], False: []}
        own: list[float] = []
        for number in range(NUM_TRIALS):
            asked = (2 * number, 2 * number + 1)
            ask(victim, asked[0])
            ask(victim, 10**6 + number)  # so that what was asked last tells nothing
            for each in shuffle.sample(asked, 2):
                times[each == asked[0]].append(ask(attacker, each))
            if number % 5 == 0:
                own.append(ask(victim, asked[0]))
    found = auc(times[True], times[False])
    seen = auc(own, times[False])
    print(f"AUC of another tenant's prompts {found:.3f}, of one's own {seen:.3f}")
    assert found == pytest.approx(0.5, abs=0.03)
    assert abs(seen - 0.5) > 0.1, "times would tell, were the cache shared"
