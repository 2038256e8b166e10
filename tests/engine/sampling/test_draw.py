from __future__ import annotations

import jax
import numpy as np
import pytest

from engine.sampling.draw import pick

pick = jax.jit(pick)


def expected_ids(weight_V: np.ndarray, words: np.ndarray) -> np.ndarray:
    upto_V = np.cumsum(weight_V.astype(np.uint64))
    points = (words.astype(np.uint64) * upto_V[-1]) >> np.uint64(32)
    return np.searchsorted(upto_V, points, side="right")


@pytest.mark.parametrize("vocab_size", [1, 5, 255, 256, 257, 1000, 5000])
def test_the_picked_id_is_the_inverse_of_the_running_sum(vocab_size):
    rng = np.random.default_rng(vocab_size)
    weight_V = rng.integers(0, 2**31 // vocab_size, vocab_size)
    weight_V[rng.random(vocab_size) < 0.5] = 0
    weight_V[-1] = 1
    words = rng.integers(0, 2**32, 64, dtype=np.uint32)
    words[:3] = 0, 2**32 - 1, 2**31
    weights = np.tile(weight_V.astype(np.int32), (64, 1))
    np.testing.assert_array_equal(pick(weights, words), expected_ids(weight_V, words))


def test_every_id_gets_exactly_its_share_of_an_even_grid_of_words():
    weight_V = np.array([0, 1, 0, 5, 2, 0, 8], np.int32) << 20
    words = (np.arange(1024, dtype=np.uint32) << 22).astype(np.uint32)
    ids = np.asarray(pick(np.tile(weight_V, (1024, 1)), words))
    np.testing.assert_array_equal(np.bincount(ids, minlength=7), weight_V >> 20 << 6)


@pytest.mark.parametrize("word", [0, 1, 2**31, 2**32 - 1])
def test_a_lone_id_is_picked_wherever_it_is(word):
    for index in (0, 255, 256, 700):
        weight = np.zeros((1, 701), np.int32)
        weight[0, index] = 1
        assert int(pick(weight, np.array([word], np.uint32))[0]) == index


def test_a_row_of_zeros_stays_in_range():
    ids = np.asarray(pick(np.zeros((2, 300), np.int32), np.array([0, 2**32 - 1], np.uint32)))
    assert ((ids >= 0) & (ids < 300)).all()


def test_no_id_of_weight_zero_in_a_hundred_thousand_draws():
    rng = np.random.default_rng(5)
    weight = np.where(rng.random((1, 400)) < 0.5, 0, rng.integers(1, 2**21, (1, 400)))
    weights = np.broadcast_to(weight.astype(np.int32), (2000, 400))
    for seed in range(50):
        words = np.random.default_rng(seed).integers(0, 2**32, 2000, dtype=np.uint32)
        assert (weight[0, np.asarray(pick(weights, words))] > 0).all()
