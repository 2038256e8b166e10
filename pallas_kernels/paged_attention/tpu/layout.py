"""Where a token's keys and values lie in a TPU page: whole 32-bit words, 128 lanes wide.

A page of one layer is `[Z, W, 128]` uint32: a token is W rows of 128 words, nothing smaller is
ever addressed, and a token is one contiguous piece of memory for every number of heads. What a
word holds depends on the stored dtype (bit 31 on the left):

    bfloat16   v[i] | k[i]                        one row of lanes per row of words
    8 bits     v[i + 1] | k[i + 1] | v[i] | k[i]  two rows of lanes per row of words
    float32    k, all rows; then v, all rows      two rows of words per row of lanes

A row of lanes is a head of 128, half a head of 256, or two heads of 64 (the kernel then sees one
"wide head" whose queries have zeros in the lanes of the other head: no lane is wasted). Other
widths are padded with zeros to a multiple of 128.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.paged_attention import eight_bits

LANES = 128
WORD_BYTES = 4
BITS = {"float32": 32, "bfloat16": 16, **dict.fromkeys(eight_bits.STORED_AS, 8)}
"""Stored dtype to the bits of one number."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How one layer's heads become rows of lanes, and rows of lanes rows of words.

    Attributes:
        num_kv_heads: K, on this device.
        head_dim: H, as the model has it.
        dtype: stored dtype, a key of `BITS`.
    """

    num_kv_heads: int
    head_dim: int
    dtype: str

    @property
    def heads_per_row(self) -> int:
        """Heads of the model side by side in one wide head: 2 for width 64, else 1."""
        return 2 if self.head_dim * 2 == LANES and self.num_kv_heads > 1 else 1

    @property
    def num_wide_heads(self) -> int:
        """KV heads as the kernel sees them."""
        return -(-self.num_kv_heads // self.heads_per_row)

    @property
    def rows_per_head(self) -> int:
        """Rows of lanes of one wide head."""
        return -(-self.head_dim * self.heads_per_row // LANES)

    @property
    def wide_dim(self) -> int:
        """Width of a wide head, a multiple of 128."""
        return self.rows_per_head * LANES

    @property
    def num_lane_rows(self) -> int:
        """Rows of lanes of one token's keys (and as many of its values)."""
        return self.num_wide_heads * self.rows_per_head

    @property
    def num_word_rows(self) -> int:
        """W: rows of words of one token, 1, 2, 4 or a multiple of 8 so that tiles are full."""
        rows = -(-self.num_lane_rows * 2 * BITS[self.dtype] // 32)
        return next((size for size in (1, 2, 4) if rows <= size), -(-rows // 8) * 8)

    def pack(self, k_TKH: jax.Array, v_TKH: jax.Array) -> jax.Array:
        """Words `[T, W, 128]` of keys and values, which are cast to the stored dtype."""
        k_TXL, v_TXL = (_to_bits(self._lane_rows(new), self.dtype) for new in (k_TKH, v_TKH))
        words_TXL = _JOIN[BITS[self.dtype]](k_TXL, v_TXL)
        missing = self.num_word_rows - words_TXL.shape[1]
        return jnp.pad(words_TXL, ((0, 0), (0, missing), (0, 0)))

    def _lane_rows(self, new_TKH: jax.Array) -> jax.Array:
        """`[T, rows of lanes, 128]`."""
        wide = self._wide(new_TKH, axis=1).reshape(new_TKH.shape[0], self.num_wide_heads, -1)
        wide = jnp.pad(wide, ((0, 0), (0, 0), (0, self.wide_dim - wide.shape[2])))
        return wide.reshape(new_TKH.shape[0], self.num_lane_rows, LANES)

    def _wide(self, x: jax.Array, axis: int) -> jax.Array:
        """`x` with zero heads appended along `axis` until wide heads are whole."""
        padding = [(0, 0)] * x.ndim
        padding[axis] = (0, self.num_wide_heads * self.heads_per_row - self.num_kv_heads)
        return jnp.pad(x, padding)

    def widen_queries(self, q_TQH: jax.Array) -> jax.Array:
        """Queries for wide heads, `[T, wide heads, wide group, wide dim]`.

        Row `i * G + g` of a wide head is query g of its i-th head, zero in the others' lanes.
        """
        num_tokens, num_heads, head_dim = q_TQH.shape
        group, per_row = num_heads // self.num_kv_heads, self.heads_per_row
        q_TKGH = self._wide(q_TQH.reshape(num_tokens, -1, group, head_dim), axis=1)
        q_TXIGH = q_TKGH.reshape(num_tokens, self.num_wide_heads, per_row, group, head_dim)
        lanes = [(i * head_dim, self.wide_dim - (i + 1) * head_dim) for i in range(per_row)]
        placed = [
            jnp.pad(q_TXIGH[:, :, i], ((0, 0), (0, 0), (0, 0), lanes[i])) for i in range(per_row)
        ]
        return jnp.concatenate(placed, axis=2)

    def narrow_outputs(self, o_TXGH: jax.Array) -> jax.Array:
        """Outputs of wide heads back as `[T, Q, H]`: each query its own lanes."""
        num_tokens, _, wide_group, _ = o_TXGH.shape
        group = wide_group // self.heads_per_row
        own = [
            o_TXGH[:, :, i * group : (i + 1) * group, i * self.head_dim : (i + 1) * self.head_dim]
            for i in range(self.heads_per_row)
        ]
        o_TKGH = jnp.stack(own, axis=2)
        return o_TKGH.reshape(num_tokens, -1, self.head_dim)[:, : self.num_kv_heads * group]


def make_kv_pages(
    num_pages: int,
    page_size: int,
    num_kv_heads: int,
    head_dim: int,
    dtype: str,
    *,
    num_shards: int = 1,
) -> jax.Array:
    """Zeroed pages `[N, Z, W, 128]` uint32 of one layer.

    Args:
        num_pages: N; page 0 is the trash page, which no sequence owns.
        page_size: Z, tokens of a page.
        num_kv_heads: K of the whole model.
        head_dim: H.
        dtype: stored dtype, a key of `BITS`.
        num_shards: devices that share the heads; axis 2 is to be sharded over them.
    """
    layout = Layout(num_kv_heads // num_shards, head_dim, dtype)
    shape = (num_pages, page_size, layout.num_word_rows * num_shards, LANES)
    return jnp.zeros(shape, jnp.uint32)


def kv_page_bytes(
    page_size: int, num_kv_heads: int, head_dim: int, dtype: str, *, num_shards: int = 1
) -> int:
    """Bytes of one page of one layer over all devices, keys and values and padding together."""
    layout = Layout(num_kv_heads // num_shards, head_dim, dtype)
    return page_size * layout.num_word_rows * num_shards * LANES * WORD_BYTES


def _to_bits(values: jax.Array, dtype: str) -> jax.Array:
    """The stored bits of floats as uint32."""
    if eight_bits.is_eight_bit(dtype):
        codes = eight_bits.encode(values, dtype)
        return lax.bitcast_convert_type(codes, jnp.uint8).astype(jnp.uint32)
    bits = lax.bitcast_convert_type(values.astype(dtype), f"uint{BITS[dtype]}")
    return bits.astype(jnp.uint32)


def _join_16(k_TXL: jax.Array, v_TXL: jax.Array) -> jax.Array:
    return k_TXL | (v_TXL << 16)


def _join_8(k_TXL: jax.Array, v_TXL: jax.Array) -> jax.Array:
    both = k_TXL | (v_TXL << 8)
    both = jnp.pad(both, ((0, 0), (0, both.shape[1] % 2), (0, 0)))
    return both[:, 0::2] | (both[:, 1::2] << 16)


def _join_32(k_TXL: jax.Array, v_TXL: jax.Array) -> jax.Array:
    return jnp.concatenate((k_TXL, v_TXL), axis=1)


_JOIN = {32: _join_32, 16: _join_16, 8: _join_8}
