from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.sampling.logits import clean, sortable
from engine.sampling.threshold import largest_cut

cut_by_count = jax.jit(lambda keys, target: largest_cut(keys, jnp.ones_like, target))


def from_sortable(keys):
    return np.asarray(sortable(np.asarray(keys).view(np.float32))).view(np.float32)


def test_keys_order_like_the_floats_and_come_back():
    floats = np.array([-np.inf, -3e38, -1.5, -1e-45, 0.0, 1e-45, 2.0, 3e38, np.inf], np.float32)
    keys = np.asarray(sortable(floats))
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    assert np.asarray(from_sortable(keys)).tobytes() == floats.tobytes()


def test_clean_gives_equal_floats_equal_keys():
    keys = np.asarray(sortable(clean(np.array([[0.0, -0.0, np.inf, 3.4028235e38]], np.float32))))
    assert keys[0, 0] == keys[0, 1]
    assert keys[0, 2] == keys[0, 3]


@pytest.mark.parametrize("target", [1, 2, 3, 50, 999, 1000])
def test_the_cut_by_count_is_the_kth_largest(target):
    rng = np.random.default_rng(target)
    logits = (rng.normal(size=(8, 1000)) * 10).astype(np.float32)
    logits[4:] = np.round(logits[4:])  # with many ties
    logits[7, :900] = -np.inf
    cut = from_sortable(cut_by_count(sortable(logits), np.full(8, target, np.int32)))
    np.testing.assert_array_equal(np.asarray(cut), np.sort(logits, axis=1)[:, -target])


def test_the_extreme_keys_can_be_cut_at():
    keys = np.array([[-(2**31), 2**31 - 1, 0]], np.int32)
    cuts = [int(cut_by_count(keys, np.array([target], np.int32))[0]) for target in (1, 2, 3)]
    assert cuts == [2**31 - 1, 0, -(2**31)]


def test_the_cut_by_weight_is_the_largest_that_reaches_the_target():
    rng = np.random.default_rng(3)
    keys = rng.integers(0, 1 << 30, (8, 500), dtype=np.int32)
    targets = rng.integers(1, keys[:, :250].sum(axis=1) >> 8).astype(np.int32)

    def weigh(key_RV: jax.Array) -> jax.Array:
        return key_RV >> 8

    cuts = np.asarray(largest_cut(keys, weigh, targets, num_bits=30))
    for key_V, target, cut in zip(keys, targets, cuts, strict=True):
        assert cut in key_V
        assert (key_V[key_V >= cut] >> 8).sum() >= target
        assert (key_V[key_V > cut] >> 8).sum() < target
