"""Sleeping frees the device for certain, and nobody can tell afterwards that it happened."""

from __future__ import annotations

import jax
import pytest

from engine.errors import ConflictError
from engine.request import SamplingParams

PROMPTS = [list(range(3, 60)), [9, 8, 7]]
SAMPLING = SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True)


@pytest.fixture(scope="module")
def others():
    """Arrays of other tests in this process; held, so that no other array gets their ids."""
    return jax.live_arrays()


@pytest.fixture(scope="module")
def llm(others, make_llm):
    with make_llm(max_num_seqs=4, max_num_batched_tokens=32) as llm:
        yield llm


def answers(llm):
    return [output.outputs[0].token_ids for output in llm.generate(PROMPTS, SAMPLING)]


def live_arrays(others):
    foreign = {id(array) for array in others}
    return [array for array in jax.live_arrays() if id(array) not in foreign]


def live_bytes(others):
    return sum(array.nbytes for array in live_arrays(others))


@pytest.mark.parametrize("level", [1, 2])
def test_the_device_is_freed_and_the_bytes_are_the_same(llm, others, level):
    before, bytes_before = answers(llm), live_bytes(others)
    llm.sleep(level)
    assert llm.info.weight_bytes <= bytes_before - live_bytes(others)
    assert not [array for array in live_arrays(others) if array.nbytes > 4096]
    llm.wake_up()
    assert live_bytes(others) == bytes_before
    assert answers(llm) == before
    assert llm.stats.total_compilations_after_ready == 0


def test_prefixes_are_forgotten_with_their_pages(llm):
    answers(llm)
    num_hits = llm.stats.total_prefix_hits
    llm.sleep(1)
    llm.wake_up()
    answers(llm)
    assert llm.stats.total_prefix_hits == num_hits


def test_weights_wake_before_pages(llm):
    before = answers(llm)
    llm.sleep(1)
    llm.wake_up(["weights"])
    llm.wake_up(["kv_cache"])
    assert answers(llm) == before


def test_level_2_is_final(llm):
    llm.sleep(2)
    with pytest.raises(ConflictError, match="level 2"):
        llm.sleep(1)
    llm.wake_up()
