"""One random word per row: Threefry-2x32 with 20 rounds of (seed; sequence index, position).

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A pure function of the
request, so a sequence draws the same numbers alone, in a batch, or computed again.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry_2x32(
    key: tuple[jax.Array, jax.Array], counter: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Two uint32 arrays from two key words and two counter words of one shape, all uint32."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x = x + y
            y = _rotate_left(y, distance) ^ x
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x, y


def random_word(
    seed_low_R: jax.Array, seed_high_R: jax.Array, index_R: jax.Array, position_R: jax.Array
) -> jax.Array:
    """A uniform uint32 per row; all arguments uint32 [R]."""
    return threefry_2x32((seed_low_R, seed_high_R), (index_R, position_R))[0]


def multiply_high(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """High and low words of the 64-bit product of uint32 arrays.

    With `a` uniform, the high word is uniform in [0, b) to within 2**-32.
    """
    half = jnp.uint32(0xFFFF)
    sixteen = jnp.uint32(16)
    a_low, a_high, b_low, b_high = a & half, a >> sixteen, b & half, b >> sixteen
    low_low, low_high, high_low = a_low * b_low, a_low * b_high, a_high * b_low
    # Three 16-bit terms: no overflow.
    middle = (low_low >> sixteen) + (low_high & half) + (high_low & half)
    high = a_high * b_high + (low_high >> sixteen) + (high_low >> sixteen) + (middle >> sixteen)
    return high, a * b


def _rotate_left(x: jax.Array, distance: int) -> jax.Array:
    return (x << jnp.uint32(distance)) | (x >> jnp.uint32(32 - distance))
