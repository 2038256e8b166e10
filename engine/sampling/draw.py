"""Draw one id per row from integer weights with one random word: the inverse of the distribution.

All arithmetic is in integers, so an id of weight w is drawn by exactly its share of the words.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from engine.sampling.randomness import multiply_high

GROUP_SIZE = 256
"""Neighbouring ids whose weights are summed first: finding the group, then the id in it, replaces
a running sum over the whole vocabulary."""


def pick(weight_RV: jax.Array, word_R: jax.Array) -> jax.Array:
    """The id at which the running sum of weights passes word / 2**32 of the total. int32 [R].

    An id of weight 0 is never picked, unless the whole row is 0.

    Args:
        weight_RV: int32 >= 0 with row sums below 2**31.
        word_R: uint32, uniform.
    """
    num_rows, vocab_size = weight_RV.shape
    padded_RV = jnp.pad(weight_RV, ((0, 0), (0, -vocab_size % GROUP_SIZE)))
    grouped = padded_RV.reshape(num_rows, -1, GROUP_SIZE)
    upto_group = jnp.cumsum(jnp.sum(grouped, axis=2), axis=1)
    total_R = upto_group[:, -1].astype(jnp.uint32)
    point_R = multiply_high(word_R, total_R)[0].astype(jnp.int32)
    group_R, rest_R = _locate(upto_group, point_R)
    inside = jnp.take_along_axis(grouped, group_R[:, None, None], axis=1)[:, 0]
    offset_R, _ = _locate(jnp.cumsum(inside, axis=1), rest_R)
    return jnp.minimum(group_R * GROUP_SIZE + offset_R, vocab_size - 1)


def _locate(upto: jax.Array, point_R: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First index whose running sum exceeds the point, and how far into it the point lies."""
    is_before = upto <= point_R[:, None]
    index_R = jnp.minimum(jnp.sum(is_before.astype(jnp.int32), axis=1), upto.shape[1] - 1)
    start_R = jnp.max(jnp.where(is_before, upto, jnp.int32(0)), axis=1)
    return index_R, point_R - start_R
