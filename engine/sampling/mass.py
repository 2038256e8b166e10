"""Sums over the vocabulary that do not depend on their order.

Floating-point sums change with the order of additions, which XLA picks by shape and backend.
Here floats in [0, 1] are cut into fixed-point limbs whose integer sums cannot overflow: the result
is the same for any batch, any fusion, any device and any sharding of the vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

NUM_LIMBS = 3
UNIT = 2.0**31 * (1.0 - 2.0**-16)
"""Integer weights of one row sum to at most about this, safely below 2**31."""


def sum_integers(operands_RV: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Sums over V of int32 arrays, in one pass over them (one variadic reduction)."""
    zeros = tuple(jnp.int32(0) for _ in operands_RV)
    return tuple(lax.reduce(operands_RV, zeros, _add_each, (1,)))


def _add_each(left: tuple[jax.Array, ...], right: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def limbs(fraction_RV: jax.Array) -> tuple[jax.Array, ...]:
    """float32 in [0, 1] as `NUM_LIMBS` int32 arrays, high to low, whose sums over V fit."""
    step = _step(fraction_RV.shape[1])
    limbs_RV: list[jax.Array] = []
    rest_RV = fraction_RV
    for _ in range(NUM_LIMBS):
        # Scaling by a power of two and taking off the integer part are exact.
        scaled_RV = rest_RV * step
        limb_RV = scaled_RV.astype(jnp.int32)
        rest_RV = scaled_RV - limb_RV.astype(jnp.float32)
        limbs_RV.append(limb_RV)
    return tuple(limbs_RV)


def join(sums_R: tuple[jax.Array, ...], vocab_size: int) -> jax.Array:
    """The float32 sum whose limbs, summed over the vocabulary, are `sums_R`."""
    step = _step(vocab_size)
    total_R = jnp.zeros(sums_R[0].shape, jnp.float32)
    for sum_R in reversed(sums_R):
        total_R = (total_R + sum_R.astype(jnp.float32)) / step
    return total_R


def _step(vocab_size: int) -> jax.Array:
    return jnp.float32(2.0 ** min(14, 31 - vocab_size.bit_length()))


def sum_fractions(fraction_RV: jax.Array) -> jax.Array:
    """Sum over V of float32 in [0, 1], right to the last bits of a float32. float32 [R]."""
    return join(sum_integers(limbs(fraction_RV)), fraction_RV.shape[1])
