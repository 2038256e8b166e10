"""A weight: an `nnx.Param` that knows the logical name of each of its axes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

INIT_STD = 0.02


def random_parameter(
    rngs: nnx.Rngs, shape: tuple[int, ...], dtype: jax.typing.DTypeLike, axes: tuple[str, ...]
) -> nnx.Param[jax.Array]:
    """A normal weight of standard deviation 0.02 with logical axis names (`logical_axes`)."""
    value = jax.random.normal(rngs.params(), shape, jnp.float32) * INIT_STD
    return nnx.Param(value.astype(dtype), logical_axes=axes)


def constant_parameter(
    fill: float, shape: tuple[int, ...], dtype: jax.typing.DTypeLike, axes: tuple[str, ...]
) -> nnx.Param[jax.Array]:
    """A weight filled with one value: norms start at 1, biases at 0."""
    return nnx.Param(jnp.full(shape, fill, dtype), logical_axes=axes)
