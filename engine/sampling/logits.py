"""A row of logits made comparable: no infinities above, no NaN unnoticed, floats that sort as ints.

A float's bits, with the lower 31 flipped for negative numbers, order as integers like the floats
themselves.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LARGEST = np.float32(np.finfo(np.float32).max)


def clean(logits_RV: jax.Array) -> jax.Array:
    """+inf becomes the largest float (infinite ids share all probability), -0.0 becomes 0.0 (equal
    floats have equal keys). NaN stays NaN."""
    return jnp.where(logits_RV == 0, jnp.float32(0), jnp.minimum(logits_RV, LARGEST))


def sortable(floats: jax.Array) -> jax.Array:
    """int32 keys that compare like the float32 `floats`. Applied to the bits it undoes itself."""
    bits = lax.bitcast_convert_type(floats, jnp.int32)
    return bits ^ ((bits >> 31) & jnp.int32(0x7FFFFFFF))


def is_unusable(best_logit_R: jax.Array) -> jax.Array:
    """Whether a row's logits hold a NaN, or nothing that may be chosen. bool [R]."""
    return jnp.isnan(best_logit_R) | (best_logit_R == -jnp.inf)
