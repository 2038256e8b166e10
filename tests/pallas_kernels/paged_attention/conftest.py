"""Small worlds of paged attention: sequences with known keys and values in scattered pages."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.paged_attention import KVScales, RaggedBatch, make_kv_pages, pages, write_kv


@dataclasses.dataclass
class World:
    """Sequences whose q, k, v are known at every position, and pages that hold them.

    Attributes:
        q, k, v: per sequence, float32 `[length, heads, H]`, representable in `dtype`.
        page_rows: per sequence its page ids.
        kv_dtype: of the pages; "" is `dtype`.
        scales: the pages'; None for 1.
    """

    dtype: str
    page_size: int
    q: list[np.ndarray]
    k: list[np.ndarray]
    v: list[np.ndarray]
    page_rows: list[np.ndarray]
    num_pages: int
    max_pages: int
    kv_dtype: str = ""
    scales: KVScales | None = None

    def batch(self, rows, num_tokens, num_rows):
        """Rows `(sequence, start, end)` as a ragged batch padded to the bucket."""
        positions, row_of = np.full(num_tokens, -1, np.int32), np.zeros(num_tokens, np.int32)
        kv_lens = np.zeros(num_rows, np.int32)
        table = np.zeros((num_rows, self.max_pages), np.int32)
        starts = np.zeros(num_rows + 1, np.int32)
        for r, (sequence, start, end) in enumerate(rows):
            at = starts[r]
            positions[at : at + end - start] = np.arange(start, end)
            row_of[at : at + end - start] = r
            kv_lens[r] = end
            pages = self.page_rows[sequence][: -(-end // self.page_size)]
            table[r, : len(pages)] = pages
            starts[r + 1 :] = at + end - start
        arrays = (np.zeros(num_tokens, np.int32), positions, row_of, starts, kv_lens, table)
        return RaggedBatch(*map(jnp.asarray, arrays))

    def gather(self, values, rows, num_tokens):
        """Values of the rows' tokens one after another, padded with NaN."""
        packed = np.full((num_tokens, *values[0].shape[1:]), np.nan, np.float32)
        at = 0
        for sequence, start, end in rows:
            packed[at : at + end - start] = values[sequence][start:end]
            at += end - start
        return jnp.asarray(packed).astype(self.dtype)

    def pages(self, fill=np.nan):
        """Pages that hold all keys and values; every slot not written holds `fill`."""
        num_kv_heads, head_dim = self.k[0].shape[1:]
        dtype = self.kv_dtype or self.dtype
        shape = (self.num_pages, self.page_size, num_kv_heads, head_dim)
        kv = make_kv_pages(*shape, dtype, "cpu")
        stored = pages.to_stored(jnp.asarray(fill, jnp.float32), dtype)
        kv = jax.tree.map(lambda array: jnp.full_like(array, stored), kv)
        rows = [(s, 0, len(k)) for s, k in enumerate(self.k)]
        total = sum(len(k) for k in self.k)
        batch = self.batch(rows, total, len(rows))
        return write_kv(
            kv,
            self.gather(self.k, rows, total),
            self.gather(self.v, rows, total),
            batch,
            self.scales,
        )


@pytest.fixture
def make_world():
    """Factory of worlds with seeded values."""

    def make(lengths, num_heads=6, num_kv_heads=2, head_dim=16, dtype="bfloat16", page_size=16):
        rng = np.random.default_rng(0)

        def values(heads):
            arrays = [rng.standard_normal((n, heads, head_dim), np.float32) for n in lengths]
            return [np.asarray(jnp.asarray(a).astype(dtype).astype(jnp.float32)) for a in arrays]

        per_row = [-(-n // page_size) for n in lengths]
        ids = rng.permutation(np.arange(1, sum(per_row) + 1))
        rows = np.split(ids, np.cumsum(per_row)[:-1])
        q, k, v = values(num_heads), values(num_kv_heads), values(num_kv_heads)
        return World(dtype, page_size, q, k, v, rows, sum(per_row) + 1, max(per_row) + 1)

    return make
