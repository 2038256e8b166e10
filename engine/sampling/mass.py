"""Sums over the vocabulary that do not depend on their order.

Floating-point sums change with the order of additions, which XLA picks by shape and backend.
Here floats in [0, 1] are cut into fixed-point limbs whose integer sums cannot overflow: the result
is the same for any batch, any fusion, any device and any sharding of the vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

UNIT = 2.0**31 * (1.0 - 2.0**-16)
"""Integer weights of one row sum to at most about this, safely below 2**31."""


def sum_integers(operands_RV: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Sums over V of int32 arrays, in one pass over them (one variadic reduction)."""
    zeros = tuple(jnp.int32(0) for _ in operands_RV)
    return tuple(lax.reduce(operands_RV, zeros, _add_each, (1,)))


def _add_each(
    left: tuple[jax.Array, ...], right: tuple[jax.Array, ...]
) -> tuple[jax.Array, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def sum_fractions(fraction_RV: jax.Array) -> jax.Array:
    """Sum over V of float32 in [0, 1], exact to the last bits of a float32. float32 [R]."""
    num_bits = min(14, 31 - fraction_RV.shape[1].bit_length())
    step = jnp.float32(2.0**num_bits)
    limbs_RV: list[jax.Array] = []
    rest_RV = fraction_RV
    for _ in range(3):
        # Scaling by a power of two and taking off the integer part are exact.
        scaled_RV = rest_RV * step
        limb_RV = scaled_RV.astype(jnp.int32)
        rest_RV = scaled_RV - limb_RV.astype(jnp.float32)
        limbs_RV.append(limb_RV)
    high_R, middle_R, low_R = (x.astype(jnp.float32) for x in sum_integers(tuple(limbs_RV)))
    return (high_R + (middle_R + low_R / step) / step) / step


def integer_weights(fraction_RV: jax.Array) -> jax.Array:
    """Fractions in [0, 1] scaled to integers that sum to nearly `UNIT`. int32 [R, V].

    The probabilities drawn from are multiples of about 2**-31 of the row's sum.
    """
    scale_R = jnp.float32(UNIT) / sum_fractions(fraction_RV)
    return (fraction_RV * scale_R[:, None]).astype(jnp.int32)
