from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from engine.sampling.randomness import multiply_high, random_word, threefry_2x32


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_known_answers_of_random123(key, counter, expected):
    words = threefry_2x32(
        tuple(jnp.uint32(word) for word in key), tuple(jnp.uint32(word) for word in counter)
    )
    assert tuple(int(word) for word in words) == expected


def test_the_product_of_two_words_has_both_halves():
    a, b = np.random.default_rng(0).integers(0, 2**32, (2, 1000), dtype=np.uint64)
    high, low = jax.jit(multiply_high)(a.astype(np.uint32), b.astype(np.uint32))
    np.testing.assert_array_equal(np.asarray(high), (a * b) >> np.uint64(32))
    np.testing.assert_array_equal(np.asarray(low), (a * b) & np.uint64(0xFFFFFFFF))


@pytest.mark.parametrize("changing", range(4))
def test_words_are_uniform_in_every_argument(changing):
    arguments = [np.full(1 << 16, 7, np.uint32) for _ in range(4)]
    arguments[changing] = np.arange(1 << 16, dtype=np.uint32)
    words = np.asarray(random_word(*(jnp.asarray(a) for a in arguments)))
    counts = np.bincount(words >> 24, minlength=256)
    chi_square = ((counts - 256.0) ** 2 / 256.0).sum()
    assert 160 < chi_square < 360  # 255 degrees of freedom
    assert abs(np.corrcoef(words[:-1].astype(float), words[1:])[0, 1]) < 0.02
