"""A matmul with weights `[out, in]` as Hugging Face stores them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from models.layers.parameter import constant_parameter, random_parameter


def linear(x_TD: jax.Array, weight_OD: jax.Array) -> jax.Array:
    """`x @ weight.T` in the weight's dtype, summed and returned in float32 `[T, O]`."""
    dimensions = (((1,), (1,)), ((), ()))
    x_TD = x_TD.astype(weight_OD.dtype)
    return lax.dot_general(x_TD, weight_OD, dimensions, preferred_element_type=jnp.float32)


class Linear(nnx.Module):
    """`linear` with its weight `[out, in]` and, when asked for, a bias `[out]`."""

    def __init__(
        self,
        num_in: int,
        num_out: int,
        axes: tuple[str, str],
        *,
        use_bias: bool = False,
        dtype: jax.typing.DTypeLike,
        rngs: nnx.Rngs,
    ) -> None:
        self.weight = random_parameter(rngs, (num_out, num_in), dtype, axes)
        self.bias = constant_parameter(0.0, (num_out,), dtype, axes[:1]) if use_bias else None

    def __call__(self, x_TD: jax.Array) -> jax.Array:
        """Float32 `[T, out]`."""
        y_TO = linear(x_TD, self.weight[...])
        if self.bias is None:
            return y_TO
        return y_TO + self.bias[...].astype(jnp.float32)[None, :]
