"""Inside the kernel: words of a chunk of pages back to keys and values of one wide head."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl

from pallas_kernels.paged_attention.eight_bits import INT8_NAN
from pallas_kernels.paged_attention.tpu.layout import BITS, LANES, Layout
from pallas_kernels.paged_attention.tpu.refs import Ref


def load_head(
    chunk: Ref, head: int, owned_C1: jax.Array, layout: Layout, *, is_interpreted: bool
) -> tuple[jax.Array, jax.Array]:
    """Keys and values `[C, wide dim]` of wide head `head`, in the dtype the matmuls take.

    Args:
        chunk: VMEM words `[C, W, 128]`.
        head: which wide head.
        owned_C1: which tokens of the chunk may be seen at all. Words of the others become zero:
            they may be stale or NaN, and a weight of zero does not make a NaN harmless.
        layout: what the words mean.
        is_interpreted: whether the interpreter runs this, which knows no views of memory.
    """
    bits = BITS[layout.dtype]
    k_rows, v_rows = [], []
    for lane_row in range(head * layout.rows_per_head, (head + 1) * layout.rows_per_head):
        words_k_row, words_v_row, shift = _place(lane_row, layout)
        words = _load_words(chunk, words_k_row, is_interpreted)
        words = jnp.where(owned_C1, words, jnp.uint32(0))
        if bits == 32:
            v_words = _load_words(chunk, words_v_row, is_interpreted)
            v_words = jnp.where(owned_C1, v_words, jnp.uint32(0))
            k_rows.append(_to_float(words, 0, layout.dtype))
            v_rows.append(_to_float(v_words, 0, layout.dtype))
        else:
            k_rows.append(_to_float(words, shift, layout.dtype))
            v_rows.append(_to_float(words, shift + bits, layout.dtype))
    return jnp.concatenate(k_rows, axis=1), jnp.concatenate(v_rows, axis=1)


def _place(lane_row: int, layout: Layout) -> tuple[int, int, int]:
    """Row of words of a row of keys, that of its values, and the bit where the key begins."""
    bits = BITS[layout.dtype]
    if bits == 32:
        return lane_row, layout.num_lane_rows + lane_row, 0
    if bits == 16:
        return lane_row, lane_row, 0
    return lane_row // 2, lane_row // 2, 16 * (lane_row % 2)


def _load_words(chunk: Ref, row: int, is_interpreted: bool) -> jax.Array:
    """Row `row` of every token, `[C, 128]`.

    On the chip as one strided load: indexing the middle axis would load each token's whole tile
    and rotate its row into place.
    """
    num_tokens, num_rows, _ = chunk.shape
    if is_interpreted:
        return chunk[:, row, :]
    flat = chunk.reshape(num_tokens * num_rows, LANES)
    return flat[pl.ds(row, num_tokens, stride=num_rows), :]


def _to_float(words: jax.Array, shift: int, dtype: str) -> jax.Array:
    """The number of `dtype` that begins at bit `shift` of each word.

    float32 stays float32, all others become bfloat16, which holds every 8-bit value exactly.
    """
    if dtype == "float32":
        return _bitcast(words, jnp.float32)
    if dtype == "bfloat16":
        high = (words << 16) if shift == 0 else (words & jnp.uint32(0xFFFF0000))
        return _bitcast(high, jnp.float32).astype(jnp.bfloat16)
    if dtype == "int8":
        signed = _bitcast(words << (24 - shift), jnp.int32) >> 24
        number = jnp.where(signed == INT8_NAN, jnp.float32(jnp.nan), signed.astype(jnp.float32))
        return number.astype(jnp.bfloat16)
    return _FLOAT8[dtype](words, shift).astype(jnp.bfloat16)


def _e4m3(words: jax.Array, shift: int) -> jax.Array:
    """e4m3fn as float32, by integer arithmetic: chips before v7 have no such type.

    A normal number's exponent and mantissa are moved to their float32 places, and the difference
    of the exponents' biases (127 - 7) is multiplied in. Numbers under 2**-6 are multiples of
    2**-9. The all-ones pattern is NaN.
    """
    byte = _bitcast((words >> shift) & jnp.uint32(0xFF), jnp.int32)
    magnitude = byte & 0x7F
    normal = _bitcast(magnitude << 20, jnp.float32) * jnp.float32(2.0**120)
    small = magnitude.astype(jnp.float32) * jnp.float32(2.0**-9)
    value = jnp.where(magnitude < 8, small, normal)
    value = jnp.where(magnitude == 0x7F, jnp.float32(jnp.nan), value)
    return jnp.where(byte >= 0x80, -value, value)


def _e5m2(words: jax.Array, shift: int) -> jax.Array:
    """e5m2 as float32, the same way: biases differ by 127 - 15, numbers under 2**-14 are multiples
    of 2**-16, and an exponent of ones is infinity or NaN as in float32.
    """
    byte = _bitcast((words >> shift) & jnp.uint32(0xFF), jnp.int32)
    magnitude = byte & 0x7F
    normal = _bitcast(magnitude << 21, jnp.float32) * jnp.float32(2.0**112)
    small = magnitude.astype(jnp.float32) * jnp.float32(2.0**-16)
    special = _bitcast((magnitude << 21) | 0x7F800000, jnp.float32)
    value = jnp.where(magnitude < 4, small, normal)
    value = jnp.where(magnitude >= 0x7C, special, value)
    return jnp.where(byte >= 0x80, -value, value)


_FLOAT8 = {"float8_e4m3fn": _e4m3, "float8_e5m2": _e5m2}


def _bitcast(words: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """Same bits; 32-bit dtypes only."""
    return lax.bitcast_convert_type(words, dtype)
