"""Which tokens a step computes."""

from __future__ import annotations

from typing import Any

import pytest

from engine.scheduler.plan import StepLimits


def shares(plan: Any) -> list[tuple[str, int, int]]:
    return [(row.sequence.request.request_id, row.start, row.num_new_tokens) for row in plan.rows]


def test_a_prompt_is_computed_in_chunks_and_samples_at_its_end(make_world: Any) -> None:
    world = make_world(max_num_batched_tokens=3)
    world.add("a", range(5), max_tokens=2)
    plans = [world.launch() for _ in range(3)]
    assert [shares(plan) for plan in plans] == [[("a", 0, 3)], [("a", 3, 2)], [("a", 5, 1)]]
    assert [plan.rows[0].is_sampling for plan in plans] == [False, True, True]
    assert [plan.rows[0].uses_pending_token for plan in plans] == [False, False, True]
    assert world.launch() is None, "two tokens are all it may have"


def test_a_prefill_chunk_has_a_cap_of_its_own(make_world: Any) -> None:
    world = make_world(prefill_chunk_tokens=4)
    world.add("a", range(9))
    world.add("b", range(9))
    assert shares(world.launch()) == [("a", 0, 4), ("b", 0, 4)]


def test_decodes_come_first_and_prompts_fill_the_rest(make_world: Any) -> None:
    world = make_world(max_num_batched_tokens=8)
    world.add("a", range(3), max_tokens=9)
    world.launch()
    world.add("b", range(20))
    world.add("c", range(20))
    assert shares(world.launch()) == [("a", 3, 1), ("b", 0, 7)]


def test_every_running_sequence_is_sure_of_a_token(make_world: Any) -> None:
    world = make_world(max_num_batched_tokens=8, prefill_chunk_tokens=5)
    world.add("a", range(30))
    world.add("b", range(30))
    world.launch()
    world.add("c", range(30))
    assert shares(world.launch()) == [("a", 5, 5), ("b", 3, 3)]
    world.limits = StepLimits(8, 100, True)
    assert len(world.launch().rows) == 2


def test_no_step_is_above_the_limits_and_they_may_grow(make_world: Any) -> None:
    world = make_world()
    world.limits = StepLimits(1, 4, False)
    world.add("a", range(6), max_tokens=9)
    world.add("b", range(1, 7), max_tokens=9)
    assert shares(world.step()) == [("a", 0, 4)]
    assert shares(world.step()) == [("a", 4, 2)]
    world.limits = StepLimits(2, 16, False)
    assert shares(world.step()) == [("a", 6, 1), ("b", 0, 6)]


def test_first_come_first_served_ignores_priority(make_world: Any) -> None:
    world = make_world(max_num_seqs=1)
    world.add("a", range(3), priority=5)
    world.add("b", range(3), priority=-5)
    assert shares(world.launch()) == [("a", 0, 3)]


def test_the_smaller_priority_runs_earlier(make_world: Any) -> None:
    world = make_world(max_num_seqs=1, use_priority=True)
    world.add("a", range(3), priority=5)
    world.add("b", range(3), priority=-5)
    world.add("c", range(3), priority=-5)
    assert shares(world.launch()) == [("b", 0, 3)]


def test_a_long_prompt_is_not_overtaken_while_it_waits_for_pages(make_world: Any) -> None:
    world = make_world(num_pages=9, max_model_len=32)
    world.add("a", range(10), max_tokens=12)
    world.launch()
    world.add("long", range(25), max_tokens=1)
    world.add("short", range(2), max_tokens=1)
    assert [row.sequence.request.request_id for row in world.step().rows] == ["a"]
    world.run()
    ends = {key[0]: stream.last.timings.last_token_s for key, stream in world.streams.items()}
    assert ends["a"] < ends["long"]


def test_the_latest_arrival_yields_when_pages_run_out(make_world: Any) -> None:
    world = make_world(num_pages=7, max_model_len=24)
    world.add("a", range(8), max_tokens=12)
    world.add("b", range(8), max_tokens=12)
    world.run()
    assert world.streams["a", 0].last.num_preemptions == 0
    assert world.streams["b", 0].last.num_preemptions > 0
    world.verify_stream("a")
    world.verify_stream("b")


