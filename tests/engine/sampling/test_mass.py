from __future__ import annotations

import jax
import numpy as np
import pytest

from engine.sampling.mass import sum_fractions


@pytest.mark.parametrize("vocab_size", [1, 7, 1000, 32_000, 128_256, 262_144])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0, 12.0])
def test_sums_are_right_to_the_last_bits(vocab_size, spread):
    logits = np.random.default_rng(1).normal(size=(2, vocab_size)) * spread
    fractions = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float32)
    total = np.asarray(jax.jit(sum_fractions)(fractions))
    np.testing.assert_allclose(total, fractions.astype(np.float64).sum(axis=1), rtol=3e-7)


def test_sums_do_not_depend_on_the_order():
    rng = np.random.default_rng(2)
    fractions = rng.random((1, 50_000), np.float32) ** 9
    shuffled = rng.permutation(fractions, axis=1)
    total = jax.jit(sum_fractions)
    assert np.asarray(total(fractions)).tobytes() == np.asarray(total(shuffled)).tobytes()


def test_a_vocabulary_of_ones_does_not_overflow():
    assert float(sum_fractions(np.ones((1, 300_000), np.float32))[0]) == 300_000
