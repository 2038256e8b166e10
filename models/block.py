"""One layer: a mixer and a feed-forward layer, each behind a norm and added to the stream.

In some families what is added goes through a norm of its own first.
"""

from __future__ import annotations

from functools import partial

import jax
from flax import nnx
from jax.sharding import Mesh

from models.config import DecoderConfig
from models.layers.mlp import GatedMLP
from models.layers.norm import RMSNorm
from models.layers.rope import Rotation
from models.mixers.attention import Attention
from pallas_kernels.paged_attention import KVPages, RaggedBatch


class Block(nnx.Module):
    """Residual block with norms before, and after where the family has them.

    The stream `x_TD` is float32.
    """

    def __init__(
        self,
        config: DecoderConfig,
        window: int,
        *,
        dtype: jax.typing.DTypeLike,
        weight_dtype: jax.typing.DTypeLike,
        rngs: nnx.Rngs,
        mesh: Mesh | None,
        num_shards: int,
    ) -> None:
        norm = partial(model_norm, config, dtype=weight_dtype)
        self.mixer_norm = norm()
        self.mixer = Attention(
            config,
            window,
            dtype=dtype,
            weight_dtype=weight_dtype,
            rngs=rngs,
            mesh=mesh,
            num_shards=num_shards,
        )
        self.post_mixer_norm = norm() if config.has_post_norms else None
        self.mlp_norm = norm()
        self.mlp = GatedMLP(config, dtype=weight_dtype, rngs=rngs, num_shards=num_shards)
        self.post_mlp_norm = norm() if config.has_post_norms else None

    def __call__(
        self,
        x_TD: jax.Array,
        angles: Rotation,
        batch: RaggedBatch,
        kv: KVPages,
        *,
        is_decode: bool,
    ) -> tuple[jax.Array, KVPages]:
        """The stream after this layer, and its pages."""
        with jax.named_scope("mixer"):
            mixed_TD, kv = self.mixer(self.mixer_norm(x_TD), angles, batch, kv, is_decode=is_decode)
            x_TD = x_TD + _normed(self.post_mixer_norm, mixed_TD)
        with jax.named_scope("mlp"):
            return x_TD + _normed(self.post_mlp_norm, self.mlp(self.mlp_norm(x_TD))), kv


def model_norm(config: DecoderConfig, *, dtype: jax.typing.DTypeLike) -> RMSNorm:
    """A norm of the residual stream."""
    return RMSNorm(
        config.d_model, config.norm_eps, "embed", offset=config.norm_weight_offset, dtype=dtype
    )


def _normed(norm: RMSNorm | None, x_TD: jax.Array) -> jax.Array:
    return x_TD if norm is None else norm(x_TD)
