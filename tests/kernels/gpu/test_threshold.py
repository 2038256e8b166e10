"""The threshold kernel: interpreted against its specification, and compiled for an H100."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from rig_gpu import compile_for_h100

from engine.sampling.knobs import unpack
from engine.sampling.logits import clean, sortable
from engine.sampling.parameters import NUM_PARAMETER_FIELDS, Field
from engine.sampling.ranking import best_id
from engine.sampling.truncate import truncated_weights
from pallas_kernels import threshold
from pallas_kernels.paged_attention.gpu import mosaic
from pallas_kernels.threshold import Threshold, gpu, reference
from pallas_kernels.threshold.tiling import Tiling, tiling_of

VOCAB_SIZE = 1301
STREAMING = tiling_of(VOCAB_SIZE, tile=256, slots=4, ring=2)
RESIDENT = tiling_of(VOCAB_SIZE, tile=512)
TEMP_BUDGET = 4096
"""Targets and scales; no copy of the keys."""


def interpreted(key_RV, target_R, scale_R=None, *, tiling=STREAMING):
    """The kernel's cuts and whether it has a race."""
    mosaic.reset_interpreter()
    interpreter = mosaic.interpreter(detect_races=True)
    cut_R = gpu.largest_cut(key_RV, target_R, scale_R, tiling=tiling, interpret=interpreter)
    return np.asarray(cut_R), mosaic.races_found()


def rows_to_count():
    rng = np.random.default_rng(0)
    logits = np.empty((7, VOCAB_SIZE), np.float32)
    logits[:3] = rng.normal(size=(3, VOCAB_SIZE)) * 8
    logits[3] = np.round(rng.normal(size=VOCAB_SIZE))  # ties
    logits[4] = 1.5  # nothing but ties
    logits[5] = np.where(np.arange(VOCAB_SIZE) % 3, -np.inf, logits[0])
    logits[6] = np.where(np.arange(VOCAB_SIZE) % 5, np.nan, logits[1])
    targets = [1, VOCAB_SIZE, 0, 700, 9, 600, 300]
    return sortable(clean(jnp.asarray(logits))), jnp.asarray(targets, jnp.int32)


def rows_to_weigh():
    rng = np.random.default_rng(1)
    odds = np.empty((6, VOCAB_SIZE), np.float32)
    odds[:3] = np.exp(rng.normal(size=(3, VOCAB_SIZE)) * 4 - 20).clip(0, 1)
    odds[3] = np.round(rng.random(VOCAB_SIZE), 1)
    odds[4] = 1.0
    odds[5] = 0.0
    total = np.maximum(odds.sum(axis=1), 1.0)
    scale = (2.0**31 * 0.99 / total).astype(np.float32)
    scale[5] = np.inf  # of a row where nothing is allowed: every weight is 0 * inf
    key_RV = jnp.asarray(odds.view(np.int32))
    mass_R = np.asarray(reference.weigh(key_RV, jnp.asarray(scale))).sum(axis=1)
    targets = [1, mass_R[1], mass_R[2] // 2, mass_R[3] // 3, 0, 1]
    return key_RV, jnp.asarray(targets, jnp.int32), jnp.asarray(scale)


@pytest.mark.usefixtures("quick_compiles")
@pytest.mark.parametrize("rows", [rows_to_count, rows_to_weigh])
@pytest.mark.parametrize("tiling", [STREAMING, RESIDENT], ids=["streaming", "resident"])
def test_the_kernel_equals_the_specification_and_has_no_race(rows, tiling):
    arguments = rows()
    found, has_race = interpreted(*arguments, tiling=tiling)
    assert found.tolist() == np.asarray(reference.largest_cut(*arguments)).tolist()
    assert not has_race


@pytest.mark.usefixtures("quick_compiles")
def test_the_sampler_keeps_the_same_bits_with_the_kernel(monkeypatch):
    rng = np.random.default_rng(2)
    logits = (rng.normal(size=(4, VOCAB_SIZE)) * 3).astype(np.float32)
    logits[3] = np.nan
    parameters = np.zeros((4, NUM_PARAMETER_FIELDS), np.int32)
    parameters[:, Field.TEMPERATURE] = np.float32(0.8).view(np.int32)
    parameters[:, Field.TOP_K] = [0, 40, 1000, 3]
    shares = (np.array([1, 0.9, 0.3, 0.5]) * (2**32 - 1)).astype(np.uint32)
    parameters[:, Field.TOP_P] = shares.view(np.int32)
    knobs = unpack(jnp.asarray(parameters))
    kernel = functools.partial(
        gpu.largest_cut, tiling=RESIDENT, interpret=mosaic.interpreter(detect_races=False)
    )
    monkeypatch.setattr(threshold, "THRESHOLDS", dict(threshold.THRESHOLDS, gpu=kernel))

    def weights(kind):
        logits_RV = clean(jnp.asarray(logits))
        best_R = best_id(logits_RV)[1]
        return np.asarray(truncated_weights(logits_RV, best_R, knobs, Threshold(kind)))

    assert weights("gpu").tobytes() == weights("plain").tobytes()


@pytest.mark.usefixtures("quick_compiles")
def test_a_tail_counted_twice_is_caught(monkeypatch):
    monkeypatch.setattr(Tiling, "shared_lines", property(lambda _: 0))
    arguments = rows_to_count()
    found, _ = interpreted(*arguments)
    assert found.tolist() != np.asarray(reference.largest_cut(*arguments)).tolist()


@pytest.mark.usefixtures("quick_compiles")
def test_tiles_read_before_they_have_landed_are_caught(monkeypatch):
    def wait_too_late(refs, tiling, number, add):
        for slot in range(tiling.resident_slots):
            add(slot)

            @pl.when(number == 0)
            def wait(slot=slot):
                plgpu.barrier_wait(refs.landed.at[slot])

    monkeypatch.setattr(gpu, "_add_resident", wait_too_late)
    key_RV, target_R = rows_to_count()
    assert interpreted(key_RV[:1], target_R[:1])[1]


def faults(num_rows, vocab_size, *, is_counting, tiling=None):
    shapes = [
        jax.ShapeDtypeStruct((num_rows, vocab_size), jnp.int32),
        jax.ShapeDtypeStruct((num_rows,), jnp.int32),
        jax.ShapeDtypeStruct((num_rows,), jnp.float32),
    ]
    search = functools.partial(gpu.largest_cut, tiling=tiling)
    _, facts = compile_for_h100(search, *shapes[: 2 if is_counting else 3])
    assert len(facts.kernels) == 1
    return facts.faults(kv_shape=shapes[0].shape, kv_bytes=0, temp_budget=TEMP_BUDGET)


@pytest.mark.parametrize("is_counting", [True, False], ids=["top_k", "top_p"])
@pytest.mark.parametrize(
    ("num_rows", "vocab_size"),
    [(1, 128256), (8, 128256), (64, 128256), (256, 128256), (64, 32000), (64, 262208)],
)
def test_the_kernel_is_fit_for_the_chip(num_rows, vocab_size, is_counting):
    assert faults(num_rows, vocab_size, is_counting=is_counting) == []


def test_spilled_registers_are_caught():
    large = tiling_of(128256, tile=8 * 2048, slots=3, ring=2)
    assert any(
        found.startswith("spills") for found in faults(1, 128256, is_counting=False, tiling=large)
    )
