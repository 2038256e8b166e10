"""How the queries of a few tokens become the M rows of plain matmuls, and are read back.

Every KV head of every row (sequence) is one matmul of a batch: its M rows are the X tokens' heads
of that group, one after another, padded to `MIN_MATMUL_ROWS`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

MIN_MATMUL_ROWS = 8
"""From this many rows on, matmuls are bit-equal per row for any number of rows."""


class QueryLayout:
    """X tokens of each of B rows, `[B, X, Q, H]`, as matmul rows `[B, K, M, H]`."""

    def __init__(self, q_BXQH: jax.Array, num_kv_heads: int) -> None:
        self.num_rows, self.num_tokens, self.num_heads, self.head_dim = q_BXQH.shape
        self.num_kv_heads, self.group = num_kv_heads, self.num_heads // num_kv_heads
        self.missing = max(0, MIN_MATMUL_ROWS - self.num_tokens * self.group)
        q_BXKGH = q_BXQH.reshape(self.num_rows, self.num_tokens, num_kv_heads, self.group, -1)
        q_BKYH = jnp.moveaxis(q_BXKGH, 2, 1).reshape(self.num_rows, num_kv_heads, -1, self.head_dim)
        self.q_BKMH = jnp.pad(q_BKYH, ((0, 0), (0, 0), (0, self.missing), (0, 0)))

    def positions(self, position_BX: jax.Array) -> jax.Array:
        """The position of each matmul row, `[B, 1, M]`: the same for all KV heads."""
        position_BY = jnp.repeat(position_BX, self.group, axis=1)
        return jnp.pad(position_BY, ((0, 0), (0, self.missing)))[:, None, :]

    def per_head(self, numbers_Q: jax.Array) -> jax.Array:
        """A number of each query head for each matmul row, float32 `[B, K, M, 1]`."""
        numbers_KG = numbers_Q.astype(jnp.float32).reshape(self.num_kv_heads, self.group)
        numbers_KY = jnp.tile(numbers_KG, (1, self.num_tokens))
        numbers_KM = jnp.pad(numbers_KY, ((0, 0), (0, self.missing)))
        return jnp.broadcast_to(numbers_KM[None, :, :, None], (*self.q_BKMH.shape[:3], 1))

    def tokens(self, o_BKMH: jax.Array) -> jax.Array:
        """Matmul rows back as `[B, X, Q, H]`."""
        o_BKYH = o_BKMH[:, :, : self.num_tokens * self.group]
        heads = (self.num_kv_heads, self.num_tokens, self.group, self.head_dim)
        o_BXKGH = jnp.moveaxis(o_BKYH.reshape(self.num_rows, *heads), 1, 2)
        return o_BXKGH.reshape(self.num_rows, self.num_tokens, self.num_heads, self.head_dim)


def score(q_BKMH: jax.Array, k_BKCH: jax.Array) -> jax.Array:
    """`q @ k.T` of every head, float32 `[B, K, M, C]`."""
    return _matmul_transposed(q_BKMH, k_BKCH)


def weigh(weights_BKMC: jax.Array, v_BKCH: jax.Array) -> jax.Array:
    """`weights @ v` of every head, float32 `[B, K, M, H]`.

    In float32 XLA multiplies more than 48 rows in another order than fewer, unless the right side
    is transposed in memory; bfloat16 has no such border.
    """
    if v_BKCH.dtype == jnp.float32:
        return _matmul_transposed(weights_BKMC, lax.optimization_barrier(v_BKCH.swapaxes(2, 3)))
    dimensions = (((3,), (2,)), ((0, 1), (0, 1)))
    weights_BKMC = weights_BKMC.astype(v_BKCH.dtype)
    return lax.dot_general(weights_BKMC, v_BKCH, dimensions, preferred_element_type=jnp.float32)


def _matmul_transposed(left_BKMX: jax.Array, right_BKCX: jax.Array) -> jax.Array:
    dimensions = (((3,), (3,)), ((0, 1), (0, 1)))
    return lax.dot_general(left_BKMX, right_BKCX, dimensions, preferred_element_type=jnp.float32)
