from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels import threshold
from pallas_kernels.threshold import THRESHOLDS, Threshold, choose
from pallas_kernels.threshold.tiling import SLOTS, TILE, tiling_of


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_the_plain_search_serves_other_platforms_without_a_word(platform):
    assert choose(platform) == threshold.Choice("plain")


def test_a_hopper_gpu_gets_the_kernel():
    assert choose("gpu", types.SimpleNamespace(compute_capability="9.0")).kind == "gpu"


def test_an_older_gpu_gets_the_plain_search_and_a_sentence():
    choice = choose("gpu", types.SimpleNamespace(compute_capability="8.0"))
    assert choice.kind == "plain"
    assert "8.0" in (choice.fallback or "")


def test_on_a_mesh_each_device_searches_all_rows(monkeypatch):
    kinds = dict(THRESHOLDS, gpu=THRESHOLDS["plain"])  # no GPU here: its place is what is tested
    monkeypatch.setattr(threshold, "THRESHOLDS", kinds)
    mesh = jax.make_mesh((1,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    keys = jnp.asarray([[3, 1, 2], [9, 9, 1]], jnp.int32)
    search = Threshold("gpu", mesh)
    counted = jax.jit(search.largest_cut)(keys, jnp.asarray([2, 1], jnp.int32))
    assert np.asarray(counted).tolist() == [2, 9]


@pytest.mark.parametrize("vocab_size", [1, 500, 32_000, 50_257, 128_256, 151_936, 262_208])
def test_tiles_cover_a_row_of_any_size(vocab_size):
    tiling = tiling_of(vocab_size)
    assert vocab_size <= tiling.num_keys < vocab_size + max(128, TILE)
    assert tiling.num_keys % 32 == 0
    assert (tiling.tiles - 1) * tiling.tile_lines < tiling.lines
    assert 0 < tiling.resident_slots + tiling.ring_slots <= SLOTS
    assert tiling.streamed >= 0


def test_a_row_that_fits_in_shared_memory_is_read_once():
    assert tiling_of(32_000).bytes_read == 4 * TILE * 16


def test_a_row_of_128256_is_read_less_than_four_times():
    assert tiling_of(128_256).bytes_read < 3.25 * 4 * 128_256