def test_the_lowest_priority_yields_when_pages_run_out(make_world: Any) -> None:
    world = make_world(num_pages=7, max_model_len=24, use_priority=True)
    world.add("a", range(8), max_tokens=12, priority=1)
    world.add("b", range(8), max_tokens=12, priority=0)
    world.run()
    assert world.streams["a", 0].last.num_preemptions > 0
    assert world.streams["b", 0].last.num_preemptions == 0


def test_a_preempted_sequence_keeps_its_pending_token_and_waits_for_it(make_world: Any) -> None:
    world = make_world(num_pages=5, max_model_len=16, page_size=4, enable_prefix_caching=False)
    world.add("a", range(7), max_tokens=9)
    (b,) = world.add("b", range(7), max_tokens=9)
    world.step()
    world.step()
    world.launch()  # a needs a third page: b yields with tokens under way
    assert b.slot_index is None
    assert b.num_pending_tokens == 1
    assert all(row.sequence is not b for row in world.plans[-1].rows)
    world.settle()
    assert b.num_pending_tokens == 0
    world.run()
    world.verify_stream("b")


def test_a_restarted_sequence_publishes_nothing_for_a_step_before_its_restart(
    make_world: Any,
) -> None:
    world = make_world(prefill_chunk_tokens=4)
    (a,) = world.add("a", range(12))
    world.launch()
    world.scheduler._state.preempt(a)
    world.launch()
    world.settle()
    assert a.num_published_pages == 0
    world.settle()
    assert a.num_published_pages == 1


def test_several_token_bad_words_are_chosen_around_once_all_before_is_settled(
    make_world: Any,
) -> None:
    world = make_world(prefill_chunk_tokens=4)
    world.add("a", range(5), bad_words_token_ids=((1,), (2, 3)), max_tokens=2)
    assert not world.launch().needs_settled, "a step that samples nothing"
    assert world.launch().needs_settled
    world.run()


def test_one_token_bad_words_need_nothing_settled(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(3), bad_words_token_ids=((1,), (2,)))
    assert not world.launch().needs_settled


@pytest.mark.parametrize("is_caching", [True, False])
def test_siblings_wait_for_the_prompt_only_when_they_can_share_it(
    make_world: Any, is_caching: bool
) -> None:
    world = make_world(enable_prefix_caching=is_caching)
    world.add("a", range(9), n=3)
    assert len(world.step().rows) == (1 if is_caching else 3)
    world.run()
    computed = sum(row.num_new_tokens for plan in world.plans for row in plan.rows if row.start < 9)
    assert computed == (9 + 2 * 1 if is_caching else 27)
    for i in range(3):
        world.verify_stream("a", i)


def test_siblings_of_a_prompt_without_a_full_page_do_not_wait(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(4), n=2)
    assert len(world.launch().rows) == 2


def test_a_waiting_sibling_holds_up_nobody(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9), n=2)
    world.add("b", range(3))
    assert [row.sequence.request.request_id for row in world.launch().rows] == ["a", "b"]


def test_siblings_go_on_when_the_first_is_aborted(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9), n=2)
    world.launch()
    world.scheduler.abort("a", (0,))
    world.run()
    world.verify_stream("a", 1)


def test_a_shared_prefix_is_computed_once(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9))
    world.run()
    world.add("b", range(9))
    assert shares(world.launch()) == [("b", 8, 1)]
    world.run()
    assert world.streams["b", 0].deltas[0].num_cached_tokens == 8
    assert world.streams["b", 0].token_ids == world.streams["a", 0].token_ids


def test_generated_pages_are_found_by_the_next_turn(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(6), max_tokens=7)
    world.run()
    turn = [*range(6), *world.streams["a", 0].token_ids, 1, 2]
    world.add("b", turn)
    assert shares(world.launch())[0][1] == 12
    world.run()
    world.verify_stream("b")


def test_salts_keep_requests_apart(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9), salt="x")
    world.run()
    world.add("b", range(9), salt="y")
    assert shares(world.launch()) == [("b", 0, 9)]


def test_a_request_that_skips_the_cache_computes_all_of_its_prompt(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9))
    world.run()
    world.add("b", range(9), n=2, skip_reading_prefix_cache=True)
    assert shares(world.launch()) == [("b", 0, 9), ("b", 0, 9)]
    world.run()
    assert world.streams["b", 1].deltas[0].num_cached_tokens == 0


def test_a_reset_cache_is_cold(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(9))
    world.run()
    assert world.scheduler.reset_prefix_cache() == 3
    world.add("b", range(9))
    assert shares(world.launch()) == [("b", 0, 9)]
