"""One layer: a mixer and a feed-forward layer, each behind a norm and added to the stream."""

from __future__ import annotations

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
    """Pre-norm residual block. The stream `x_TD` is float32."""

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
        self.mixer_norm = RMSNorm(config.d_model, config.norm_eps, "embed", dtype=weight_dtype)
        self.mixer = Attention(
            config,
            window,
            dtype=dtype,
            weight_dtype=weight_dtype,
            rngs=rngs,
            mesh=mesh,
            num_shards=num_shards,
        )
        self.mlp_norm = RMSNorm(config.d_model, config.norm_eps, "embed", dtype=weight_dtype)
        self.mlp = GatedMLP(config, dtype=weight_dtype, rngs=rngs, num_shards=num_shards)

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
        x_TD = x_TD + mixed_TD
        with jax.named_scope("mlp"):
            return x_TD + self.mlp(self.mlp_norm(x_TD)), kv
