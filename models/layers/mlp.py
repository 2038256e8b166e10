"""The gated feed-forward layer (arXiv:2002.05202)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from models.config import DecoderConfig
from models.layers.linear import Linear

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "silu": jax.nn.silu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
}
"""Activations by their Hugging Face names."""


class GatedMLP(nnx.Module):
    """`down(activation(gate(x)) * up(x))`; gate and up are one weight `[2F, D]`.

    With `num_shards` > 1 the fused weight holds each shard's gate rows, then its up rows.
    """

    def __init__(
        self, config: DecoderConfig, *, dtype: jax.typing.DTypeLike, rngs: nnx.Rngs, num_shards: int
    ) -> None:
        width, bias = config.d_ff, config.mlp_bias
        self.gate_up = Linear(
            config.d_model, 2 * width, ("ff", "embed"), use_bias=bias, dtype=dtype, rngs=rngs
        )
        self.down = Linear(
            width, config.d_model, ("embed", "ff"), use_bias=bias, dtype=dtype, rngs=rngs
        )
        self.activation = config.activation
        self.num_shards = num_shards

    def __call__(self, x_TD: jax.Array) -> jax.Array:
        """Float32 `[T, D]`."""
        num_tokens = x_TD.shape[0]
        gate_up = self.gate_up(x_TD).reshape(num_tokens, self.num_shards, 2, -1)
        gated = ACTIVATIONS[self.activation](gate_up[:, :, 0]) * gate_up[:, :, 1]
        return self.down(jnp.reshape(gated, (num_tokens, -1)))
