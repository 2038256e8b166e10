"""The CPU path computes what the specification says, and the same bits however tokens arrive."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.paged_attention import (
    KVScales,
    RaggedBatch,
    cpu,
    make_kv_pages,
    reference,
    write_kv,
)

LENGTHS = (300, 1, 17, 128, 129, 64)


attend_cpu = jax.jit(cpu.attend, static_argnames=("scale", "window", "softcap", "is_decode"))


def run(world, rows, num_tokens, num_rows, *, is_decode=False, kv=None, **options):
    """Output of every row's tokens, as one list of arrays."""
    kv = world.pages() if kv is None else kv
    batch = world.batch(rows, num_tokens, num_rows)
    q = world.gather(world.q, rows, num_tokens)
    scale = world.q[0].shape[2] ** -0.5
    options = {"scales": world.scales, "scale": scale, **options}
    out = attend_cpu(q, kv, batch, is_decode=is_decode, **options)
    out = np.asarray(out)
    counts = [end - start for _, start, end in rows]
    assert np.all(out[sum(counts) :] == 0), "padding tokens must give zeros"
    return np.split(out[: sum(counts)], np.cumsum(counts)[:-1])


def exact_attention(world, sequence, window, softcap):
    """Attention of all tokens of a sequence in float64."""
    q, k, v = (x[sequence].astype(np.float64) for x in (world.q, world.k, world.v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    scores = np.einsum("tqh,cqh->qtc", q, k) * q.shape[2] ** -0.5
    if softcap is not None:
        scores = softcap * np.tanh(scores / softcap)
    distance = np.arange(len(q))[:, None] - np.arange(len(q))[None, :]
    sees = (distance >= 0) & ((distance < window) if window else True)
    scores = np.where(sees, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("qtc,cqh->tqh", weights / weights.sum(-1, keepdims=True), v)


@pytest.mark.parametrize(
    ("dtype", "window", "softcap"),
    [("float32", 40, None), ("float32", 150, 20.0), ("bfloat16", 0, None), ("float16", 0, 5.0)],
)
def test_prefill_is_close_to_exact_attention(make_world, dtype, window, softcap):
    world = make_world(LENGTHS, dtype=dtype)
    rows = [(s, 0, n) for s, n in enumerate(LENGTHS)]
    out = run(world, rows, 640, 8, window=window, softcap=softcap)
    for sequence, found in enumerate(out):
        expected = exact_attention(world, sequence, window, softcap)
        tolerance = {"float32": 2e-6, "bfloat16": 2e-2, "float16": 2e-3}[dtype]
        assert np.abs(found - expected).max() < tolerance


@pytest.mark.parametrize("window", [0, 40])
def test_the_reference_is_close_to_exact_attention(make_world, window):
    world = make_world((70, 5), dtype="float32")
    rows = [(0, 0, 70), (1, 0, 5)]
    q, batch = world.gather(world.q, rows, 80), world.batch(rows, 80, 8)
    out = reference.attend(q, world.pages(), batch, scale=0.25, window=window)
    expected = np.concatenate([exact_attention(world, s, window, None) for s in (0, 1)])
    assert np.abs(np.asarray(out)[:75] - expected).max() < 2e-6


SINKS = jnp.linspace(-2.0, 3.0, 6, dtype=jnp.float32)
SCALES = KVScales(jnp.asarray([0.04, 0.05], jnp.float32), jnp.asarray([0.035, 0.04], jnp.float32))


def expected_by_the_reference(world, rows, num_tokens, **options):
    """Rows of output of the specification, over the same pages."""
    q, batch = world.gather(world.q, rows, num_tokens), world.batch(rows, num_tokens, 8)
    out = reference.attend(q, world.pages(), batch, scale=0.25, scales=world.scales, **options)
    return np.asarray(out)[: sum(end - start for _, start, end in rows)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kv_dtype", "scales"),
    [("float8_e4m3fn", None), ("float8_e5m2", SCALES), ("int8", SCALES), ("bfloat16", None)],
    ids=["e4m3", "e5m2", "int8", "bfloat16"],
)
def test_narrow_pages_and_sinks_are_read_as_the_reference_reads_them(
    make_world, kv_dtype, scales, dtype
):
    world = make_world((140, 1, 17), dtype=dtype)
    world.kv_dtype, world.scales = kv_dtype, scales
    rows = [(0, 0, 140), (1, 0, 1), (2, 3, 17)]
    out = np.concatenate(run(world, rows, 160, 8, sinks_Q=SINKS, window=60))
    expected = expected_by_the_reference(world, rows, 160, sinks_Q=SINKS, window=60)
    assert np.abs(out - expected).max() < {"float32": 2e-6, "bfloat16": 2e-2}[dtype]


@pytest.mark.parametrize(
    ("kv_dtype", "scales", "tolerance"),
    [("float8_e4m3fn", None, 0.25), ("float8_e5m2", None, 0.5), ("int8", SCALES, 0.06)],
)
def test_8_bit_pages_are_close_to_exact_attention(make_world, kv_dtype, scales, tolerance):
    world = make_world((140,), dtype="float32")
    world.kv_dtype, world.scales = kv_dtype, scales
    expected = exact_attention(world, 0, 0, None)
    for out in (
        expected_by_the_reference(world, [(0, 0, 140)], 140),
        run(world, [(0, 0, 140)], 144, 8)[0],
    ):
        assert 0.0 < np.abs(out - expected).max() < tolerance


def test_a_sink_takes_its_share_of_the_weights(make_world):
    world = make_world((70,), dtype="float32")
    sinks = jnp.full(6, 0.7, jnp.float32)
    out = run(world, [(0, 69, 70)], 8, 8, is_decode=True, sinks_Q=sinks)[0][0]
    plain = exact_attention(world, 0, 0, None)[69]
    keys = np.repeat(world.k[0].astype(np.float64), 3, axis=1)
    seen = np.exp(np.einsum("qh,cqh->qc", world.q[0][69], keys) * 0.25).sum(-1)
    share = seen / (seen + np.exp(0.7))
    assert np.abs(out - plain * share[:, None]).max() < 2e-6


@pytest.mark.parametrize("kv_dtype", ["float8_e4m3fn", "float8_e5m2", "int8"])
def test_a_key_that_is_not_a_number_is_noticed_by_those_who_see_it(make_world, kv_dtype):
    world = make_world((20, 20), dtype="float32")
    world.kv_dtype, world.scales = kv_dtype, SCALES
    world.k[0] = np.where(np.arange(20)[:, None, None] == 5, np.nan, world.k[0])
    sick, healthy = run(world, [(0, 0, 20), (1, 0, 20)], 40, 8)
    assert np.isfinite(sick[:5]).all()
    assert np.isnan(sick[5:]).all()
    assert np.isfinite(healthy).all()


SHAPES = [  # num_heads, num_kv_heads, head_dim, dtype, window, softcap
    pytest.param(4, 4, 16, "float32", 0, None, id="group1"),
    pytest.param(6, 3, 32, "bfloat16", 50, None, id="group2"),
    pytest.param(12, 4, 64, "bfloat16", 0, None, id="group3"),
    pytest.param(12, 4, 64, "float32", 50, None, id="group3-float32"),
    pytest.param(8, 1, 32, "float16", 0, None, id="group8"),
    pytest.param(8, 1, 32, "float32", 0, 5.0, id="group8-softcap"),
    pytest.param(1, 1, 64, "bfloat16", 0, 5.0, id="one-head"),
    pytest.param(4, 4, 16, "bfloat16", 0, None, id="group1-bfloat16"),
    pytest.param(4, 2, 32, "bfloat16", 0, None, id="servax-tiny"),
    pytest.param(8, 4, 32, "bfloat16", 0, None, id="llama-tiny"),
    pytest.param(16, 8, 128, "bfloat16", 0, None, id="qwen3-0.6b"),
    pytest.param(8, 1, 128, "bfloat16", 0, None, id="multi-query"),
    pytest.param(6, 2, 64, "bfloat16/float8_e4m3fn", 0, None, id="fp8"),
    pytest.param(6, 2, 64, "float32/int8", 50, None, id="int8-float32"),
    pytest.param(4, 2, 32, "bfloat16/float8_e5m2", 0, 5.0, id="e5m2"),
]


@pytest.mark.parametrize(
    ("num_heads", "num_kv_heads", "head_dim", "dtype", "window", "softcap"), SHAPES
)
def test_a_token_has_the_same_bits_in_decode_and_in_any_chunk(
    make_world, num_heads, num_kv_heads, head_dim, dtype, window, softcap
):
    lengths = (300, 17, 130)
    dtype, _, kv_dtype = dtype.partition("/")
    world = make_world(lengths, num_heads, num_kv_heads, head_dim, dtype)
    world.kv_dtype, world.scales = kv_dtype, SCALES if kv_dtype else None
    go = partial(run, world, window=window, softcap=softcap, kv=world.pages())
    whole = go([(s, 0, n) for s, n in enumerate(lengths)], 448, 8)
    for position in (0, 7, 127, 128, 129, 299):
        expected = whole[0][position]
        alone = go([(0, position, position + 1)], 8, 8, is_decode=True)[0][0]
        assert np.array_equal(alone, expected), f"decode differs at {position}"
        others = [(1, 16, 17), (2, 129, 130), (0, position, position + 1), (2, 3, 4)]
        crowd = go(others, 32, 32, is_decode=True)[2][0]
        assert np.array_equal(crowd, expected), f"decode in a crowd differs at {position}"
    for start, end in ((0, 1), (3, 8), (112, 128), (120, 220), (200, 300), (299, 300)):
        found = go([(1, 2, 9), (0, start, end), (2, 4, 5)], 128, 16)[1]
        assert np.array_equal(found, whole[0][start:end]), f"[{start}, {end}) differs"


@pytest.mark.parametrize("page_size", [1, 48, 256])
def test_every_page_size_is_close_to_exact_attention(make_world, page_size):
    world = make_world((150, 30), dtype="float32", page_size=page_size)
    out = run(world, [(0, 0, 150), (1, 0, 30)], 184, 8)
    for sequence, found in enumerate(out):
        expected = exact_attention(world, sequence, 0, None)
        assert np.abs(found - expected).max() < 2e-6


def test_the_width_of_the_page_table_changes_no_bit(make_world):
    world = make_world((150,))
    narrow = run(world, [(0, 0, 150)], 160, 8)[0]
    world.max_pages = 64
    wide = run(world, [(0, 0, 150)], 160, 8)[0]
    assert np.array_equal(narrow, wide)


def test_what_unowned_memory_holds_changes_no_bit(make_world):
    world = make_world((150, 20))
    rows = [(0, 0, 150), (1, 0, 20)]
    dirty = run(world, rows, 176, 8, kv=world.pages(fill=np.nan))
    clean = run(world, rows, 176, 8, kv=world.pages(fill=0.0))
    assert all(map(np.array_equal, dirty, clean))
    assert all(np.isfinite(out).all() for out in dirty)


def compiled_step(num_pages, dtype):
    """The compiled write and attention of a decode step over a donated pool."""
    kv = make_kv_pages(num_pages, 16, 2, 64, dtype, "cpu")
    shapes = (8, 8, 8, 9, 8)
    batch = RaggedBatch(*(jnp.zeros(n, jnp.int32) for n in shapes), jnp.zeros((8, 16), jnp.int32))

    def step(kv, q, k, v, batch):
        kv = write_kv(kv, k, v, batch)
        return kv, cpu.attend(q, kv, batch, scale=0.125, is_decode=True)

    q, k = (jnp.zeros((8, heads, 64), jnp.bfloat16) for heads in (6, 2))
    return jax.jit(step, donate_argnums=0).lower(kv, q, k, k, batch).compile(), kv


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "int8"])
def test_a_step_needs_no_memory_that_grows_with_the_pool(dtype):
    (small, _), (large, kv) = compiled_step(64, dtype), compiled_step(4096, dtype)
    analysis = large.memory_analysis()
    assert analysis.temp_size_in_bytes == small.memory_analysis().temp_size_in_bytes
    assert analysis.alias_size_in_bytes >= sum(pages.nbytes for pages in jax.tree.leaves(kv))
