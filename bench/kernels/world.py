"""A load on the device: random keys and values in scattered pages, queries, the ragged batch.

Everything goes through the public API of `pallas_kernels.paged_attention`, so a world exists for
every kind of attention. Slots nobody writes hold NaN: a kernel that reads them shows it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.kernels.loads import HEADS, Heads, Load
from pallas_kernels.paged_attention import (
    AttentionShape,
    Choice,
    KVPages,
    KVScales,
    RaggedBatch,
    choose,
    make_kv_pages,
    write_kv,
)

DTYPE = "bfloat16"
SMALLEST_BUCKET = 8
CHUNK_TOKENS = 4096
"""Tokens that are written into the pages at once."""
SCALE = 0.05
NAN_BITS = {"uint16": 0x7FC0, "uint32": 0x7FC07FC0}
"""NaN of bfloat16, and two of them."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the tokens of a load lie, as numpy arrays.

    Attributes:
        table_RP: pages of each row, scattered over the pool.
        row_X, position_X: of every token that is in pages, row by row.
        num_pages: of the pool, the trash page included.
    """

    table_RP: np.ndarray
    row_X: np.ndarray
    position_X: np.ndarray
    num_pages: int


def choose_kind(load: Load) -> Choice:
    """The attention that the engine would take for this load on the device of this process."""
    heads = HEADS[load.heads]
    lengths = load.row_lengths
    shape = AttentionShape(
        **dataclasses.asdict(heads),
        page_size=load.page_size,
        dtype=DTYPE,
        kv_dtype=load.kv_dtype,
        max_rows=padded(len(lengths)),
        max_pages_per_row=max(-(-kv_len // load.page_size) for kv_len, _ in lengths),
    )
    return choose(jax.default_backend(), shape, jax.devices()[0])


def place(load: Load) -> Places:
    """Give every row its pages, in an order without order."""
    counts = [-(-kv_len // load.page_size) for kv_len, _ in load.row_lengths]
    free = np.random.default_rng(0).permutation(np.arange(1, sum(counts) + 1))
    table = np.zeros((padded(len(counts)), max(counts)), np.int32)
    for row, pages in enumerate(np.split(free, np.cumsum(counts)[:-1])):
        table[row, : len(pages)] = pages
    lengths = [kv_len for kv_len, _ in load.row_lengths]
    row_X = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    position_X = np.concatenate([np.arange(kv_len, dtype=np.int32) for kv_len in lengths])
    return Places(table, row_X, position_X, sum(counts) + 1)


def make_batch(load: Load, places: Places) -> RaggedBatch:
    """The step's new tokens, rows in order, padded as the engine pads them."""
    lengths = load.row_lengths
    is_new_X = np.concatenate([np.arange(kv) >= kv - new for kv, new in lengths])
    kv_lens = np.zeros(len(places.table_RP), np.int32)
    kv_lens[: len(lengths)] = [kv_len for kv_len, _ in lengths]
    row_T, position_T = places.row_X[is_new_X], places.position_X[is_new_X]
    return _batch(row_T, position_T, kv_lens, places.table_RP, padded(len(row_T)))


def fill_pages(kind: str, load: Load, places: Places, seed: int) -> KVPages:
    """Pages of one layer that hold the load's random keys and values; NaN elsewhere.

    Equal seeds give equal numbers in every kind of pages.
    """
    heads = HEADS[load.heads]
    shape = (places.num_pages, load.page_size, heads.num_kv_heads, heads.head_dim)
    kv = jax.jit(lambda: _poisoned(make_kv_pages(*shape, load.kv_dtype, kind)))()
    for index, batch in enumerate(_chunks(places)):
        kv = _write(kv, random_chunk(heads, seed, index), batch, scales_of(load))
    return kv


@functools.partial(jax.jit, donate_argnums=0)
def _write(
    kv: KVPages, new: tuple[jax.Array, jax.Array], batch: RaggedBatch, scales: KVScales | None
) -> KVPages:
    return write_kv(kv, *new, batch, scales)


def scales_of(load: Load) -> KVScales | None:
    """Those of 8-bit pages: they bring random numbers, at most about 5, into range."""
    if load.kv_dtype == DTYPE:
        return None
    scale_K = jnp.full((HEADS[load.heads].num_kv_heads,), SCALE, jnp.float32)
    return KVScales(scale_K, scale_K)


@functools.partial(jax.jit, static_argnums=0)
def random_chunk(heads: Heads, seed: int, index: int) -> tuple[jax.Array, jax.Array]:
    """Keys and values `[chunk, K, H]` of chunk `index` of the tokens of `Places`."""
    key = jax.random.fold_in(jax.random.key(seed), index)
    shape = (2, CHUNK_TOKENS, heads.num_kv_heads, heads.head_dim)
    k, v = jax.random.normal(key, shape, jnp.float32).astype(DTYPE)
    return k, v


def random_queries(load: Load, num_tokens: int) -> jax.Array:
    """bfloat16 `[T, Q, H]`."""
    heads = HEADS[load.heads]
    shape = (num_tokens, heads.num_heads, heads.head_dim)
    return jax.random.normal(jax.random.key(99), shape, jnp.float32).astype(DTYPE)


def padded(number: int) -> int:
    """Rows or tokens as the engine pads them at least."""
    return max(SMALLEST_BUCKET, -(-number // SMALLEST_BUCKET) * SMALLEST_BUCKET)


def _chunks(places: Places) -> Iterator[RaggedBatch]:
    """All tokens, `CHUNK_TOKENS` at a time, as the batches that write them."""
    for start in range(0, len(places.row_X), CHUNK_TOKENS):
        row_T = places.row_X[start : start + CHUNK_TOKENS]
        position_T = places.position_X[start : start + CHUNK_TOKENS]
        kv_lens = np.zeros(len(places.table_RP), np.int32)
        kv_lens[row_T] = position_T + 1  # the last token of a row decides
        yield _batch(row_T, position_T, kv_lens, places.table_RP, CHUNK_TOKENS)


def _batch(
    row_T: np.ndarray,
    position_T: np.ndarray,
    kv_lens: np.ndarray,
    table_RP: np.ndarray,
    num_tokens: int,
) -> RaggedBatch:
    missing = num_tokens - len(row_T)
    arrays = (
        np.zeros(num_tokens, np.int32),
        np.pad(position_T, (0, missing), constant_values=-1),
        np.pad(row_T, (0, missing)),
        np.searchsorted(row_T, np.arange(len(table_RP) + 1)).astype(np.int32),
        kv_lens,
        table_RP,
    )
    return RaggedBatch(*map(jnp.asarray, arrays))


def _poisoned(kv: KVPages) -> Any:
    def poison(pages: jax.Array) -> jax.Array:
        if jnp.issubdtype(pages.dtype, jnp.floating):
            return jnp.full_like(pages, jnp.nan)
        return jnp.full_like(pages, NAN_BITS.get(str(pages.dtype), 0))

    return jax.tree.map(poison, kv)
