"""Numbers of 8 bits: how keys and values become them, and what they are worth. The specification.

    write   code = nearest(x / scale), ties to even, cut down to the largest number there is
    read    x    = number(code) * scale

NaN stays NaN, so that a broken sequence is noticed wherever its keys are read: int8 gives up its
code -128 for it. Infinities are cut down like other large numbers. Codes are kept as integers,
never as an array of an 8-bit float dtype: XLA's CPU backend converts such an array as a whole when
a few places of it are written.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

LARGEST: dict[str, float] = {"float8_e4m3fn": 448.0, "float8_e5m2": 57344.0, "int8": 127.0}
"""8-bit dtype to the largest magnitude it holds."""

STORED_AS: dict[str, str] = {"float8_e4m3fn": "uint8", "float8_e5m2": "uint8", "int8": "int8"}

INT8_NAN = -128


def is_eight_bit(dtype: str) -> bool:
    """Whether numbers of `dtype` are codes of this module."""
    return dtype in LARGEST


def encode(values: jax.Array, dtype: str) -> jax.Array:
    """Codes of floats that were divided by their scale: uint8, or int8 for int8."""
    values = values.astype(jnp.float32)
    within = jnp.clip(values, -LARGEST[dtype], LARGEST[dtype])
    if dtype == "int8":
        whole = jnp.where(jnp.isnan(values), INT8_NAN, jnp.round(within))
        return whole.astype(jnp.int8)
    return lax.bitcast_convert_type(within.astype(dtype), jnp.uint8)


def decode(codes: jax.Array, dtype: str) -> jax.Array:
    """What codes are worth before the scale, exact in float32 (and in bfloat16)."""
    if dtype == "int8":
        return jnp.where(codes == INT8_NAN, jnp.nan, codes.astype(jnp.float32))
    codes = codes.astype(jnp.uint16)
    if dtype == "float8_e5m2":  # the upper half of a float16
        return _float16(codes << 8)
    # One bit less of exponent: as a float16 it is 2**8 times too small. No infinities, one NaN.
    magnitude = codes & 0x7F
    numbers = _float16((magnitude << 7) | ((codes & 0x80) << 8)) * 256.0
    return jnp.where(magnitude == 0x7F, jnp.nan, numbers)


def scaled_down(x_TKH: jax.Array, scale_K: jax.Array | None) -> jax.Array:
    """What is to be encoded: `x / scale` in float32; None is a scale of 1."""
    if scale_K is None:
        return x_TKH
    return x_TKH.astype(jnp.float32) / scale_K[None, :, None]


def _float16(bits: jax.Array) -> jax.Array:
    return lax.bitcast_convert_type(bits, jnp.float16).astype(jnp.float32)
