from __future__ import annotations

import collections
import random
from collections.abc import Callable
from typing import Any

import pytest

from engine.scheduler.fairness import MAX_IDLE_TENANTS, OUTPUT_WEIGHT, FairQueues, VirtualCounters
from engine.sequence import Sequence

NUM_SLOTS = 8


def jain(shares: list[float]) -> float:
    """Jain's index: 1 when all shares are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


class Crowd:
    """Tenants that keep so many requests in the scheduler, and the service each has got."""

    def __init__(
        self, world: Any, num_kept: dict[str, int], name_of: Callable[[str], str] = str
    ) -> None:
        """`name_of` gives the tenant as the scheduler sees it."""
        self.world, self.num_kept, self.name_of = world, num_kept, name_of
        self.random = random.Random(1)
        self.live: collections.Counter[str] = collections.Counter()
        self.service: collections.Counter[str] = collections.Counter()
        self.num_sent = 0

    def send(self, tenant: str) -> None:
        self.num_sent += 1
        prompt = [self.random.randrange(6) for _ in range(self.random.randrange(4, 20))]
        self.world.add(
            f"{tenant}/{self.num_sent}",
            prompt,
            tenant=self.name_of(tenant),
            salt=str(self.num_sent),
            max_tokens=self.random.randrange(4, 24),
        )
        self.live[tenant] += 1

    def run(self, num_steps: int) -> None:
        for _ in range(num_steps):
            for tenant, num_kept in self.num_kept.items():
                while self.live[tenant] < num_kept:
                    self.send(tenant)
            self.world.launch()
            if len(self.world.in_flight) > 1:
                for delta in self.world.settle():
                    self.take(delta)

    def take(self, delta: Any) -> None:
        tenant = delta.request_id.partition("/")[0]
        stream = self.world.streams[delta.request_id, 0]
        if len(stream.deltas) == 1:
            self.service[tenant] += len(self.world.requests[delta.request_id].prompt_token_ids)
        self.service[tenant] += OUTPUT_WEIGHT * len(delta.token_ids)
        self.live[tenant] -= delta.finish_reason is not None


@pytest.fixture
def make_crowd(make_world: Any) -> Callable[..., Crowd]:
    def make(num_kept: dict[str, int], **options: Any) -> Crowd:
        world = make_world(
            num_pages=256,
            max_num_seqs=NUM_SLOTS,
            max_num_batched_tokens=32,
            check_invariants=False,
        )
        return Crowd(world, num_kept, **options)

    return make


FLOOD = {"flood": 10 * NUM_SLOTS, "one": 4, "two": 4, "three": 4}


def test_a_key_that_floods_leaves_the_others_their_fair_share(make_crowd):
    crowd = make_crowd(FLOOD)
    crowd.run(1500)
    fair = crowd.service.total() / len(FLOOD)
    assert min(crowd.service[tenant] for tenant in FLOOD) >= 0.9 * fair
    assert jain([crowd.service[tenant] for tenant in FLOOD]) >= 0.95


def test_without_tenants_a_flood_takes_nearly_everything(make_crowd):
    crowd = make_crowd(FLOOD, name_of=lambda tenant: "")
    crowd.run(1500)
    assert jain([crowd.service[tenant] for tenant in FLOOD]) < 0.5


def test_a_tenant_alone_has_every_slot(make_crowd):
    crowd = make_crowd({"alone": 3 * NUM_SLOTS})
    crowd.run(40)
    assert len(crowd.world.plans[-1].rows) == NUM_SLOTS


def test_a_newcomer_waits_for_one_slot_and_not_for_the_flood(make_crowd):
    crowd = make_crowd({"flood": 10 * NUM_SLOTS})
    crowd.run(200)
    crowd.num_kept["late"] = 1
    num_before = len(crowd.world.plans)
    while "late" not in crowd.service:
        crowd.run(1)
    # a slot is free when the shortest of eight answers of at most 23 tokens ends
    assert len(crowd.world.plans) - num_before < 24


def test_who_was_idle_has_no_credit(make_crowd):
    crowd = make_crowd({"busy": 16})
    crowd.run(500)
    crowd.num_kept["idle"] = 16
    crowd.service.clear()
    crowd.run(500)
    assert crowd.service["idle"] <= 1.15 * crowd.service["busy"]


def test_fairness_changes_no_token(make_crowd):
    crowd = make_crowd(FLOOD)
    crowd.run(100)
    crowd.world.run()
    for request_id in crowd.world.requests:
        crowd.world.verify_stream(request_id)


def test_priority_goes_before_fairness(make_world):
    world = make_world(use_priority=True, max_num_seqs=1)
    world.add("first", [1], tenant="a", priority=1)
    world.step()
    world.add("behind", [1, 2], tenant="b", priority=1)
    world.add("before", [1, 3], tenant="a", priority=0)
    world.run()
    order = [row.sequence.request.request_id for plan in world.plans for row in plan.rows]
    assert list(dict.fromkeys(order)) == ["first", "before", "behind"]


def test_a_preempted_sequence_comes_before_those_of_any_tenant_that_never_began(make_world):
    world = make_world(depth=0, num_pages=1 + 6, max_num_seqs=2, max_model_len=24)
    world.add("long", [1] * 8, tenant="a", max_tokens=15, salt="1")
    world.add("yields", [2] * 8, tenant="a", max_tokens=15, salt="2")
    world.step()
    world.add("other", [3] * 8, tenant="b", max_tokens=2)
    world.run()
    rows = [row for plan in world.plans for row in plan.rows]
    starts = [row.sequence.request.request_id for row in rows if row.is_new_slot]
    assert starts[:4] == ["long", "yields", "yields", "other"]


def test_idle_tenants_are_forgotten_in_the_end():
    counters = VirtualCounters()
    queues = FairQueues(counters, use_priority=False)
    for index in range(3 * MAX_IDLE_TENANTS):
        sequence = waiting_sequence(f"tenant-{index}", index)
        queues.add(sequence)
        counters.charge_prompt(sequence.request.tenant, 5)
        queues.remove(sequence)
    assert len(counters) <= MAX_IDLE_TENANTS + 1


def waiting_sequence(tenant: str, arrival_index: int) -> Sequence:
    from engine.request import GenerateRequest, SamplingParams

    request = GenerateRequest(
        request_id=tenant,
        prompt_token_ids=(1,),
        sampling=SamplingParams(max_tokens=1),
        tenant=tenant,
    )
    sequence = Sequence.from_request(request, 0)
    sequence.arrival_index = arrival_index
    return sequence


def test_what_another_salt_cached_changes_no_step_of_a_request(make_world):
    prompt = [1, 2, 3, 4] * 4
    alone, beside = make_world(), make_world()
    for world in (beside, beside):
        world.add(f"other-{len(world.requests)}", prompt, tenant="other", salt="other")
        world.run()
    plans = []
    for world in (alone, beside):
        first = len(world.plans)
        world.add("mine", prompt, tenant="mine", salt="mine")
        world.run()
        plans.append(
            [(row.start, row.num_new_tokens) for p in world.plans[first:] for row in p.rows]
        )
        assert world.streams["mine", 0].last.num_cached_tokens == 0
    assert plans[0] == plans[1]
    assert beside.streams["other-1", 0].last.num_cached_tokens > 0
