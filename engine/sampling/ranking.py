"""The best ids of a row, best first, of equal logits the lowest id first.

The best A ids lie in the A neighbourhoods of ids whose own best are the best: an id elsewhere has
A ids before it. So one pass finds the best of each neighbourhood, and only A of them are sorted.

Logits are `clean` ones: a sort would put -0.0 behind 0.0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

GROUP_SIZE = 128


def best_id(logits_RV: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lowest id of the largest logit, int32 [R], and that logit, float32 [R].

    The logit is NaN when any is NaN; the id is in [0, V) all the same.
    """
    grouped = _grouped(logits_RV)
    group_best = jnp.max(grouped, axis=2)
    # The first of equal groups, and of equal ids in it: the lowest id, without a sort.
    group_R = lax.argmax(group_best, 1, jnp.int32)
    chosen_RG = jnp.take_along_axis(grouped, group_R[:, None, None], axis=1)[:, 0]
    id_R = group_R * GROUP_SIZE + lax.argmax(chosen_RG, 1, jnp.int32)
    last_id = jnp.int32(logits_RV.shape[1] - 1)
    return jnp.minimum(id_R, last_id), jnp.max(group_best, axis=1)


def top_ids(logits_RV: jax.Array, num_ids: int) -> tuple[jax.Array, jax.Array]:
    """The best `num_ids` (static, at most V) ids, int32 [R, A], and their logits, float32."""
    if num_ids == 0:
        shape = (logits_RV.shape[0], 0)
        return jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.float32)
    grouped = _grouped(logits_RV)
    return _top_of_groups(grouped, jnp.max(grouped, axis=2), num_ids)


def _grouped(logits_RV: jax.Array) -> jax.Array:
    """[R, groups, GROUP_SIZE]; what pads the last group comes after every id."""
    num_rows, vocab_size = logits_RV.shape
    padding = ((0, 0), (0, -vocab_size % GROUP_SIZE))
    padded = jnp.pad(logits_RV, padding, constant_values=-jnp.inf)
    return padded.reshape(num_rows, -1, GROUP_SIZE)


def _top_of_groups(
    grouped: jax.Array, group_best: jax.Array, num_ids: int
) -> tuple[jax.Array, jax.Array]:
    _, groups = lax.top_k(group_best, min(num_ids, group_best.shape[1]))
    groups = jnp.sort(groups, axis=1)  # so that equal logits stay in the order of their ids
    chosen = jnp.take_along_axis(grouped, groups[:, :, None], axis=1)
    logits_RA, places_RA = lax.top_k(chosen.reshape(chosen.shape[0], -1), num_ids)
    group_RA = jnp.take_along_axis(groups, places_RA // GROUP_SIZE, axis=1)
    return group_RA * GROUP_SIZE + places_RA % GROUP_SIZE, logits_RA
