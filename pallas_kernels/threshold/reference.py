"""The specification: the value at which a row is cut, found without sorting it, in plain jnp.

The cut is built digit by digit from the top: one pass over the row weighs the keys above each
value of the digit at once. The number of passes is fixed, and the answer is exact. This is also
what serves every device but Hopper GPUs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

DIGIT_BITS = 2
"""Measured on CPU: 1 reads too often, 3 and 4 compare too much."""
_SIGN = 1 << 31


def largest_cut(
    key_RV: jax.Array, target_R: jax.Array, scale_R: jax.Array | None = None
) -> jax.Array:
    """The largest key c of each row such that keys >= c together weigh at least `target_R`.

    Equal keys stand or fall together: all ties with the last one needed are inside. A row that
    asks for nothing (target 0) or for more than there is gets the lowest cut, which keeps it whole.

    Args:
        key_RV: int32; with `scale_R` the bits of float32 in [0, 1].
        target_R: int32 >= 0.
        scale_R: float32; None counts keys, else they weigh what `weigh` says, with row sums below
            2**31.

    Returns:
        int32 [R]; the lowest cut is -2**31, or 0 with `scale_R`.
    """
    num_digits = (32 if scale_R is None else 30) // DIGIT_BITS
    lowest = 0 if scale_R is None else _SIGN
    digit_D = jnp.arange(1, 1 << DIGIT_BITS, dtype=jnp.uint32)

    def next_digit(index: jax.Array, cut_R: jax.Array) -> jax.Array:
        shift = jnp.uint32(DIGIT_BITS) * (jnp.uint32(num_digits - 1) - index.astype(jnp.uint32))
        candidate_RD = cut_R[:, None] + (digit_D << shift)[None, :]
        # Weighing again in each pass is cheaper than reading a second array.
        masses_R = _weigh_above(key_RV, weigh(key_RV, scale_R), _signed(candidate_RD))
        # Larger candidates weigh less, so the fitting ones are the first ones.
        num_fitting_R = jnp.zeros(target_R.shape, jnp.uint32)
        for mass_R in masses_R:
            num_fitting_R += (mass_R >= target_R).astype(jnp.uint32)
        return cut_R + (num_fitting_R << shift)

    start_R = jnp.full(target_R.shape, lowest, jnp.uint32)
    cut_R = lax.fori_loop(0, num_digits, next_digit, start_R)
    return _signed(jnp.where(target_R > 0, cut_R, start_R))


def weigh(key_RV: jax.Array, scale_R: jax.Array | None) -> jax.Array:
    """int32 weight of each key: 1, or the integer part of its float times `scale_R`."""
    if scale_R is None:
        return jnp.ones_like(key_RV)
    fraction_RV = lax.bitcast_convert_type(key_RV, jnp.float32)
    return (fraction_RV * scale_R[:, None]).astype(jnp.int32)


def _weigh_above(
    key_RV: jax.Array, weight_RV: jax.Array, cut_RD: jax.Array
) -> tuple[jax.Array, ...]:
    """Weight of the keys >= each of D cuts, D arrays of int32 [R]."""
    above_RV = tuple(
        jnp.where(key_RV >= cut_RD[:, index : index + 1], weight_RV, jnp.int32(0))
        for index in range(cut_RD.shape[1])
    )
    zeros = tuple(jnp.int32(0) for _ in above_RV)
    return tuple(lax.reduce(above_RV, zeros, _add_each, (1,)))


def _add_each(left: tuple[jax.Array, ...], right: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _signed(cut: jax.Array) -> jax.Array:
    """From offset binary, in which digits are built, to int32 keys."""
    return lax.bitcast_convert_type(cut ^ jnp.uint32(_SIGN), jnp.int32)
