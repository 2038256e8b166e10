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
        return self.weight[...][token_ids_T].astype(jnp.float32) * self.scale
