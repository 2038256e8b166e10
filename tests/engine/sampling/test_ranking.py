from __future__ import annotations

import jax
import numpy as np
import pytest

from engine.sampling.ranking import best_id, top_ids

top = jax.jit(top_ids, static_argnums=1)


@pytest.mark.parametrize("vocab_size", [3, 127, 128, 129, 1000, 9000])
@pytest.mark.parametrize("num_ids", [0, 1, 3, 20, 200])
def test_the_best_come_first_and_of_equals_the_lowest_id(vocab_size, num_ids):
    num_ids = min(num_ids, vocab_size)
    rng = np.random.default_rng(vocab_size)
    logits = rng.normal(size=(8, vocab_size)).astype(np.float32)
    logits[3:] = np.round(logits[3:]) + 0.0  # ties, but no -0.0
    logits[6, 1:] = -np.inf
    logits[7] = -np.inf
    ids, values = top(logits, num_ids)
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :num_ids]
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(logits, expected, axis=1))
    np.testing.assert_array_equal(best_id(logits)[0], logits.argmax(axis=1))


@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0xFFFFFFFF, 0x7F800001])
@pytest.mark.parametrize("index", [0, 77, 299])
def test_a_nan_of_any_kind_anywhere_is_noticed(bits, index):
    logits = np.ones((8, 300), np.float32)
    logits[2, index] = np.array(bits, np.uint32).view(np.float32)
    ids, best = jax.jit(best_id)(logits)
    assert np.isnan(np.asarray(best)).tolist() == [False, False, True] + [False] * 5
    assert ((np.asarray(ids) >= 0) & (np.asarray(ids) < 300)).all()
