"""What every path does with a row of logits: make it comparable, find its best id.

A float's bits, with the lower 31 flipped for negative numbers, order as integers like the floats
themselves. Integer comparisons and reductions vectorise where NaN-aware ones of floats do not, and
NaNs show as keys beyond those of the infinities.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LARGEST = np.float32(np.finfo(np.float32).max)
_LOWER_BITS = 0x7FFFFFFF
_INFINITY_BITS = 0x7F800000


def clean(logits_RV: jax.Array) -> jax.Array:
    """+inf becomes the largest float (infinite ids share all probability), -0.0 becomes 0.0 (equal
    floats have equal keys). NaN stays NaN."""
    return jnp.where(logits_RV == 0, jnp.float32(0), jnp.minimum(logits_RV, LARGEST))


def sortable(floats: jax.Array) -> jax.Array:
    """int32 keys that compare like the float32 `floats`."""
    bits = lax.bitcast_convert_type(floats, jnp.int32)
    return bits ^ ((bits >> 31) & jnp.int32(_LOWER_BITS))


def from_sortable(keys: jax.Array) -> jax.Array:
    """The floats of `sortable` keys: flipping twice changes nothing."""
    bits = keys ^ ((keys >> 31) & jnp.int32(_LOWER_BITS))
    return lax.bitcast_convert_type(bits, jnp.float32)


def best_logit(logits_RV: jax.Array) -> jax.Array:
    """The largest logit, float32 [R]; NaN when any is NaN."""
    key_RV = sortable(logits_RV)
    ends = (jnp.int32(-(2**31)), jnp.int32(2**31 - 1))
    largest_R, smallest_R = lax.reduce((key_RV, key_RV), ends, _widen, (1,))
    is_nan_R = (largest_R > _INFINITY_BITS) | (smallest_R < ~_INFINITY_BITS)
    return jnp.where(is_nan_R, jnp.float32(jnp.nan), from_sortable(largest_R))


def _widen(
    left: tuple[jax.Array, jax.Array], right: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    return jnp.maximum(left[0], right[0]), jnp.minimum(left[1], right[1])


def first_id(logits_RV: jax.Array, logit_R: jax.Array) -> jax.Array:
    """Lowest id that has the logit `logit_R`, int32 [R]; V - 1 when none has."""
    last_id = jnp.int32(logits_RV.shape[1] - 1)
    id_RV = lax.broadcasted_iota(jnp.int32, logits_RV.shape, 1)
    return jnp.min(jnp.where(logits_RV == logit_R[:, None], id_RV, last_id), axis=1)


def is_unusable(best_logit_R: jax.Array) -> jax.Array:
    """Whether a row's logits hold a NaN, or nothing that may be chosen. bool [R]."""
    return jnp.isnan(best_logit_R) | (best_logit_R == -jnp.inf)
