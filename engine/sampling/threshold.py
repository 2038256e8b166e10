"""The value at which a row is cut, found without sorting it.

A float's bits, with the lower 31 flipped for negative numbers, order as integers like the floats
themselves. The cut is built digit by digit from the top: one pass over the row weighs all values
of a digit at once. The number of passes is fixed, and the answer is exact.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from engine.sampling.mass import sum_integers

DIGIT_BITS = 2
_SIGN = 1 << 31


def sortable(logits_RV: jax.Array) -> jax.Array:
    """int32 keys in the order of the float32 `logits_RV` (which hold no -0.0)."""
    bits_RV = lax.bitcast_convert_type(logits_RV, jnp.int32)
    return bits_RV ^ ((bits_RV >> 31) & jnp.int32(0x7FFFFFFF))


def largest_cut(key_RV: jax.Array, weight_RV: jax.Array | None, target_R: jax.Array) -> jax.Array:
    """The largest key c of each row such that keys >= c together weigh at least `target_R`.

    Equal keys stand or fall together: all ties with the last one needed are inside.

    Args:
        key_RV: int32.
        weight_RV: int32 >= 0 with row sums below 2**31; None weighs every key 1.
        target_R: int32 in [1, weight of the row].

    Returns:
        int32 [R].
    """
    num_digits = 32 // DIGIT_BITS
    digit_D = jnp.arange(1, 1 << DIGIT_BITS, dtype=jnp.uint32)

    def next_digit(index: jax.Array, cut_R: jax.Array) -> jax.Array:
        shift = jnp.uint32(DIGIT_BITS) * (jnp.uint32(num_digits - 1) - index.astype(jnp.uint32))
        candidate_RD = cut_R[:, None] | (digit_D << shift)[None, :]
        mass_D = _weigh(key_RV, weight_RV, _signed(candidate_RD))
        # Larger candidates weigh less, so the fitting ones are the first ones.
        digit_R = sum((mass_R >= target_R).astype(jnp.uint32) for mass_R in mass_D)
        return cut_R | (jnp.asarray(digit_R) << shift)

    start_R = jnp.zeros(target_R.shape, jnp.uint32)
    return _signed(lax.fori_loop(0, num_digits, next_digit, start_R))


def _weigh(
    key_RV: jax.Array, weight_RV: jax.Array | None, cut_RD: jax.Array
) -> tuple[jax.Array, ...]:
    """Weight of the keys >= each of D cuts, int32 [R] each."""
    masks = [key_RV >= cut_RD[:, index : index + 1] for index in range(cut_RD.shape[1])]
    if weight_RV is None:
        return sum_integers(tuple(mask.astype(jnp.int32) for mask in masks))
    return sum_integers(tuple(jnp.where(mask, weight_RV, jnp.int32(0)) for mask in masks))


def _signed(cut: jax.Array) -> jax.Array:
    """From offset binary, in which digits are built, to int32 keys."""
    return lax.bitcast_convert_type(cut ^ jnp.uint32(_SIGN), jnp.int32)
