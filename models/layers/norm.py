"""Root-mean-square normalisation (arXiv:1910.07467)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from models.layers.parameter import constant_parameter
from pallas_kernels.row_sum import row_sum


class RMSNorm(nnx.Module):
    """`x / rms(x) * (weight + offset)` over the last axis, in float32 whatever the weight's dtype.

    Args:
        offset: 1 for checkpoints that keep `weight - 1`.
    """

    def __init__(
        self,
        width: int,
        eps: float,
        axis: str,
        *,
        offset: float = 0.0,
        dtype: jax.typing.DTypeLike,
    ) -> None:
        self.weight = constant_parameter(1.0 - offset, (width,), dtype, (axis,))
        self.eps, self.offset = eps, offset

    def __call__(self, x: jax.Array) -> jax.Array:
        """Float32 of `x`'s shape."""
        x = x.astype(jnp.float32)
        mean_square = row_sum(x * x) / x.shape[-1]
        weight = self.weight[...].astype(jnp.float32) + self.offset
        return (
            x
            * jax.lax.rsqrt(mean_square + self.eps)
            * jnp.expand_dims(weight, tuple(range(x.ndim - 1)))
        )
