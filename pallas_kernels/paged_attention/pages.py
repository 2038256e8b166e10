"""Plain KV pages of one layer, for CPUs and XLA: how they are kept, written and read back.

K and V are two arrays `[N, Z, K*H]`. 16-bit floats are kept as their bits in uint16, 8-bit numbers
as the codes of `eight_bits`: XLA's CPU backend turns a scatter into an array of narrow floats into
a conversion of the whole array, and a step must never touch more of the cache than the tokens it
writes. Page 0 is the trash page: padding tokens are written there and nobody reads it.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention import eight_bits
from pallas_kernels.paged_attention.batch import RaggedBatch

STORED_AS: dict[str, str] = {
    "float32": "float32",
    "bfloat16": "uint16",
    "float16": "uint16",
    **eight_bits.STORED_AS,
}
"""Dtype of keys and values to the dtype of the array that keeps them."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PlainPages:
    """Pages of one layer.

    Attributes:
        k_NZX, v_NZX: `[N, Z, K*H]` in the stored dtype.
        dtype: what the bits mean, a key of `STORED_AS`.
    """

    k_NZX: jax.Array
    v_NZX: jax.Array
    dtype: str = dataclasses.field(metadata={"static": True})

    @property
    def page_size(self) -> int:
        """Z."""
        return self.k_NZX.shape[1]

    @property
    def width(self) -> int:
        """K * H."""
        return self.k_NZX.shape[2]


class KVScales(NamedTuple):
    """What the numbers of 8-bit pages are multiplied by, float32, one for each KV head."""

    k_K: jax.Array
    v_K: jax.Array


def make_kv_pages(
    num_pages: int, page_size: int, num_kv_heads: int, head_dim: int, dtype: str
) -> PlainPages:
    """Zeroed pages of one layer for keys and values of `dtype`.

    Raises:
        ValueError: `dtype` cannot be stored.
    """
    shape = (num_pages, page_size, num_kv_heads * head_dim)
    stored = jnp.dtype(stored_dtype(dtype))
    return PlainPages(jnp.zeros(shape, stored), jnp.zeros(shape, stored), dtype)


def kv_page_bytes(page_size: int, num_kv_heads: int, head_dim: int, dtype: str) -> int:
    """Bytes of one page of one layer, K and V together."""
    return 2 * page_size * num_kv_heads * head_dim * jnp.dtype(stored_dtype(dtype)).itemsize


def stored_dtype(dtype: str) -> str:
    """The dtype of the array that keeps keys and values of `dtype`."""
    if dtype not in STORED_AS:
        raise ValueError(f"cannot store KV pages of dtype {dtype!r}; choose one of {[*STORED_AS]}")
    return STORED_AS[dtype]


def write_kv(
    kv: PlainPages,
    k_TKH: jax.Array,
    v_TKH: jax.Array,
    batch: RaggedBatch,
    scales: KVScales | None = None,
) -> PlainPages:
    """Pages with this step's keys and values in their places; padding goes to page 0.

    Args:
        kv: pages of one layer; donate them, the result aliases them.
        k_TKH: keys after rotation, any float dtype.
        v_TKH: values, same dtype.
        batch: where each token goes.
        scales: of 8-bit pages; None for 1.
    """
    page_T, offset_T = places(batch, kv.page_size)

    def written(pages: jax.Array, new_TKH: jax.Array, scale_K: jax.Array | None) -> jax.Array:
        new_TKH = eight_bits.scaled_down(new_TKH, scale_K)
        stored_TX = to_stored(new_TKH.reshape(new_TKH.shape[0], -1), kv.dtype)
        return pages.at[page_T, offset_T].set(stored_TX)

    k_scale_K, v_scale_K = scales or (None, None)
    k_NZX, v_NZX = written(kv.k_NZX, k_TKH, k_scale_K), written(kv.v_NZX, v_TKH, v_scale_K)
    return PlainPages(k_NZX, v_NZX, kv.dtype)


def places(batch: RaggedBatch, page_size: int) -> tuple[jax.Array, jax.Array]:
    """Page and offset in it of every token."""
    is_real_T = batch.positions_T >= 0
    position_T = jnp.maximum(batch.positions_T, 0)
    page_T = batch.page_table_RP[batch.row_T, position_T // page_size]
    return jnp.where(is_real_T, page_T, 0), position_T % page_size


def to_stored(values: jax.Array, dtype: str) -> jax.Array:
    """Floats as what pages of `dtype` keep: bits, codes, or float32 as it is."""
    if eight_bits.is_eight_bit(dtype):
        return eight_bits.encode(values, dtype)
    values = values.astype(dtype)
    if dtype == "float32":
        return values
    return jax.lax.bitcast_convert_type(values, jnp.uint16)


def from_stored(stored: jax.Array, dtype: str) -> jax.Array:
    """What pages of `dtype` keep as floats of `dtype`; 8-bit numbers as float32, unscaled."""
    if eight_bits.is_eight_bit(dtype):
        return eight_bits.decode(stored, dtype)
    return stored if dtype == "float32" else jax.lax.bitcast_convert_type(stored, dtype)
