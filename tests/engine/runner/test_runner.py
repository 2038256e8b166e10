"""Whole steps on the device: right numbers, the same bytes whatever the company, no compilation."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.runner.buckets import Variant
from engine.runner.build import make_runner
from engine.scheduler.plan import StepLimits, StepPlan

NUM_TOKENS = 6


def tokens_of(results) -> list[int]:
    return [result.token_id for result in results]


def test_greedy_tokens_are_those_of_a_plain_forward(world, prompts, plain_logprobs) -> None:
    sequences = [world.add(prompt) for prompt in prompts[:5]]
    for sequence, results in zip(sequences, world.generate(sequences, NUM_TOKENS), strict=True):
        logprobs = plain_logprobs(sequence.token_ids[:-1])
        expected = logprobs[sequence.num_prompt_tokens - 1 :].argmax(-1)
        assert tokens_of(results) == expected.tolist()


def test_logprobs_are_those_of_a_plain_forward(world, prompts, plain_logprobs) -> None:
    sequence = world.add(prompts[6], logprobs=5)
    [results] = world.generate([sequence], NUM_TOKENS)
    logprobs = plain_logprobs(sequence.token_ids[:-1])[sequence.num_prompt_tokens - 1 :]
    for result, expected in zip(results, logprobs, strict=True):
        assert result.logprobs.token_id == result.token_id
        assert result.logprobs.rank == 1
        assert result.logprobs.logprob == pytest.approx(expected.max(), abs=1e-4)
        best = np.argsort(-expected)[:5]
        assert list(result.logprobs.top_token_ids) == best.tolist()
        assert result.logprobs.top_logprobs == pytest.approx(expected[best], abs=1e-4)


def test_logprobs_of_ids_asked_for_are_those_of_a_plain_forward(world, prompts, plain_logprobs):
    wanted = (90, 0, 41, 7)
    sequence = world.add(prompts[6], logprobs=3, logprob_token_ids=wanted)
    neighbour = world.add(prompts[2], logprobs=2)
    results, others = world.generate([sequence, neighbour], NUM_TOKENS)
    logprobs = plain_logprobs(sequence.token_ids[:-1])[sequence.num_prompt_tokens - 1 :]
    for result, expected in zip(results, logprobs, strict=True):
        assert result.logprobs.logprob == pytest.approx(expected.max(), abs=1e-4)
        assert result.logprobs.top_token_ids == wanted
        assert result.logprobs.top_logprobs == pytest.approx(expected[list(wanted)], abs=1e-4)
    assert {len(result.logprobs.top_token_ids) for result in others} == {2}


def test_prompt_logprobs_are_those_of_a_plain_forward(world, prompts, plain_logprobs) -> None:
    prompt = prompts[8]
    sequence = world.add(prompt, prompt_logprobs=2)
    neighbour = world.add(prompts[2])
    rows = [world.row(neighbour), world.row(sequence, 7, is_scoring=True)]
    scores = world.step(rows)[1].prompt_logprobs
    scores += world.step([world.row(sequence, is_scoring=True)])[0].prompt_logprobs
    assert [score.token_id for score in scores] == prompt[1:]
    expected = plain_logprobs(prompt)
    for position, score in enumerate(scores):
        assert score.logprob == pytest.approx(expected[position, prompt[position + 1]], abs=1e-4)
        assert list(score.top_token_ids) == np.argsort(-expected[position])[:2].tolist()


def scored(world, sequences, **how):
    return world.generate(sequences, NUM_TOKENS, **how)


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "seed": 5, "top_p": 0.9}])
def test_company_and_order_change_no_bit(make_world, prompts, sampling) -> None:
    world = make_world()
    together = [world.add(prompt, logprobs=3, **sampling) for prompt in prompts]
    in_company = scored(world, together)
    world = make_world()
    backwards = [world.add(prompt, logprobs=3, **sampling) for prompt in reversed(prompts)]
    shuffled = scored(world, backwards)[::-1]
    for prompt, first, second in zip(prompts, in_company, shuffled, strict=True):
        world = make_world()
        [alone] = scored(world, [world.add(prompt, logprobs=3, **sampling)])
        for results in (first, second):
            assert tokens_of(results) == tokens_of(alone)
            assert [r.logprobs.logprob for r in results] == [r.logprobs.logprob for r in alone]
            assert [r.logprobs.top_logprobs for r in results] == [
                r.logprobs.top_logprobs for r in alone
            ]


@pytest.mark.parametrize("chunk_tokens", [1, 5, 8, 13])
def test_chunks_change_no_bit(make_world, prompts, chunk_tokens: int) -> None:
    world = make_world()
    [whole] = scored(world, [world.add(prompts[-1], logprobs=3)])
    world = make_world()
    sequence = world.add(prompts[-1], logprobs=3)
    [chunked] = scored(world, [sequence], chunk_tokens=chunk_tokens)
    assert [r.logprobs for r in chunked] == [r.logprobs for r in whole]


def test_every_bucket_gives_the_same_bits(make_world, prompts, monkeypatch) -> None:
    world = make_world()
    runner = world.runner
    [expected] = scored(world, [world.add(prompts[4], logprobs=3)])
    everything = dict(runner._executables)
    for bucket in runner.buckets:
        if bucket.is_decode or bucket.variant is Variant.GREEDY:
            continue
        monkeypatch.setattr(runner, "_executables", {bucket: everything[bucket]})
        world = make_world()
        [results] = scored(world, [world.add(prompts[4], logprobs=3)])
        assert [r.logprobs for r in results] == [r.logprobs for r in expected], bucket


def test_greedy_and_full_variants_choose_alike(make_world, prompts) -> None:
    world = make_world()
    [greedy] = scored(world, [world.add(prompts[3])])
    world = make_world()
    [full] = scored(world, [world.add(prompts[3], logprobs=0)])
    assert tokens_of(greedy) == tokens_of(full)


def test_a_token_still_on_the_device_is_fed_back(make_world, prompts) -> None:
    world = make_world()
    settled_late = world.add(prompts[5])
    handles, plans = [], []
    for _ in range(4):
        plans.append([world.row(settled_late)])
        handles.append(world.launch(plans[-1]))
    late = [handle.results()[0].token_id for handle in handles]
    assert [rows[0].uses_pending_token for rows in plans] == [False, True, True, True]
    world = make_world()
    [at_once] = world.generate([world.add(prompts[5])], 4)
    assert late == tokens_of(at_once)


def test_a_row_that_does_not_sample_has_no_token(world, prompts) -> None:
    [result] = world.step([world.row(world.add(prompts[5]), 4)])
    assert result.token_id is None
    assert not result.is_invalid


def test_banned_words_of_several_tokens_are_not_completed(make_world, prompts) -> None:
    world = make_world()
    [free] = world.generate([world.add(prompts[1])], 4)
    first, second = tokens_of(free)[1:3]
    world = make_world()
    sequence = world.add(prompts[1], bad_words_token_ids=((first, second),))
    [banned] = world.generate([sequence], 4)
    assert tokens_of(banned)[:2] == tokens_of(free)[:2]
    assert tokens_of(banned)[2] != second


def test_a_slot_forgets_its_last_owner(make_world, prompts) -> None:
    world = make_world()
    [expected] = world.generate([world.add(prompts[2])], 3)
    world = make_world()
    everything_but_one = dict.fromkeys((9,), 100.0)
    world.generate([world.add(prompts[0], logit_bias=everything_but_one)], 3)
    world.slots.clear()
    [results] = world.generate([world.add(prompts[2])], 3)
    assert tokens_of(results) == tokens_of(expected)


def test_nan_ends_its_own_row_only(make_world, prompts, monkeypatch) -> None:
    world = make_world()
    runner = world.runner
    victim, bystander = [90, 92, 91], [token % 80 + 3 for token in prompts[4]]
    [expected] = scored(world, [world.add(bystander, logprobs=2)])
    poisoned = list(runner._weights)
    embedding_index = next(
        index
        for index, placement in enumerate(runner.program.placements)
        if placement.rule.parameter == "embed.weight"
    )
    embedding = np.array(poisoned[embedding_index])
    embedding[91] = np.nan
    poisoned[embedding_index] = jax.device_put(embedding, poisoned[embedding_index].sharding)
    monkeypatch.setattr(runner, "_weights", poisoned)
    world = make_world()
    sequences = [world.add(victim), world.add(bystander, logprobs=2)]
    rows = [world.row(sequence) for sequence in sequences]
    sick, sound = world.step(rows)
    assert sick.is_invalid
    assert not sound.is_invalid
    assert sound.logprobs == expected[0].logprobs


def test_pages_and_slot_state_are_updated_in_place(world, prompts) -> None:
    runner = world.runner
    before = [*jax.tree.leaves(runner._kv), *runner._state]
    world.step([world.row(world.add(prompts[0]))])
    assert all(array.is_deleted() for array in before)


def test_nothing_compiles_once_warm(world, prompts) -> None:
    runner = world.runner
    before = runner.num_compilations_after_ready
    sequences = [
        world.add(prompts[0]),
        world.add(prompts[1], temperature=0.7, logprobs=2, presence_penalty=0.5),
        world.add(prompts[2], logit_bias={4: 2.0}, min_tokens=3),
    ]
    world.generate(sequences, 4)
    scoring = world.add(prompts[3], prompt_logprobs=1)
    world.step([world.row(scoring, is_scoring=True)])
    runner.recover()
    assert runner.num_compilations_after_ready == before
    assert runner.num_compiled_steps == runner.num_planned_steps == len(runner.buckets)


def test_a_compilation_outside_the_plan_is_counted(ready) -> None:
    runner = ready.runner
    before = runner.num_compilations_after_ready
    jax.jit(lambda x: x * 3 + 17)(jnp.zeros(3)).block_until_ready()
    assert runner.num_compilations_after_ready > before
    runner._counter._num_unplanned = before


def test_a_plan_without_rows_proves_life(runner) -> None:
    handle = runner.launch(StepPlan(0, (), np.zeros((0, 0), np.int32)))
    assert handle.results() == []
    assert handle.is_ready()


def test_after_recovery_steps_give_the_same_results(make_world, prompts) -> None:
    world = make_world()
    [before] = world.generate([world.add(prompts[0])], 3)
    for array in (*jax.tree.leaves(world.runner._kv), *world.runner._state):
        array.delete()
    with pytest.raises(Exception, match="deleted"):
        world.step([world.row(world.add(prompts[0]))])
    world = make_world()
    [after] = world.generate([world.add(prompts[0])], 3)
    assert tokens_of(after) == tokens_of(before)


def test_a_plan_beyond_the_limits_is_refused(world, prompts) -> None:
    sequence = world.add(range(3, 90))
    with pytest.raises(LookupError):
        world.launch([world.row(sequence)])


def test_limits_are_the_configured_ones_once_warm(runner) -> None:
    assert runner.limits() == StepLimits(16, 64, True)


def test_steps_run_while_others_compile(engine_config, ready, make_world, prompts) -> None:
    world = make_world()
    world_of = type(world)
    [expected] = scored(world, [world.add(prompts[3], logprobs=3)])
    cold = make_runner(engine_config).runner
    assert cold.limits() == StepLimits(8, 64, False)
    warming = threading.Thread(target=cold.warm_up)
    warming.start()
    while warming.is_alive():
        world = world_of(cold)
        [results] = scored(world, [world.add(prompts[3], logprobs=3)])
        assert [r.logprobs for r in results] == [r.logprobs for r in expected]
    assert cold.limits() == ready.runner.limits()


def test_closing_ends_the_warm_up(engine_config) -> None:
    cold = make_runner(engine_config).runner
    cold.close()
    cold.warm_up()
    assert cold.num_compiled_steps == 1
