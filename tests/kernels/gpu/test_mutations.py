"""Broken kernels must be caught: what the other tests of this folder rest on."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gpu_world import SMALL, TOLERANCE, RaceFound, make_world
from jax.experimental.pallas import mosaic_gpu as plgpu
from rig_gpu import compile_for_h100
from test_compiled import LLAMA_8B, POOL_TOKENS, TEMP_BUDGET

from pallas_kernels.paged_attention import gpu
from pallas_kernels.paged_attention.gpu import decode, prefill, tiles


def is_right_and_free_of_races(world):
    try:
        result = world.attend(is_decode=True, detect_races=True)
    except RaceFound:
        return False
    return np.max(np.abs(result - world.expected())) < TOLERANCE


@pytest.fixture
def small_world(monkeypatch, quick_compiles):
    monkeypatch.setattr(gpu, "tuning", lambda *_: SMALL)
    return make_world([(250, 1), (64, 1)], num_tokens=2)


def test_the_kernel_as_it_is_passes(small_world):
    assert is_right_and_free_of_races(small_world)


def test_a_wrong_page_is_caught(small_world, monkeypatch):
    right = tiles._part_of_page
    wrong = lambda source, *rest: right(source._replace(row=jnp.int32(0)), *rest)  # noqa: E731
    monkeypatch.setattr(tiles, "_part_of_page", wrong)
    assert not is_right_and_free_of_races(small_world)


def test_a_missing_barrier_is_caught(monkeypatch, quick_compiles):
    """The computing warpgroup does not wait until its queries have landed."""
    stages = decode.QUERY_BUFFERS + 1  # tells the barriers of queries from those of tiles
    monkeypatch.setattr(gpu, "tuning", lambda *_: dataclasses.replace(SMALL, decode_stages=stages))

    class Careless:
        def __getattr__(self, name):
            return getattr(plgpu, name)

        def barrier_wait(self, barrier):
            if barrier.ref.shape[0] == stages:
                plgpu.barrier_wait(barrier)

    monkeypatch.setattr(decode, "plgpu", Careless())
    assert not is_right_and_free_of_races(make_world([(64, 1), (10, 1)], num_tokens=2))


@pytest.mark.parametrize(("registers", "fault"), [(96, "spills"), (80, "register budget ignored")])
def test_spilled_registers_are_caught(registers, fault, monkeypatch):
    monkeypatch.setattr(prefill, "COMPUTING_REGISTERS", registers)
    faults = LLAMA_8B.faults(128, 128, is_decode=False)
    assert any(found.startswith(fault) for found in faults)


def faults_of(fn, *, is_donated):
    shape = LLAMA_8B.pages_shape
    pages = jax.ShapeDtypeStruct(shape, jnp.bfloat16)
    _, facts = compile_for_h100(fn, pages, donate_argnums=(0,) if is_donated else ())
    kv_bytes = 2 * POOL_TOKENS * LLAMA_8B.num_kv_heads * LLAMA_8B.head_dim * 2
    return facts.faults(kv_shape=shape, kv_bytes=kv_bytes, temp_budget=TEMP_BUDGET)


def test_a_lost_alias_is_caught():
    _, facts = LLAMA_8B.compile(8, 8, is_decode=True, is_donated=False)
    faults = facts.faults(kv_shape=LLAMA_8B.pages_shape, kv_bytes=1, temp_budget=TEMP_BUDGET)
    assert any("not in place" in fault for fault in faults)
    assert any("touches all pages" in fault for fault in faults)


def test_a_conditional_is_caught():
    def branch(pages):
        return jax.lax.cond(pages[0, 0, 0, 0, 0] > 0, jnp.sort, jnp.flip, pages)

    assert any("blocks the host" in fault for fault in faults_of(branch, is_donated=True))


def test_a_loop_of_unknown_length_is_caught():
    def loop(pages):
        count = pages[0, 0, 0, 0, 0].astype(jnp.int32)
        return jax.lax.fori_loop(0, count, lambda i, p: p.at[i].set(0), pages)

    assert any("blocks the host" in fault for fault in faults_of(loop, is_donated=True))
