"""Softmax that has not seen all its scores yet: the float32 state of one block of queries."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.paged_attention.tpu.layout import LANES
from pallas_kernels.paged_attention.tpu.refs import Ref
from pallas_kernels.paged_attention.tpu.settings import Settings

HIDDEN = -3e38
"""Score of what must not be seen. Far below `LOWEST`, so that its weight is exactly 0."""
LOWEST = -1e30
"""Running maximum before anything was seen."""


class RunningSoftmax:
    """Online softmax of one block: running maximum, sum of weights, weighted values."""

    def __init__(self, max_ref: Ref, sum_ref: Ref, o_ref: Ref) -> None:
        self.max_ref, self.sum_ref, self.o_ref = max_ref, sum_ref, o_ref

    def begin(self, sinks_ref: Ref | None, settings: Settings) -> None:
        """Nothing seen yet, or, with sinks, one weight of `exp(sink - sink)` and no value."""
        self.o_ref[...] = jnp.zeros_like(self.o_ref)
        if sinks_ref is None:
            self.max_ref[...] = jnp.full_like(self.max_ref, LOWEST)
            self.sum_ref[...] = jnp.zeros_like(self.sum_ref)
            return
        query = _query_of_row(self.max_ref.shape[1:], settings)
        for head in range(self.max_ref.shape[0]):
            highest = jnp.full(query.shape, LOWEST, jnp.float32)
            for index in range(settings.group):
                sink = sinks_ref[head * settings.group + index]
                highest = jnp.where(query == index, sink, highest)
            self.max_ref[head] = highest
            self.sum_ref[head] = (query < settings.group).astype(jnp.float32)

    def add(self, head: int, rows: Any, scores_MC: jax.Array, v_CH: jax.Array) -> None:
        """Take a chunk's scores and values into account."""
        old_max = self.max_ref[head, rows, :][:, :1]
        new_max = jnp.maximum(old_max, jnp.max(scores_MC, axis=1, keepdims=True))
        weights_MC = jnp.exp(scores_MC - new_max)
        rescale = jnp.exp(old_max - new_max)
        old_sum = self.sum_ref[head, rows, :][:, :1]
        new_sum = old_sum * rescale + jnp.sum(weights_MC, axis=1, keepdims=True)
        seen = matmul(weights_MC.astype(v_CH.dtype), v_CH, contract=0)
        self.o_ref[head, rows, :] = self.o_ref[head, rows, :] * rescale + seen
        self.max_ref[head, rows, :] = jnp.broadcast_to(new_max, (new_max.shape[0], LANES))
        self.sum_ref[head, rows, :] = jnp.broadcast_to(new_sum, (new_sum.shape[0], LANES))

    def result(self, head: int) -> jax.Array:
        """`[M, wide dim]`; zeros for queries that saw nothing."""
        total = self.sum_ref[head][:, :1]
        return self.o_ref[head] / jnp.where(total > 0.0, total, 1.0)


def _query_of_row(shape: tuple[int, ...], settings: Settings) -> jax.Array:
    """Which query of its group each of a block's M rows is, int32 `shape` (M, lanes).

    A decode block holds the padded group of one row after the other; a tile holds all its tokens'
    first queries, then all their second ones.
    """
    row = lax.broadcasted_iota(jnp.int32, shape, 0)
    if settings.is_decode:
        return row & (settings.padded_group - 1)
    return row >> (settings.tile.bit_length() - 1)


def matmul(left: jax.Array, right: jax.Array, *, contract: int) -> jax.Array:
    """Sum over the left's last and the right's axis `contract`, in float32."""
    precision = "highest" if left.dtype == jnp.float32 else None
    return lax.dot_general(
        left,
        right,
        (((1,), (contract,)), ((), ())),
        precision=precision,
        preferred_element_type=jnp.float32,
    )
