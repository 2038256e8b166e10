"""The value at which a row is cut, found without sorting it.

The cut is built digit by digit from the top: one pass over the row weighs the keys above each
value of the digit at once. The number of passes is fixed, and the answer is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from engine.sampling.mass import sum_integers

DIGIT_BITS = 2
"""Measured on CPU: 1 reads too often, 3 and 4 compare too much."""
_SIGN = 1 << 31


def largest_cut(
    key_RV: jax.Array,
    weigh: Callable[[jax.Array], jax.Array],
    target_R: jax.Array,
    *,
    num_bits: int = 32,
) -> jax.Array:
    """The largest key c of each row such that keys >= c together weigh at least `target_R`.

    Equal keys stand or fall together: all ties with the last one needed are inside.

    Args:
        key_RV: int32; all in [0, 2**num_bits) when `num_bits` < 32.
        weigh: int32 weights >= 0 from the keys, with row sums below 2**31. It is evaluated in each
            pass, which is cheaper than reading a second array.
        target_R: int32 in [1, weight of the row].
        num_bits: static and even.

    Returns:
        int32 [R].
    """
    num_digits = num_bits // DIGIT_BITS
    digit_D = jnp.arange(1, 1 << DIGIT_BITS, dtype=jnp.uint32)

    def next_digit(index: jax.Array, cut_R: jax.Array) -> jax.Array:
        shift = jnp.uint32(DIGIT_BITS) * (jnp.uint32(num_digits - 1) - index.astype(jnp.uint32))
        candidate_RD = cut_R[:, None] + (digit_D << shift)[None, :]
        masses_R = _weigh_above(key_RV, weigh(key_RV), _signed(candidate_RD))
        # Larger candidates weigh less, so the fitting ones are the first ones.
        num_fitting_R = jnp.zeros(target_R.shape, jnp.uint32)
        for mass_R in masses_R:
            num_fitting_R += (mass_R >= target_R).astype(jnp.uint32)
        return cut_R + (num_fitting_R << shift)

    lowest = 0 if num_bits == 32 else _SIGN
    start_R = jnp.full(target_R.shape, lowest, jnp.uint32)
    return _signed(lax.fori_loop(0, num_digits, next_digit, start_R))


def _weigh_above(
    key_RV: jax.Array, weight_RV: jax.Array, cut_RD: jax.Array
) -> tuple[jax.Array, ...]:
    """Weight of the keys >= each of D cuts, D arrays of int32 [R]."""
    return sum_integers(
        tuple(
            jnp.where(key_RV >= cut_RD[:, index : index + 1], weight_RV, jnp.int32(0))
            for index in range(cut_RD.shape[1])
        )
    )


def _signed(cut: jax.Array) -> jax.Array:
    """From offset binary, in which digits are built, to int32 keys."""
    return lax.bitcast_convert_type(cut ^ jnp.uint32(_SIGN), jnp.int32)
