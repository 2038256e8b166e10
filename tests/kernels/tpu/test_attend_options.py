"""Sinks and 8-bit pages, and both together with windows, against plain numpy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from tpu_world import World, difference, has_raced

from pallas_kernels.paged_attention import tpu

pytestmark = pytest.mark.usefixtures("quick_compiles")

DECODE = ((9, 1), (0, 1), (15, 1))
MIXED = ((9, 1), (3, 9), (0, 4))
SCALE = 0.2
FLOATS = {"float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2}


def plain_attention(
    world: World, k: np.ndarray, v: np.ndarray, window: int, sinks: np.ndarray | None
) -> np.ndarray:
    """Attention as the formula says it, token by token and head by head."""
    batch = jax.tree.map(np.asarray, world.batch)
    q = np.asarray(world.q_TQH, np.float32)
    out = np.zeros(q.shape, np.float32)
    group = world.num_heads // world.num_kv_heads
    for token, position in enumerate(batch.positions_T):
        first = max(0, position - window + 1) if window else 0
        seen = np.arange(first, position + 1)
        pages = batch.page_table_RP[batch.row_T[token], seen // world.page_size]
        for head in range(world.num_heads if position >= 0 else 0):
            keys, values = (x[pages, seen % world.page_size, head // group] for x in (k, v))
            scores = keys @ q[token, head] * SCALE
            sink = scores.max() if sinks is None else sinks[head]
            highest = max(scores.max(), sink)
            weights = np.exp(scores - highest)
            rest = 0.0 if sinks is None else np.exp(sink - highest)
            out[token, head] = weights @ values / (weights.sum() + rest)
    return out


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("rows", [DECODE, MIXED], ids=["decode", "mixed"])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_sinks_join_the_denominator_only(
    rows: tuple[tuple[int, int], ...], window: int, head_dim: int
) -> None:
    world = World(rows, num_heads=6, num_kv_heads=2, num_tokens=16, num_rows=16, head_dim=head_dim)
    sinks = np.linspace(-2.0, 3.0, 6).astype(np.float32)
    options = {"window": window, "scale": SCALE}
    got = world.attended(is_decode=rows == DECODE, sinks_Q=jnp.asarray(sinks), **options)
    assert difference(got, plain_attention(world, *world.dense_kv, window, sinks)) < 3e-6
    assert not has_raced()


def stored_and_read_back(values: np.ndarray, kv_dtype: str) -> np.ndarray:
    if kv_dtype == "int8":
        return np.clip(np.round(values), -127, 127)
    return values.astype(FLOATS[kv_dtype]).astype(np.float32)


@pytest.mark.parametrize(
    ("head_dim", "kv_dtype"),
    [
        (64, "int8"),
        (128, "float8_e4m3fn"),
        (256, "int8"),
        pytest.param(64, "float8_e4m3fn", marks=pytest.mark.slow),
        pytest.param(128, "int8", marks=pytest.mark.slow),
        pytest.param(256, "float8_e4m3fn", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("rows", [DECODE, MIXED], ids=["decode", "mixed"])
def test_8_bit_pages_hold_what_is_left_of_keys_and_values_over_their_scales(
    rows: tuple[tuple[int, int], ...], head_dim: int, kv_dtype: str
) -> None:
    world = World(rows, num_heads=6, num_kv_heads=3, num_tokens=16, num_rows=16, head_dim=head_dim)
    dense_k, dense_v = (np.nan_to_num(x) for x in world.dense_kv)
    fine = 40.0 if kv_dtype == "int8" else 1.0
    k_scale, v_scale = np.array([1.0, 2.0, 0.5]) / fine, np.array([0.5, 1.0, 4.0]) / fine
    shape = (-1, 3, head_dim)
    layout = tpu.layout.Layout(3, head_dim, kv_dtype)
    packed = layout.pack(
        jnp.asarray((dense_k / k_scale[:, None]).reshape(shape), jnp.float32),
        jnp.asarray((dense_v / v_scale[:, None]).reshape(shape), jnp.float32),
    )
    kv = packed.reshape(world.num_pages, world.page_size, *packed.shape[1:])
    k, v = (
        stored_and_read_back(x / s[:, None], kv_dtype) * s[:, None]
        for x, s in ((dense_k, k_scale), (dense_v, v_scale))
    )
    got = world.attended(
        is_decode=rows == DECODE,
        scale=SCALE,
        kv=kv,
        kv_dtype=kv_dtype,
        k_scale_K=jnp.asarray(k_scale, jnp.float32),
        v_scale_K=jnp.asarray(v_scale, jnp.float32),
    )
    want = plain_attention(world, k.astype(np.float32), v.astype(np.float32), 0, None)
    assert difference(got, want) < 3e-2  # queries and weights are bfloat16 here
    assert not has_raced()


@pytest.mark.parametrize("kv_dtype", ["int8", *FLOATS])
def test_every_8_bit_pattern_is_read_as_its_number(kv_dtype: str) -> None:
    from pallas_kernels.paged_attention.tpu.words import _to_float

    bits = np.arange(256, dtype=np.uint32)
    want = bits.astype(np.uint8).view(FLOATS.get(kv_dtype, np.int8)).astype(np.float32)
    want = np.where((want == -128) & (kv_dtype == "int8"), np.nan, want)
    for shift in (0, 8, 16, 24):
        got = _to_float(jnp.asarray(bits << shift), shift, kv_dtype)
        np.testing.assert_array_equal(np.asarray(got, np.float32), want)
