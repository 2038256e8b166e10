"""Token embeddings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from models.layers.parameter import random_parameter


class Embedding(nnx.Module):
    """One row of `weight [V, D]` per token id, times `scale`."""

    def __init__(
        self,
        vocab_size: int,
        width: int,
        *,
        scale: float = 1.0,
        dtype: jax.typing.DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        self.weight = random_parameter(rngs, (vocab_size, width), dtype, ("vocab", "embed"))
        self.scale = scale

    def __call__(self, token_ids_T: jax.Array) -> jax.Array:
        """Float32 `[T, D]`. Ids must be in `[0, V)`."""
        return rows_of(self.weight[...], token_ids_T).astype(jnp.float32) * self.scale


def rows_of(weight_VD: jax.Array, ids_T: jax.Array) -> jax.Array:
    """Rows of a table that devices may share by rows.

    XLA makes a slice of the lookup of a single row, and for a slice it gathers the whole table on
    every device: a second row keeps it a lookup.
    """
    num_rows = ids_T.shape[0]
    return weight_VD[jnp.pad(ids_T, (0, max(0, 2 - num_rows)))][:num_rows]
