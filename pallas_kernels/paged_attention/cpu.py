"""Paged attention for CPUs: plain matmuls over chunks of pages, only as far as a row reaches.

    scores [M, C] = queries [M, *] @ keys [C, *]^T            out [M, *] += weights @ values

Pages are viewed as `[tokens, K*H]` and need no transposing; how the queries of a tile become the
M rows is the business of a layout. The softmax runs online over chunks that start at position 0 of
every row. A token's result has the same bits whether it is the one token of a decode row or sits
anywhere in a tile of a prefill: its chunks are the same, the matmuls are bit-equal per row for
every M >= 8, and a chunk in which it sees nothing changes nothing (weights 0, rescaling by 1).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.pages import KVPages, from_stored
from pallas_kernels.paged_attention.reference import MASKED, visible
from pallas_kernels.row_sum import row_sum

CHUNK_TOKENS = 128
TILE_TOKENS = 16
MIN_MATMUL_ROWS = 8
COMPUTED_AS = {"float16": "float32"}
"""CPUs multiply float16 slowly, and in an order that depends on the number of rows."""


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What is the same for every row of one call."""

    scale: float
    window: int
    softcap: float | None


class _Row(NamedTuple):
    """Where one row's keys and values are."""

    page_ids_P: jax.Array
    kv_len: jax.Array


def attend(
    q_TQH: jax.Array,
    kv: KVPages,
    batch: RaggedBatch,
    *,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    is_decode: bool,
) -> jax.Array:
    """Same contract as `reference.attend`; `is_decode` promises that row r owns just token r."""
    settings = _Settings(scale, window, softcap)
    batch = batch._replace(page_table_RP=_whole_chunks(batch.page_table_RP, kv[0].shape[1]))
    attend_all = _attend_rows if is_decode else _attend_tiles
    o_TQH = attend_all(q_TQH, kv, batch, settings)
    return jnp.where((batch.positions_T >= 0)[:, None, None], o_TQH, 0.0)


def _whole_chunks(page_table_RP: jax.Array, page_size: int) -> jax.Array:
    """The page table widened with the trash page to a whole number of chunks."""
    missing = -page_table_RP.shape[1] % _pages_per_chunk(page_size)
    return jnp.pad(page_table_RP, ((0, 0), (0, missing)))


