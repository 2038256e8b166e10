"""Grouped-query attention over paged keys and values."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from models.config import DecoderConfig
from models.layers.linear import Linear
from models.layers.norm import RMSNorm
from models.layers.parameter import constant_parameter
from models.layers.rope import Rotation, rotate
from models.logical_axes import batch_spec, heads_spec, kv_scales_spec, kv_spec
from pallas_kernels.paged_attention import KVPages, KVScales, RaggedBatch, attend, write_kv


class Attention(nnx.Module):
    """Fused qkv, rotation, paged attention, output projection.

    The fused weight is `[(Q + 2K) * H, D]`: all of q, then k, then v. With `num_shards` > 1 it
    holds one such stack per shard, so that each device of the "model" axis finds its own heads.
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
        width = config.num_heads * config.head_dim
        fused = (config.num_heads + 2 * config.num_kv_heads) * config.head_dim
        linear = partial(Linear, dtype=weight_dtype, rngs=rngs)
        self.qkv = linear(config.d_model, fused, ("heads", "embed"), use_bias=config.qkv_bias)
        self.output = linear(width, config.d_model, ("embed", "heads"), use_bias=config.output_bias)
        norm = partial(
            RMSNorm,
            config.head_dim,
            config.norm_eps,
            "head_dim",
            offset=config.norm_weight_offset,
            dtype=weight_dtype,
        )
        self.q_norm = norm() if config.qk_norm else None
        self.k_norm = norm() if config.qk_norm else None
        scales = constant_parameter(1.0, (2 * config.num_kv_heads,), jnp.float32, ("kv_heads",))
        self.kv_scales = scales if config.has_kv_scales else None
        self.num_heads, self.num_kv_heads = config.num_heads, config.num_kv_heads
        self.head_dim, self.window = config.head_dim, window
        self.scale, self.softcap = config.score_scale, config.attention_softcap
        self.dtype, self.mesh, self.num_shards = jnp.dtype(dtype), mesh, num_shards

    def __call__(
        self,
        x_TD: jax.Array,
        angles: Rotation,
        batch: RaggedBatch,
        kv: KVPages,
        *,
        is_decode: bool,
    ) -> tuple[jax.Array, KVPages]:
        """Float32 `[T, D]` and the pages with this step's keys and values in them."""
        q_TQH, k_TKH, v_TKH = self._split(self.qkv(x_TD))
        if self.q_norm is not None and self.k_norm is not None:
            q_TQH, k_TKH = self.q_norm(q_TQH), self.k_norm(k_TKH)
        q_TQH, k_TKH = rotate(q_TQH, angles), rotate(k_TKH, angles)
        q_TQH, k_TKH, v_TKH = (x.astype(self.dtype) for x in (q_TQH, k_TKH, v_TKH))
        o_TQH, kv = self._attend(q_TQH, k_TKH, v_TKH, kv, batch, is_decode=is_decode)
        return self.output(o_TQH.reshape(o_TQH.shape[0], -1)), kv

    def _split(self, qkv_TX: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The fused projection as q, k and v, heads of all shards in order."""
        num_tokens = qkv_TX.shape[0]
        qkv_TSNH = qkv_TX.reshape(num_tokens, self.num_shards, -1, self.head_dim)
        q_heads, kv_heads = (num // self.num_shards for num in (self.num_heads, self.num_kv_heads))
        parts = jnp.split(qkv_TSNH, (q_heads, q_heads + kv_heads), axis=2)
        q_TQH, k_TKH, v_TKH = (part.reshape(num_tokens, -1, self.head_dim) for part in parts)
        return q_TQH, k_TKH, v_TKH

    def _scales(self) -> KVScales | None:
        """Those of 8-bit pages; the parameter is fused like qkv: k then v of each shard."""
        if self.kv_scales is None:
            return None
        scales_S2K = self.kv_scales[...].reshape(self.num_shards, 2, -1)
        return KVScales(scales_S2K[:, 0].reshape(-1), scales_S2K[:, 1].reshape(-1))

    def _attend(
        self,
        q_TQH: jax.Array,
        k_TKH: jax.Array,
        v_TKH: jax.Array,
        kv: KVPages,
        batch: RaggedBatch,
        *,
        is_decode: bool,
    ) -> tuple[jax.Array, KVPages]:
        """Write, then attend: on each device for its own rows and heads."""
        attend_local = partial(
            _write_and_attend,
            scale=self.scale,
            window=self.window,
            softcap=self.softcap,
            is_decode=is_decode,
        )
        if self.mesh is None:
            return attend_local(q_TQH, k_TKH, v_TKH, kv, batch, self._scales())
        sharded = jax.shard_map(
            attend_local,
            mesh=self.mesh,
            in_specs=(*(heads_spec(),) * 3, kv_spec(kv), batch_spec(), kv_scales_spec()),
            out_specs=(heads_spec(), kv_spec(kv)),
            check_vma=False,
        )
        return sharded(q_TQH, k_TKH, v_TKH, kv, batch, self._scales())


def _write_and_attend(  # noqa: PLR0917
    q_TQH: jax.Array,
    k_TKH: jax.Array,
    v_TKH: jax.Array,
    kv: KVPages,
    batch: RaggedBatch,
    scales: KVScales | None,
    *,
    scale: float,
    window: int,
    softcap: float | None,
    is_decode: bool,
) -> tuple[jax.Array, KVPages]:
    kv = write_kv(kv, k_TKH, v_TKH, batch, scales)
    o_TQH = attend(
        q_TQH,
        kv,
        batch,
        scale=scale,
        window=window,
        softcap=softcap,
        scales=scales,
        is_decode=is_decode,
    )
    return o_TQH, kv
