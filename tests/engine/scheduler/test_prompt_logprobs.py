"""Requests that score their prompt."""

from __future__ import annotations

from typing import Any

from engine.request import FinishReason
from engine.scheduler.plan import StepLimits


def test_a_prompt_is_scored_in_small_steps(make_world: Any) -> None:
    world = make_world(prompt_logprobs_chunk_tokens=4)
    world.add("a", range(10), prompt_logprobs=0)
    world.run()
    scoring = [row for plan in world.plans for row in plan.rows if row.is_scoring]
    assert [(row.start, row.num_new_tokens) for row in scoring] == [(0, 4), (4, 4), (8, 2)]
    world.verify_stream("a")


def test_only_the_first_sequence_scores(make_world: Any) -> None:
    world = make_world()
    world.add("a", range(10), prompt_logprobs=0, n=2)
    world.run()
    assert sum(row.is_scoring for plan in world.plans for row in plan.rows) == 1
    world.verify_stream("a", 0)
    world.verify_stream("a", 1)


def test_scoring_waits_for_its_variant_and_holds_up_nobody(make_world: Any) -> None:
    world = make_world()
    world.limits = StepLimits(8, 64, False)
    world.add("a", range(10), prompt_logprobs=0)
    world.add("b", range(3))
    assert [row.sequence.request.request_id for row in world.step().rows] == ["b"]
    world.limits = StepLimits(8, 64, True)
    world.run()
    world.verify_stream("a")


def test_scoring_does_not_read_the_prefix_cache(make_world: Any) -> None:
    world = make_world()
    world.add("warm", range(10))
    world.run()
    world.add("a", range(10), prompt_logprobs=0)
    assert world.launch().rows[0].start == 0
    world.run()
    world.verify_stream("a")


def test_scoring_steps_and_ordinary_prompts_take_turns(make_world: Any) -> None:
    world = make_world(prompt_logprobs_chunk_tokens=2, prefill_chunk_tokens=2)
    world.add("a", range(8), prompt_logprobs=0)
    world.add("b", range(8))
    names = ["".join(r.sequence.request.request_id for r in world.step().rows) for _ in range(6)]
    assert names == ["a", "b", "a", "b", "a", "b"]


def test_a_prompt_of_one_token_has_nothing_to_score(make_world: Any) -> None:
    world = make_world()
    world.limits = StepLimits(8, 64, False)
    world.add("a", [5], prompt_logprobs=0)
    world.run()
    assert world.streams["a", 0].deltas[0].prompt_logprobs == (None,)


def test_scoring_alone_ends_without_a_token(make_world: Any) -> None:
    world = make_world(prompt_logprobs_chunk_tokens=4)
    world.add("a", range(9), prompt_logprobs=0, max_tokens=0)
    world.run()
    (delta,) = world.streams["a", 0].deltas
    assert delta.finish_reason is FinishReason.LENGTH
    assert delta.token_ids == ()
    world.verify_stream("a")


def test_a_prompt_of_the_whole_context_can_be_scored(make_world: Any) -> None:
    world = make_world(max_model_len=16)
    world.add("a", range(10), prompt_logprobs=0, max_tokens=0)
    world.add("b", [1] * 16, max_tokens=0)
    world.run()
    world.verify_stream("a")
    world.verify_stream("b")