def _pages_per_chunk(page_size: int) -> int:
    return max(1, CHUNK_TOKENS // page_size)


def _attend_rows(
    q_TQH: jax.Array, kv: KVPages, batch: RaggedBatch, settings: _Settings
) -> jax.Array:
    """One token a row. Padding rows come last and are not visited."""

    def attend_row(row: jax.Array, o_TQH: jax.Array) -> jax.Array:
        where = _Row(batch.page_table_RP[row], batch.kv_lens_R[row])
        q_XQH = lax.dynamic_slice_in_dim(q_TQH, row, 1)
        position_X = lax.dynamic_slice_in_dim(batch.positions_T, row, 1)
        o_XQH = _attend_tile(q_XQH, position_X, where, kv, settings)
        return lax.dynamic_update_slice_in_dim(o_TQH, o_XQH, row, axis=0)

    num_rows = jnp.sum((batch.kv_lens_R > 0).astype(jnp.int32))
    return lax.fori_loop(0, num_rows, attend_row, jnp.zeros(q_TQH.shape, jnp.float32))


def _attend_tiles(
    q_TQH: jax.Array, kv: KVPages, batch: RaggedBatch, settings: _Settings
) -> jax.Array:
    """Tiles of tokens of one row, in order.

    The last tile of a row may reach past it; what it writes there is overwritten by the tile of
    the next row, which starts exactly where this row ends.
    """
    padding = ((0, TILE_TOKENS), (0, 0), (0, 0))
    q_TQH, num_tokens = jnp.pad(q_TQH, padding), q_TQH.shape[0]
    tile_ends_R = _tile_ends(batch)

    def attend_tile(tile_index: jax.Array, o_TQH: jax.Array) -> jax.Array:
        row = jnp.searchsorted(tile_ends_R, tile_index, side="right", method="compare_all")
        is_before = jnp.arange(tile_ends_R.shape[0]) < row
        first_tile = jnp.max(jnp.where(is_before, tile_ends_R, 0))
        offset = (tile_index - first_tile) * TILE_TOKENS
        start = batch.query_starts_R1[row] + offset
        num_new = batch.query_starts_R1[row + 1] - batch.query_starts_R1[row]
        kv_len = batch.kv_lens_R[row]
        positions = kv_len - num_new + offset + jnp.arange(TILE_TOKENS, dtype=jnp.int32)
        q = lax.dynamic_slice_in_dim(q_TQH, start, TILE_TOKENS)
        where = _Row(batch.page_table_RP[row], kv_len)

        def attend_one() -> jax.Array:
            o = _attend_tile(q[:1], positions[:1], where, kv, settings)
            return jnp.pad(o, ((0, TILE_TOKENS - 1), (0, 0), (0, 0)))

        def attend_all() -> jax.Array:
            return _attend_tile(q, positions, where, kv, settings)

        # Most rows of a mixed step decode one token: they need no tile.
        o = lax.cond(num_new == 1, attend_one, attend_all)
        return lax.dynamic_update_slice_in_dim(o_TQH, o, start, axis=0)

    o_TQH = jnp.zeros(q_TQH.shape, jnp.float32)
    return lax.fori_loop(0, tile_ends_R[-1], attend_tile, o_TQH)[:num_tokens]


def _tile_ends(batch: RaggedBatch) -> jax.Array:
    """Running number of tiles: row r has tiles `[ends[r - 1], ends[r])`."""
    num_new_R = batch.query_starts_R1[1:] - batch.query_starts_R1[:-1]
    return jnp.cumsum((num_new_R + TILE_TOKENS - 1) // TILE_TOKENS)


def _attend_tile(
    q_XQH: jax.Array,
    position_X: jax.Array,
    row: _Row,
    kv: KVPages,
    settings: _Settings,
) -> jax.Array:
    """Attention of X consecutive tokens of one row, float32 `[X, Q, H]`."""
    num_kv_heads = kv[0].shape[2] // q_XQH.shape[2]
    is_block_diagonal = len(q_XQH) == 1 and q_XQH.dtype == jnp.bfloat16
    layout = _BlockDiagonal if is_block_diagonal else _HeadByHead
    return _attend_pages(layout(q_XQH, num_kv_heads), position_X, row, kv, settings)


class _Layout(Protocol):
    """How queries of a tile are laid out as the M rows of plain matmuls."""

    def queries(self) -> jax.Array:
        """`[M, *]`."""
        ...

    def positions(self, position_X: jax.Array) -> jax.Array:
        """The position of each of the M rows."""
        ...

    def scores(self, q_MY: jax.Array, k_CY: jax.Array) -> jax.Array:
        """`[M, C]`."""
        ...

    def weigh(self, weights_MC: jax.Array, v_CY: jax.Array) -> jax.Array:
        """`[M, *]`."""
        ...

    def tokens(self, o_MY: jax.Array) -> jax.Array:
        """Back to `[X, Q, H]`."""
        ...


class _BlockDiagonal:
    """Few queries: all heads in one product, `[X*Q, K*H]` with zeros outside a head's columns.

    The zeros are multiplied too, which costs less than a product a head would (measured: half).
    Only for bfloat16: float32 products of some widths are summed in another order than this.
    """

    def __init__(self, q_XQH: jax.Array, num_kv_heads: int) -> None:
        self.q_XQH, self.num_kv_heads = q_XQH, num_kv_heads
        self.num_queries = q_XQH.shape[0] * q_XQH.shape[1]
        self.missing = max(0, MIN_MATMUL_ROWS - self.num_queries)

    def queries(self) -> jax.Array:
        q_MY = _block_diagonal(self.q_XQH, self.num_kv_heads)
        return jnp.pad(q_MY, ((0, self.missing), (0, 0)))

    def positions(self, position_X: jax.Array) -> jax.Array:
        return jnp.pad(jnp.repeat(position_X, self.q_XQH.shape[1]), (0, self.missing))

    def scores(self, q_MY: jax.Array, k_CY: jax.Array) -> jax.Array:
        return _matmul_transposed(q_MY, k_CY)

    def weigh(self, weights_MC: jax.Array, v_CY: jax.Array) -> jax.Array:
        return _weigh(weights_MC, v_CY)

    def tokens(self, o_MY: jax.Array) -> jax.Array:
        num_tokens, num_heads, _ = self.q_XQH.shape
        o_XQY = o_MY[: self.num_queries].reshape(num_tokens, num_heads, -1)
        return _own_columns(o_XQY, self.num_kv_heads)


class _HeadByHead:
    """Many queries: a product a KV head, rows `[K, X * G, padding]`.

    A row's sums run over the same numbers in the same order as block-diagonally, where the zeros
    between them change nothing: the bits are equal.
    """

    def __init__(self, q_XQH: jax.Array, num_kv_heads: int) -> None:
        self.q_XQH, self.num_kv_heads = q_XQH, num_kv_heads
        self.group = q_XQH.shape[1] // num_kv_heads
        self.missing = max(0, MIN_MATMUL_ROWS - q_XQH.shape[0] * self.group)

    def queries(self) -> jax.Array:
        num_tokens, _, head_dim = self.q_XQH.shape
        q_XKGH = self.q_XQH.reshape(num_tokens, self.num_kv_heads, self.group, head_dim)
        q_KYH = jnp.moveaxis(q_XKGH, 1, 0).reshape(self.num_kv_heads, -1, head_dim)
        return jnp.pad(q_KYH, ((0, 0), (0, self.missing), (0, 0))).reshape(-1, head_dim)

    def positions(self, position_X: jax.Array) -> jax.Array:
        position_Y = jnp.pad(jnp.repeat(position_X, self.group), (0, self.missing))
        return jnp.tile(position_Y, self.num_kv_heads)

    def scores(self, q_MY: jax.Array, k_CY: jax.Array) -> jax.Array:
        return jnp.concatenate(
            [_matmul_transposed(q_YH, k_CH) for q_YH, k_CH in self._heads(q_MY, k_CY)]
        )

    def weigh(self, weights_MC: jax.Array, v_CY: jax.Array) -> jax.Array:
        return jnp.concatenate([_weigh(w_YC, v_CH) for w_YC, v_CH in self._heads(weights_MC, v_CY)])

    def tokens(self, o_MY: jax.Array) -> jax.Array:
        num_tokens, num_heads, head_dim = self.q_XQH.shape
        o_KYH = o_MY.reshape(self.num_kv_heads, -1, head_dim)[:, : num_tokens * self.group]
        o_KXGH = o_KYH.reshape(self.num_kv_heads, num_tokens, self.group, head_dim)
        return jnp.moveaxis(o_KXGH, 0, 1).reshape(num_tokens, num_heads, head_dim)

    def _heads(
        self, rows_MX: jax.Array, columns_CY: jax.Array
    ) -> list[tuple[jax.Array, jax.Array]]:
        rows = jnp.split(rows_MX, self.num_kv_heads)
        return list(zip(rows, jnp.split(columns_CY, self.num_kv_heads, axis=1), strict=True))


def _block_diagonal(q_XQH: jax.Array, num_kv_heads: int) -> jax.Array:
    """`[X*Q, K*H]`: each head's query in the columns of its KV head, zeros elsewhere."""
    num_tokens, num_heads, head_dim = q_XQH.shape
    group = num_heads // num_kv_heads
    own_QK = jnp.arange(num_heads)[:, None] // group == jnp.arange(num_kv_heads)[None, :]
    q_XQKH = jnp.where(own_QK[None, :, :, None], q_XQH[:, :, None, :], 0)
    return q_XQKH.reshape(num_tokens * num_heads, num_kv_heads * head_dim)


def _own_columns(o_XQY: jax.Array, num_kv_heads: int) -> jax.Array:
    """Of each head's output over all KV heads' columns, its own: `[X, Q, H]`."""
    num_tokens, num_heads, width = o_XQY.shape
    group, head_dim = num_heads // num_kv_heads, width // num_kv_heads
    o_XKGKH = o_XQY.reshape(num_tokens, num_kv_heads, group, num_kv_heads, head_dim)
    own = [o_XKGKH[:, k, :, k] for k in range(num_kv_heads)]
    return jnp.concatenate(own, axis=1)


def _attend_pages(
    layout: _Layout,
    position_X: jax.Array,
    row: _Row,
    kv: KVPages,
    settings: _Settings,
) -> jax.Array:
    """Online softmax over the chunks of a row's pages: float32 `[X, Q, H]`, zeros for padding."""
    q_MY, position_M = layout.queries(), layout.positions(position_X)
    stored_as, q_MY = q_MY.dtype, q_MY.astype(COMPUTED_AS.get(str(q_MY.dtype), q_MY.dtype))
    pages_per_chunk = _pages_per_chunk(kv[0].shape[1])
    chunk_tokens = pages_per_chunk * kv[0].shape[1]

    def read(pages: jax.Array, chunk_index: jax.Array) -> jax.Array:
        ids = lax.dynamic_slice_in_dim(
            row.page_ids_P, chunk_index * pages_per_chunk, pages_per_chunk
        )
        return from_stored(pages[ids], stored_as).astype(q_MY.dtype).reshape(chunk_tokens, -1)

    def attend_chunk(
        chunk_index: jax.Array, state: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        max_M1, sum_M1, o_MY = state
        key_position_C = chunk_index * chunk_tokens + jnp.arange(chunk_tokens, dtype=jnp.int32)
        is_written_C = key_position_C < row.kv_len
        k_CY, v_CY = (read(pages, chunk_index) for pages in kv)
        v_CY = jnp.where(is_written_C[:, None], v_CY, 0)  # 0 * NaN is NaN
        scores_MC = _scaled(layout.scores(q_MY, k_CY), settings)
        sees_MC = visible(position_M, key_position_C, settings.window) & is_written_C[None, :]
        scores_MC = jnp.where(sees_MC, scores_MC, MASKED)
        new_max_M1 = jnp.maximum(max_M1, jnp.max(scores_MC, axis=1, keepdims=True))
        weights_MC = jnp.where(sees_MC, jnp.exp(scores_MC - new_max_M1), 0.0)
        keep_M1 = jnp.exp(max_M1 - new_max_M1)
        sum_M1 = sum_M1 * keep_M1 + row_sum(weights_MC)
        gained_MY = layout.weigh(weights_MC, v_CY)
        return new_max_M1, sum_M1, o_MY * keep_M1 + gained_MY

    num_rows = q_MY.shape[0]
    start = (
        jnp.full((num_rows, 1), MASKED, jnp.float32),
        jnp.zeros((num_rows, 1), jnp.float32),
        jnp.zeros(q_MY.shape, jnp.float32),
    )
    first, end = _chunk_range(position_X, row.kv_len, chunk_tokens, settings.window)
    _, sum_M1, o_MY = lax.fori_loop(first, end, attend_chunk, start)
    # Rows without keys are padding; a NaN sum is not zero and must reach the sampler's guard.
    return layout.tokens(jnp.where(sum_M1 == 0, 0.0, o_MY / sum_M1))


def _chunk_range(
    position_X: jax.Array, kv_len: jax.Array, chunk_tokens: int, window: int
) -> tuple[jax.Array, jax.Array]:
    """Chunks `[first, end)` in which any token of a tile sees anything."""
    num_seen = jnp.minimum(kv_len, position_X[-1] + 1)
    end = (num_seen + chunk_tokens - 1) // chunk_tokens
    if not window:
        return jnp.zeros_like(end), end
    return jnp.maximum(position_X[0] - window + 1, 0) // chunk_tokens, end


def _scaled(scores_MC: jax.Array, settings: _Settings) -> jax.Array:
    scores_MC = scores_MC * settings.scale
    if settings.softcap is None:
        return scores_MC
    return settings.softcap * jnp.tanh(scores_MC / settings.softcap)


def _weigh(weights_MC: jax.Array, v_CY: jax.Array) -> jax.Array:
    """`weights @ v`. In float32 XLA multiplies more than 48 rows in another order than fewer,
    unless the right side is transposed in memory; bfloat16 has no such border."""
    if v_CY.dtype == jnp.float32:
        return _matmul_transposed(weights_MC, lax.optimization_barrier(v_CY.T))
    dimensions = (((1,), (0,)), ((), ()))
    weights_MC = weights_MC.astype(v_CY.dtype)
    return lax.dot_general(weights_MC, v_CY, dimensions, preferred_element_type=jnp.float32)


def _matmul_transposed(left: jax.Array, right: jax.Array) -> jax.Array:
    """`left @ right.T`, summed in float32."""
    dimensions = (((1,), (1,)), ((), ()))
    return lax.dot_general(left, right, dimensions, preferred_element_type=jnp.float32)
