"""KV pages of one layer as GPUs want them: one array `[N, 2, K, Z, H]`, keys 0 and values 1.

A tile of one KV head is one contiguous box, so one instruction loads it and nothing is transposed.
Page 0 is the trash page: padding tokens are written there and nobody reads it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention import eight_bits
from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.pages import KVScales, places


def make_kv_pages(
    num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype: str = "bfloat16"
) -> jax.Array:
    """Zeroed pages `[N, 2, K, Z, H]` of one layer."""
    return jnp.zeros((num_pages, 2, num_kv_heads, page_size, head_dim), dtype)


def kv_page_bytes(page_size: int, num_kv_heads: int, head_dim: int, dtype: str = "bfloat16") -> int:
    """Bytes of one page of one layer, keys and values together."""
    return 2 * num_kv_heads * page_size * head_dim * jnp.dtype(dtype).itemsize


def write_kv(
    pages_N2KZH: jax.Array,
    k_TKH: jax.Array,
    v_TKH: jax.Array,
    batch: RaggedBatch,
    scales: KVScales | None = None,
) -> jax.Array:
    """Pages with this step's keys and values in their places; padding goes to page 0.

    XLA's scatter does this in place when the pages are donated: it touches the written slots only.

    Args:
        pages_N2KZH: donate it, the result aliases it.
        k_TKH: keys after rotation, any float dtype.
        v_TKH: values.
        scales: of 8-bit pages; None for 1.
    """
    page_T, slot_T = places(batch, pages_N2KZH.shape[3])
    k_scale_K, v_scale_K = scales or (None, None)
    new = (eight_bits.scaled_down(k_TKH, k_scale_K), eight_bits.scaled_down(v_TKH, v_scale_K))
    new_T2KH = _stored(jnp.stack(new, axis=1), str(pages_N2KZH.dtype))
    return pages_N2KZH.at[page_T, :, :, slot_T].set(new_T2KH)


def _stored(values: jax.Array, dtype: str) -> jax.Array:
    if not eight_bits.is_eight_bit(dtype):
        return values.astype(dtype)
    return jax.lax.bitcast_convert_type(eight_bits.encode(values, dtype), dtype)
