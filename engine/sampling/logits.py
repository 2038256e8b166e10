"""What every path does with a row of logits: make it comparable, find its best id."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

LARGEST = np.float32(np.finfo(np.float32).max)


def clean(logits_RV: jax.Array) -> jax.Array:
    """+inf becomes the largest float (infinite ids share all probability), -0.0 becomes 0.0 (equal
    floats have equal bits). NaN stays NaN."""
    return jnp.where(logits_RV == 0, jnp.float32(0), jnp.minimum(logits_RV, LARGEST))


def best_id(logits_RV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lowest id of the largest logit, int32 [R], and that logit, float32 [R].

    The logit is NaN when any is NaN and -inf when all are; the id is then in range all the same.
    """
    vocab_size = logits_RV.shape[1]
    best_logit_R = jnp.max(logits_RV, axis=1)
    id_RV = lax.broadcasted_iota(jnp.int32, logits_RV.shape, 1)
    is_best_RV = logits_RV == best_logit_R[:, None]
    best_id_R = jnp.min(jnp.where(is_best_RV, id_RV, jnp.int32(vocab_size - 1)), axis=1)
    return best_id_R, best_logit_R


def is_unusable(best_logit_R: jax.Array) -> jax.Array:
    """Whether a row's logits hold a NaN, or nothing that may be chosen. bool [R]."""
    return jnp.isnan(best_logit_R) | (best_logit_R == -jnp.inf)
