"""From the engine's arrays to the kernel's blocks and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.tpu import tuning
from pallas_kernels.paged_attention.tpu.kernel import Settings, attend_blocks
from pallas_kernels.paged_attention.tpu.layout import Layout
from pallas_kernels.paged_attention.tpu.ranges import plan_decode, plan_tiles
from pallas_kernels.paged_attention.tpu.write import write_words

MIN_DECODE_GROUP = 8
"""Rows of a float32 tile: the queries of one decode row start at a multiple of it."""


def write_kv(
    kv: jax.Array,
    k_TKH: jax.Array,
    v_TKH: jax.Array,
    batch: RaggedBatch,
    *,
    kv_dtype: str | None = None,
    k_scale_K: jax.Array | None = None,
    v_scale_K: jax.Array | None = None,
    interpret: Any = False,
) -> jax.Array:
    """Pages with this step's keys and values in their places; padding is not written.

    Args:
        kv: pages of one layer from `make_kv_pages`; donate them, the result aliases them.
        k_TKH: keys after rotation.
        v_TKH: values.
        batch: where each token goes.
        kv_dtype: dtype the pages were made for; None for that of `k_TKH`.
        k_scale_K: float32, what is stored is `k / k_scale` (8-bit pages); None for 1.
        v_scale_K: the same of values.
        interpret: False for a chip, True or `pltpu.InterpretParams` for an interpreter.
    """
    layout = Layout(k_TKH.shape[1], k_TKH.shape[2], kv_dtype or str(k_TKH.dtype))
    k_TKH, v_TKH = _divided(k_TKH, k_scale_K), _divided(v_TKH, v_scale_K)
    return write_words(kv, layout.pack(k_TKH, v_TKH), batch, interpret)


def attend(
    q_TQH: jax.Array,
    kv: jax.Array,
    batch: RaggedBatch,
    *,
    num_kv_heads: int,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    sinks_Q: jax.Array | None = None,
    is_decode: bool,
    kv_dtype: str | None = None,
    k_scale_K: jax.Array | None = None,
    v_scale_K: jax.Array | None = None,
    interpret: Any = False,
) -> jax.Array:
    """Causal attention of every token over the pages of its row; see `reference.attend`.

    Args:
        q_TQH: queries, bfloat16 or float32.
        kv: pages of one layer with this step's keys and values already written.
        batch: the step's tokens, rows in order, padding last.
        num_kv_heads: K on this device.
        scale: multiplies the scores.
        window: a token at p sees `(p - window, p]`; 0 for `[0, p]`.
        softcap: scores become `softcap * tanh(score / softcap)`.
        sinks_Q: float32, a further logit of each head that has no value.
        is_decode: static promise that T == R and row r owns token r.
        kv_dtype: dtype the pages were made for; None for that of `q_TQH`.
        k_scale_K: float32, keys are what is stored times this; None for 1.
        v_scale_K: the same of values.
        interpret: False for a chip, True or `pltpu.InterpretParams` for an interpreter.

    Returns:
        Float32 `o_TQH`, rounded to the dtype of `q_TQH`; zeros for padding.
    """
    layout = Layout(num_kv_heads, q_TQH.shape[2], kv_dtype or str(q_TQH.dtype))
    group = q_TQH.shape[1] // num_kv_heads
    q_TXGH = layout.widen_queries(_multiplied(q_TQH, k_scale_K, group))
    page_size, pages_per_row = kv.shape[1], batch.page_table_RP.shape[1]
    sizes = tuning.sizes_for(_device_kind(), layout, group, page_size, pages_per_row)

    def settings(tile: int, *, is_decode: bool) -> Settings:
        return Settings(
            layout=layout,
            group=q_TXGH.shape[2],
            padded_group=max(MIN_DECODE_GROUP, 1 << (q_TXGH.shape[2] - 1).bit_length()),
            tile=tile,
            pages_per_chunk=sizes.pages_per_chunk,
            strip_tokens=page_size * (sizes.decode_strip if is_decode else sizes.tile_strip),
            pages_per_row=pages_per_row,
            scale=scale,
            window=window,
            softcap=softcap,
            is_decode=is_decode,
            is_interpreted=bool(interpret),
        )

    sinks = None if sinks_Q is None else _widen_sinks(sinks_Q, layout, q_TXGH.shape[2])
    decode = settings(tuning.rows_per_block(batch.kv_lens_R.shape[0]), is_decode=True)
    if is_decode:
        o_TXGH = _attend_rows(q_TXGH, kv, batch, sinks, decode, interpret=interpret)
    else:
        tiles = settings(sizes.tile, is_decode=False)
        o_TXGH = _attend_mixed(q_TXGH, kv, batch, sinks, (decode, tiles), interpret=interpret)
    o_TQH = layout.narrow_outputs(o_TXGH).astype(jnp.float32)
    o_TQH = _multiplied(o_TQH, v_scale_K, group)
    return jnp.where((batch.positions_T >= 0)[:, None, None], o_TQH, 0.0)


def _attend_mixed(
    q_TXGH: jax.Array,
    kv: jax.Array,
    batch: RaggedBatch,
    sinks: jax.Array | None,
    settings: tuple[Settings, Settings],
    *,
    interpret: Any,
) -> jax.Array:
    """Rows with one new token as in a decode step, where a tile would be nearly empty, the others
    in tiles; in the shape and dtype of `q_TXGH`. `settings` are those of decode and of tiles.
    """
    decode, tiles = settings
    first_R = jnp.minimum(batch.query_starts_R1[:-1], q_TXGH.shape[0] - 1)
    o_RXGH = _attend_rows(q_TXGH[first_R], kv, batch, sinks, decode, interpret=interpret)
    o_TXGH = _attend_tiles(q_TXGH, kv, batch, sinks, tiles, interpret=interpret)
    is_alone_R = batch.query_starts_R1[1:] - batch.query_starts_R1[:-1] == 1
    is_alone_T = is_alone_R[batch.row_T][:, None, None, None]
    return jnp.where(is_alone_T, o_RXGH[batch.row_T], o_TXGH)


def _attend_rows(
    q_RXGH: jax.Array,
    kv: jax.Array,
    batch: RaggedBatch,
    sinks: jax.Array | None,
    settings: Settings,
    *,
    interpret: Any,
) -> jax.Array:
    """One query token a row, in the shape and dtype of `q_RXGH`; zeros for rows that have another
    number of new tokens.
    """
    num_heads, group, wide_dim = q_RXGH.shape[1:]
    padding = ((0, 0), (0, 0), (0, settings.padded_group - group), (0, 0))
    dtype, q_RXGH = q_RXGH.dtype, jnp.pad(q_RXGH.astype(jnp.float32), padding)
    q_JRXGH = q_RXGH.reshape(-1, settings.tile, num_heads, settings.padded_group, wide_dim)
    q_JXMH = jnp.swapaxes(q_JRXGH, 1, 2).reshape(len(q_JRXGH), num_heads, -1, wide_dim)
    plan = plan_decode(batch, settings.tile)
    o_JXMH = attend_blocks(plan, q_JXMH, kv, sinks, settings, interpret=interpret)
    o_JXRGH = o_JXMH.reshape(-1, num_heads, settings.tile, settings.padded_group, wide_dim)
    return jnp.swapaxes(o_JXRGH, 1, 2).reshape(q_RXGH.shape)[:, :, :group].astype(dtype)


def _attend_tiles(
    q_TXGH: jax.Array,
    kv: jax.Array,
    batch: RaggedBatch,
    sinks: jax.Array | None,
    settings: Settings,
    *,
    interpret: Any,
) -> jax.Array:
    """Tokens of rows with more than one new token, in the shape and dtype of `q_TXGH`."""
    num_tokens, num_heads, group, wide_dim = q_TXGH.shape
    tile = settings.tile
    num_blocks = -(-num_tokens // tile)
    q_TXGH = jnp.pad(q_TXGH, ((0, num_blocks * tile - num_tokens), (0, 0), (0, 0), (0, 0)))
    q_JTXGH = q_TXGH.reshape(num_blocks, tile, num_heads, group, wide_dim)
    q_JXMH = q_JTXGH.transpose(0, 2, 3, 1, 4).reshape(num_blocks, num_heads, -1, wide_dim)
    plan = plan_tiles(batch, tile, num_blocks)
    o_JXMH = attend_blocks(plan, q_JXMH, kv, sinks, settings, interpret=interpret)
    o_JXGTH = o_JXMH.reshape(num_blocks, num_heads, group, tile, wide_dim)
    return o_JXGTH.transpose(0, 3, 1, 2, 4).reshape(q_TXGH.shape)[:num_tokens]


def _widen_sinks(sinks_Q: jax.Array, layout: Layout, wide_group: int) -> jax.Array:
    """Sinks of all queries of wide heads, 0 for those that are padding."""
    missing = layout.num_wide_heads * wide_group - sinks_Q.shape[0]
    return jnp.pad(sinks_Q.astype(jnp.float32), (0, missing))


def _multiplied(x_TQH: jax.Array, scale_K: jax.Array | None, group: int) -> jax.Array:
    """Each query head's numbers times the scale of its KV head, in the dtype of `x_TQH`."""
    if scale_K is None:
        return x_TQH
    scale_Q = jnp.repeat(scale_K.astype(jnp.float32), group)
    return (x_TQH.astype(jnp.float32) * scale_Q[None, :, None]).astype(x_TQH.dtype)


def _divided(x_TKH: jax.Array, scale_K: jax.Array | None) -> jax.Array:
    if scale_K is None:
        return x_TKH
    return x_TKH.astype(jnp.float32) / scale_K.astype(jnp.float32)[None, :, None]


def _device_kind() -> str:
    """Kind of the chip this is traced for: the abstract one if any, else the first real one."""
    described = jax.sharding.get_abstract_mesh().abstract_device
    return described.device_kind if described is not None else jax.devices()[0].device_kind
