"""Draw one id per row: temperature, min_p, top_k, top_p, then the inverse of the distribution.

Ties: top_k keeps every id whose logit equals the k-th largest; top_p keeps the smallest set of
largest logits that holds p of what min_p and top_k left, with all ids equal to its smallest.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from engine.sampling.knobs import Knobs
from engine.sampling.mass import integer_weights
from engine.sampling.randomness import multiply_high, random_word
from engine.sampling.threshold import largest_cut, sortable

GROUP_SIZE = 256
"""Neighbouring ids whose weights are summed first: finding the group, then the id in it, replaces
a running sum over the whole vocabulary."""


def draw(
    logits_RV: jax.Array, best_logit_R: jax.Array, knobs: Knobs, position_R: jax.Array
) -> jax.Array:
    """An id per row, int32 [R], from the truncated distribution.

    Args:
        logits_RV: adjusted logits, float32.
        best_logit_R: largest of each row.
        position_R: int32, index of the token to be drawn in its sequence.
    """
    weight_RV = _truncated_weights(logits_RV, best_logit_R, knobs)
    word_R = random_word(
        knobs.seed_low_R,
        knobs.seed_high_R,
        knobs.sequence_index_R,
        position_R.astype(jnp.uint32),
    )
    return pick(weight_RV, word_R)


def _truncated_weights(
    logits_RV: jax.Array, best_logit_R: jax.Array, knobs: Knobs
) -> jax.Array:
    """int32 [R, V], proportional to the probability of each id; 0 = cut off."""
    vocab_size = logits_RV.shape[1]
    temperature_R = jnp.where(knobs.temperature_R > 0, knobs.temperature_R, jnp.float32(1))
    odds_RV = jnp.exp((logits_RV - best_logit_R[:, None]) / temperature_R[:, None])
    key_RV = lax.optimization_barrier(sortable(logits_RV))
    most = jnp.int32(vocab_size)
    num_kept_R = jnp.where(knobs.top_k_R > 0, jnp.minimum(knobs.top_k_R, most), most)
    is_kept_RV = (key_RV >= largest_cut(key_RV, None, num_kept_R)[:, None]) & (
        odds_RV >= knobs.min_p_R[:, None]
    )
    weight_RV = integer_weights(jnp.where(is_kept_RV, odds_RV, jnp.float32(0)))
    weight_RV = lax.optimization_barrier(weight_RV)
    cut_R = largest_cut(key_RV, weight_RV, _nucleus(weight_RV, knobs.top_p_R))
    return jnp.where(key_RV >= cut_R[:, None], weight_RV, jnp.int32(0))


def _nucleus(weight_RV: jax.Array, top_p_R: jax.Array) -> jax.Array:
    """Weight the kept ids must reach: top_p of the row's, rounded up, at least 1. int32 [R]."""
    total_R = jnp.sum(weight_RV, axis=1).astype(jnp.uint32)
    high_R, low_R = multiply_high(top_p_R, total_R)
    target_R = high_R + (low_R != jnp.uint32(0)).astype(jnp.uint32)
    return jnp.maximum(target_R.astype(jnp.int32), jnp.int32(1))


def pick(weight_RV: jax.Array, word_R: jax.Array) -> jax.Array:
    """The id at which the running sum of weights passes word / 2**32 of the total. int32 [R].

    An id of weight 0 is never picked, unless the whole row is 0.

    Args:
        weight_RV: int32 >= 0 with row sums below 2**31.
        word_R: uint32, uniform.
    """
    num_rows, vocab_size = weight_RV.shape
    padded_RV = jnp.pad(weight_RV, ((0, 0), (0, -vocab_size % GROUP_SIZE)))
    weight_RGI = padded_RV.reshape(num_rows, -1, GROUP_SIZE)
    upto_RG = jnp.cumsum(jnp.sum(weight_RGI, axis=2), axis=1)
    total_R = upto_RG[:, -1].astype(jnp.uint32)
    point_R = multiply_high(word_R, total_R)[0].astype(jnp.int32)
    group_R, rest_R = _locate(upto_RG, point_R)
    inside_RI = jnp.take_along_axis(weight_RGI, group_R[:, None, None], axis=1)[:, 0]
    offset_R, _ = _locate(jnp.cumsum(inside_RI, axis=1), rest_R)
    return jnp.minimum(group_R * GROUP_SIZE + offset_R, vocab_size - 1)


def _locate(upto_RX: jax.Array, point_R: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First index whose running sum exceeds the point, and how far into it the point lies."""
    is_before_RX = upto_RX <= point_R[:, None]
    index_R = jnp.minimum(jnp.sum(is_before_RX.astype(jnp.int32), axis=1), upto_RX.shape[1] - 1)
    start_R = jnp.max(jnp.where(is_before_RX, upto_RX, jnp.int32(0)), axis=1)
    return index_R, point_R - start_R
