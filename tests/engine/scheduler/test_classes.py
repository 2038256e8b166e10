"""Batches have what live requests leave, and end all the same."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import OverloadedError
from engine.scheduler.classes import QUIET_S, TURN_EVERY, Turns

TICK_S = 0.01


def names(plan: Any) -> list[str]:
    return [] if plan is None else [row.sequence.request.request_id for row in plan.rows]


def planned(world: Any) -> list[str]:
    """Who computed, step by step, without repeats."""
    return [name for plan in world.plans for name in names(plan)]


@pytest.fixture
def make_full(make_world: Any) -> Any:
    """A world whose slots are all taken by lines of a batch, which have begun long ago."""

    def make(num_lines: int = 4, **changes: Any) -> Any:
        world = make_world(tick_s=TICK_S, **changes)
        for index in range(num_lines):
            world.add(f"line-{index}", [1, index], max_tokens=20, can_wait=True)
        for _ in range(3):
            world.step()
        assert set(planned(world)) == {f"line-{index}" for index in range(num_lines)}
        world.scheduler._turns.turn_took_s = 100 * TICK_S  # no turn comes while a test looks on
        return world

    return make


def test_while_a_live_request_is_there_only_it_computes(make_full: Any) -> None:
    world = make_full(max_num_seqs=8)
    [live] = world.add("live", range(9), max_tokens=6)
    plans = [names(world.step()) for _ in range(6)]
    assert plans == [["live"]] * 6
    assert live.status.value == "running"
    assert world.scheduler.stats().total_preemptions == 0


def test_a_live_request_has_its_first_token_as_soon_as_in_an_idle_engine(make_full: Any) -> None:
    world = make_full(max_num_seqs=4)
    world.add("live", range(9), max_tokens=2)
    assert names(world.step()) == ["live"], "a slot is made free at once"
    assert world.scheduler.stats().total_preemptions == 1


def test_live_requests_take_no_more_slots_than_they_need(make_full: Any) -> None:
    world = make_full(max_num_seqs=4)
    for index in range(3):
        world.add(f"live-{index}", [2, index])
    assert names(world.step()) == ["live-0", "live-1", "live-2"]
    stats = world.scheduler.stats()
    assert (stats.total_preemptions, stats.num_running, stats.num_waiting) == (3, 4, 3)


def test_a_live_request_takes_the_pages_it_lacks(make_full: Any) -> None:
    world = make_full(num_lines=3, num_pages=8, max_num_seqs=4, max_model_len=28)
    world.add("live", range(10), max_tokens=18, salt="live")
    assert names(world.step()) == ["live"]
    world.run()
    for request_id in world.requests:
        world.verify_stream(request_id)


def test_a_growing_live_request_takes_pages_and_gives_none(make_full: Any) -> None:
    world = make_full(num_lines=2, num_pages=10, max_num_seqs=4, max_model_len=32)
    world.add("live", range(8), max_tokens=24)
    while world.streams["live", 0].deltas == [] or world.streams["live", 0].last.timings is None:
        world.step()
    world.run()
    assert world.streams["live", 0].last.num_preemptions == 0
    for request_id in world.requests:
        world.verify_stream(request_id)


def test_nothing_is_launched_into_a_short_silence_and_all_goes_on_after_it(make_full: Any) -> None:
    world = make_full()
    world.add("live", [3], max_tokens=1)
    world.step()
    world.settle()
    assert world.launch() is None, "the next live request would have to wait for it"
    world.now_s += QUIET_S
    assert names(world.step()) == ["line-0", "line-1", "line-2", "line-3"]


def test_one_that_can_wait_sees_the_same_bytes(make_full: Any) -> None:
    world = make_full(max_num_seqs=4)
    for round_ in range(4):
        for index in range(4):
            world.add(f"live-{round_}-{index}", [round_, index], max_tokens=3)
        for _ in range(3):
            world.step()
    world.run()
    for request_id in world.requests:
        world.verify_stream(request_id)


def keep_busy(world: Any, num_live: int, num_steps: int) -> None:
    """Always so many live requests, whatever happens; a step takes as long as its tokens say."""
    live: list[str] = []
    for index in range(num_steps):
        live = [name for name in live if not has_ended(world, name)]
        for number in range(num_live - len(live)):
            live.append(f"live-{index}-{number}")
            world.add(live[-1], [index % 7, number], max_tokens=8)
        plan = world.step()
        world.now_s += TICK_S * (plan.num_tokens if plan is not None else 1)


def has_ended(world: Any, name: str) -> bool:
    deltas = world.streams[name, 0].deltas
    return bool(deltas) and deltas[-1].finish_reason is not None


@pytest.mark.parametrize("num_live", [2, 40])
def test_live_requests_without_end_leave_a_hundredth_of_the_time(
    make_world: Any, num_live: int
) -> None:
    world = make_world(tick_s=0.0, max_num_seqs=16, num_pages=256, check_invariants=False)
    world.add("line", [1, 2, 3], max_tokens=6, can_wait=True)
    keep_busy(world, num_live, 700)
    assert has_ended(world, "line")
    world.verify_stream("line")
    tokens = [(names(plan)[0], plan.num_tokens) for plan in world.plans]
    num_yielded = sum(count for name, count in tokens if name == "line")
    num_all = sum(count for _, count in tokens)
    assert num_yielded <= num_all / TURN_EVERY + 64


def test_with_few_slots_live_requests_that_want_all_get_all(make_world: Any) -> None:
    world = make_world(tick_s=0.0, max_num_seqs=4, check_invariants=False)
    world.add("line", [1, 2, 3], max_tokens=6, can_wait=True)
    keep_busy(world, 8, 300)
    assert "line" not in planned(world)[8:]


def test_a_turn_beside_live_requests_is_a_small_step(make_full: Any) -> None:
    world = make_full(max_num_batched_tokens=32, max_num_seqs=8)
    world.add("long", range(30), max_tokens=2, can_wait=True, salt="long")
    world.add("live", [3], max_tokens=40)
    world.step()
    world.scheduler._turns.turn_took_s = 0.0
    turn = world.step()
    assert "live" not in names(turn)
    assert turn.num_tokens == 4


def test_what_a_batch_got_costs_no_live_request_its_share(make_world: Any) -> None:
    world = make_world(max_num_seqs=1, num_pages=256)
    world.add("batch", range(8), tenant="a", max_tokens=50, can_wait=True)
    world.run()
    world.add("first", [1], tenant="b", max_tokens=2)
    world.step()
    world.add("b", [2], tenant="b", max_tokens=2)
    world.add("a", [3], tenant="a", max_tokens=2)
    world.run()
    order = list(dict.fromkeys(planned(world)))
    assert order == ["batch", "first", "a", "b"]


def test_batches_of_two_keys_share_what_is_left(make_world: Any) -> None:
    world = make_world(max_num_seqs=2, num_pages=256)
    for index in range(20):
        world.add(f"a-{index}", [1, index], tenant="a", can_wait=True)
    world.step()
    for index in range(4):
        world.add(f"b-{index}", [2, index], tenant="b", can_wait=True)
    world.run()
    order = list(dict.fromkeys(planned(world)))
    assert order.index("b-3") < 12


def test_lines_of_a_batch_fill_no_live_requests_queue(make_world: Any) -> None:
    world = make_world(max_num_seqs=1, max_num_queued_requests=2)
    for index in range(3):
        world.add(f"line-{index}", [1], can_wait=True)
    with pytest.raises(OverloadedError):
        world.add("line-3", [1], can_wait=True)
    for index in range(3):
        world.add(f"live-{index}", [1])
    with pytest.raises(OverloadedError):
        world.add("live-3", [1])


def test_a_clock_that_is_set_back_stops_no_batch() -> None:
    turns = Turns()
    turns.planned(1e6)
    turns.settled(1e6 + 1.0)
    assert turns.order(has_live=True, has_patient=True, now_s=1e6 + 2.0) == (False,)
    assert turns.order(has_live=True, has_patient=True, now_s=1e5) == (True, False)
    assert turns.order(has_live=False, has_patient=True, now_s=1e4) == (True,)
