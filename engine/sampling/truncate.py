"""Temperature, min_p, top_k and top_p: adjusted logits become integer weights to draw from.

Ties: top_k keeps every id whose logit equals the k-th largest. top_p keeps the smallest set of
likeliest ids that holds p of what min_p and top_k left, with every id as likely as its least.

Each search is a dozen passes over the row. Where no row of the step asks for it, it would change
nothing, and a CPU skips it; XLA on a GPU does not, because the host would have to wait for the
answer. The GPU's own kernel skips single rows.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from engine.sampling.knobs import Knobs
from engine.sampling.logits import sortable
from engine.sampling.mass import UNIT, sum_fractions
from engine.sampling.randomness import multiply_high
from pallas_kernels.threshold import Threshold, weigh

PLAIN = Threshold()


def truncated_weights(
    logits_RV: jax.Array, best_logit_R: jax.Array, knobs: Knobs, threshold: Threshold = PLAIN
) -> jax.Array:
    """Weights proportional to the probabilities, int32 [R, V]; 0 is cut off.

    A row's weights are at least 0 and sum to less than 2**31. Before top_p cuts they sum to nearly
    2**31, so that a probability is right to 2**-31.

    Args:
        logits_RV: adjusted logits, float32, -inf where banned.
        best_logit_R: largest of each row.
        threshold: the search to use.
    """
    odds_RV = _odds(logits_RV, best_logit_R, knobs)
    is_kept_RV = _is_in_top_k(logits_RV, knobs.top_k_R, threshold)
    is_kept_RV &= odds_RV >= knobs.min_p_R[:, None]
    odds_RV = lax.optimization_barrier(jnp.where(is_kept_RV, odds_RV, jnp.float32(0)))
    scale_R = jnp.float32(UNIT) / sum_fractions(odds_RV)
    return _in_nucleus(odds_RV, scale_R, knobs.top_p_R, threshold)


def _odds(logits_RV: jax.Array, best_logit_R: jax.Array, knobs: Knobs) -> jax.Array:
    """Probability relative to the best id's, in [0, 1]."""
    temperature_R = jnp.where(knobs.temperature_R > 0, knobs.temperature_R, jnp.float32(1))
    return jnp.exp((logits_RV - best_logit_R[:, None]) / temperature_R[:, None])


def _is_in_top_k(logits_RV: jax.Array, top_k_R: jax.Array, threshold: Threshold) -> jax.Array:
    """bool [R, V]: logit at least the k-th largest; everywhere where top_k is 0."""
    is_asked_for_R = (top_k_R > 0) & (top_k_R <= logits_RV.shape[1])

    def search() -> jax.Array:
        key_RV = lax.optimization_barrier(sortable(logits_RV))
        cut_R = threshold.largest_cut(key_RV, jnp.where(is_asked_for_R, top_k_R, 0))
        return key_RV >= cut_R[:, None]

    if threshold.skips_rows:
        return search()
    return _where_asked_for(is_asked_for_R, search, lambda: jnp.ones(logits_RV.shape, jnp.bool_))


def _in_nucleus(
    odds_RV: jax.Array, scale_R: jax.Array, top_p_R: jax.Array, threshold: Threshold
) -> jax.Array:
    """`truncated_weights` from the odds of the ids left by min_p and top_k (0 elsewhere)."""
    # Bits of floats in [0, 1] are ordered and lie below 2**30.
    key_RV = lax.bitcast_convert_type(odds_RV, jnp.int32)
    total_R = jnp.sum(weigh(key_RV, scale_R), axis=1)
    share_R = _share(total_R, top_p_R)
    is_asked_for_R = share_R < total_R

    def search() -> jax.Array:
        cut_R = threshold.largest_cut(key_RV, jnp.where(is_asked_for_R, share_R, 0), scale_R)
        return jnp.where(key_RV >= cut_R[:, None], weigh(key_RV, scale_R), jnp.int32(0))

    if threshold.skips_rows:
        return search()
    return _where_asked_for(is_asked_for_R, search, lambda: weigh(key_RV, scale_R))


def _where_asked_for(
    is_asked_for_R: jax.Array, search: Callable[[], jax.Array], otherwise: Callable[[], jax.Array]
) -> jax.Array:
    """`search()`, which equals `otherwise()` in every row that does not ask for it."""

    def search_or_not() -> jax.Array:
        return lax.cond(jnp.any(is_asked_for_R), search, otherwise)

    return lax.platform_dependent(cpu=search_or_not, default=search)


def _share(total_R: jax.Array, top_p_R: jax.Array) -> jax.Array:
    """top_p of the total, rounded up, at least 1. int32 [R]."""
    high_R, low_R = multiply_high(top_p_R, total_R.astype(jnp.uint32))
    share_R = high_R + (low_R != jnp.uint32(0)).astype(jnp.uint32)
    return jnp.maximum(share_R.astype(jnp.int32), jnp.int32(1))
