"""Sums over the last axis whose bits depend on the row alone, not on how many rows there are.

XLA's CPU backend sums small arrays (under 4096 elements) in another order than larger ones, so
the same row would get other bits in another bucket. A product with a matrix of ones has no such
border from 8 rows on.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

NUM_COLUMNS = 8
"""Equal columns of the product; a matrix-vector product (1 column) would depend on the rows."""


def row_sum(x: jax.Array) -> jax.Array:
    """Sum over the last axis, kept with size 1; float32 in, float32 out.

    All leading axes together must have at least 8 rows for the bits to be stable.
    """
    # By what is compiled for, not by where: compile-only tests must see the card's program.
    return lax.platform_dependent(x, cpu=_product_with_ones, default=_plain_sum)


def _plain_sum(x: jax.Array) -> jax.Array:
    return jnp.sum(x, axis=-1, keepdims=True)


def _product_with_ones(x: jax.Array) -> jax.Array:
    rows = x.reshape(-1, x.shape[-1])
    ones = jnp.ones((NUM_COLUMNS, x.shape[-1]), x.dtype)
    dimensions = (((1,), (1,)), ((), ()))
    sums = lax.dot_general(rows, ones, dimensions, precision="highest")
    return sums[:, :1].reshape(*x.shape[:-1], 1)
