"""Plain KV pages of one layer, for CPUs and XLA: how they are kept, written and read back.

K and V are two arrays `[N, Z, K*H]`. bfloat16 and float16 are kept as their bits in uint16: XLA's
CPU backend turns a scatter into a bfloat16 array into a conversion of the whole array, and a step
must never touch more of the cache than the tokens it writes. Page 0 is the trash page: padding
tokens are written there and nobody reads it.
"""

from __future__ import annotations

from typing import TypeAlias

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention.batch import RaggedBatch

PlainPages: TypeAlias = tuple[jax.Array, jax.Array]

STORED_AS: dict[str, str] = {"float32": "float32", "bfloat16": "uint16", "float16": "uint16"}
"""Dtype of a model to the dtype its keys and values are stored in."""


def make_kv_pages(
    num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype: str
) -> PlainPages:
    """Zeroed K and V `[N, Z, K*H]` of one layer for a model of `dtype`, in its stored dtype.

    Raises:
        ValueError: `dtype` cannot be stored.
    """
    shape = (num_pages, page_size, num_kv_heads * head_dim)
    stored = jnp.dtype(stored_dtype(dtype))
    return jnp.zeros(shape, stored), jnp.zeros(shape, stored)


def kv_page_bytes(page_size: int, num_kv_heads: int, head_dim: int, dtype: str) -> int:
    """Bytes of one page of one layer, K and V together."""
    return 2 * page_size * num_kv_heads * head_dim * jnp.dtype(stored_dtype(dtype)).itemsize


def stored_dtype(dtype: str) -> str:
    """The dtype that keys and values of a model of `dtype` are stored in."""
    if dtype not in STORED_AS:
        raise ValueError(f"cannot store KV pages of dtype {dtype!r}; choose one of {[*STORED_AS]}")
    return STORED_AS[dtype]


def write_kv(kv: PlainPages, k_TKH: jax.Array, v_TKH: jax.Array, batch: RaggedBatch) -> PlainPages:
    """Pages with this step's keys and values in their places; padding goes to page 0.

    Args:
        kv: pages of one layer; donate them, the result aliases them.
        k_TKH: keys after rotation, in the model's dtype (its bits are stored) or float32.
        v_TKH: values, same dtype.
        batch: where each token goes.
    """
    page_T, offset_T = places(batch, kv[0].shape[1])
    k_pages, v_pages = (
        pages.at[page_T, offset_T].set(to_stored(new.reshape(new.shape[0], -1)))
        for pages, new in zip(kv, (k_TKH, v_TKH), strict=True)
    )
    return k_pages, v_pages


def places(batch: RaggedBatch, page_size: int) -> tuple[jax.Array, jax.Array]:
    """Page and offset in it of every token."""
    is_real_T = batch.positions_T >= 0
    position_T = jnp.maximum(batch.positions_T, 0)
    page_T = batch.page_table_RP[batch.row_T, position_T // page_size]
    return jnp.where(is_real_T, page_T, 0), position_T % page_size


def to_stored(values: jax.Array) -> jax.Array:
    """Bits of 16-bit floats as uint16; float32 as it is."""
    if values.dtype == jnp.float32:
        return values
    return jax.lax.bitcast_convert_type(values, jnp.uint16)


def from_stored(stored: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Stored values as floats of the model's `dtype`."""
    if stored.dtype == jnp.float32:
        return stored
    return jax.lax.bitcast_convert_type(stored, dtype)
