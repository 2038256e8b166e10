"""Paged attention for CPUs: two plain matmuls per chunk of pages, only as far as a row reaches.

Queries are laid out block-diagonally, `[tokens * Q, K*H]` with zeros outside the columns of a
head's own KV head, so that pages viewed as `[tokens, K*H]` need no transposing:

    scores [M, C] = queries [M, K*H] @ keys [C, K*H]^T        out [M, K*H] += weights @ values

The softmax runs online over chunks that start at position 0 of every row. A token's result has the
same bits whether it is the one token of a decode row or sits anywhere in a tile of a prefill: its
chunks are the same, the matmuls are bit-equal per row for every M >= 8, and a chunk in which it
sees nothing changes nothing (weights 0, rescaling by exactly 1).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.pages import KVPages, from_stored
from pallas_kernels.paged_attention.reference import MASKED, visible
from pallas_kernels.row_sum import row_sum

CHUNK_TOKENS = 128
TILE_TOKENS = 8
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
    """One token a row."""

    def attend_row(row: tuple[jax.Array, ...]) -> jax.Array:
        q_QH, position, page_ids_P, kv_len = row
        where = _Row(page_ids_P, kv_len)
        return _attend_tile(q_QH[None], position[None], where, kv, settings)[0]

    return lax.map(attend_row, (q_TQH, batch.positions_T, batch.page_table_RP, batch.kv_lens_R))


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
        o = _attend_tile(q, positions, where, kv, settings)
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
    num_tokens, num_heads, head_dim = q_XQH.shape
    num_kv_heads = kv[0].shape[2] // head_dim
    q_MY = _block_diagonal(q_XQH, num_kv_heads)
    position_M = jnp.repeat(position_X, num_heads)
    missing = max(0, MIN_MATMUL_ROWS - q_MY.shape[0])
    q_MY = jnp.pad(q_MY, ((0, missing), (0, 0)))
    position_M = jnp.pad(position_M, (0, missing))
    o_MY = _attend_pages(q_MY, position_M, row, kv, settings)
    o_XQY = o_MY[: num_tokens * num_heads].reshape(num_tokens, num_heads, -1)
    return _own_columns(o_XQY, num_kv_heads)


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
    q_MY: jax.Array,
    position_M: jax.Array,
    row: _Row,
    kv: KVPages,
    settings: _Settings,
) -> jax.Array:
    """Online softmax over the chunks of a row's pages: float32 `o_MY`, zeros if kv_len is 0."""
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
        scores_MC = _scores(q_MY, k_CY, settings)
        sees_MC = visible(position_M, key_position_C, settings.window) & is_written_C[None, :]
        scores_MC = jnp.where(sees_MC, scores_MC, MASKED)
        new_max_M1 = jnp.maximum(max_M1, jnp.max(scores_MC, axis=1, keepdims=True))
        weights_MC = jnp.where(sees_MC, jnp.exp(scores_MC - new_max_M1), 0.0)
        keep_M1 = jnp.exp(max_M1 - new_max_M1)
        sum_M1 = sum_M1 * keep_M1 + row_sum(weights_MC)
        gained_MY = _weigh(weights_MC, v_CY)
        return new_max_M1, sum_M1, o_MY * keep_M1 + gained_MY

    num_rows = q_MY.shape[0]
    start = (
        jnp.full((num_rows, 1), MASKED, jnp.float32),
        jnp.zeros((num_rows, 1), jnp.float32),
        jnp.zeros(q_MY.shape, jnp.float32),
    )
    first, end = _chunk_range(position_M[0], row.kv_len, chunk_tokens, settings.window)
    _, sum_M1, o_MY = lax.fori_loop(first, end, attend_chunk, start)
    # Rows without keys are padding; a NaN sum is not zero and must reach the sampler's guard.
    return jnp.where(sum_M1 == 0, 0.0, o_MY / sum_M1)


def _chunk_range(
    first_position: jax.Array, kv_len: jax.Array, chunk_tokens: int, window: int
) -> tuple[jax.Array, jax.Array]:
    """Chunks `[first, end)` in which the first token of a tile, or a later one, sees anything."""
    end = (kv_len + chunk_tokens - 1) // chunk_tokens
    if not window:
        return jnp.zeros_like(end), end
    return jnp.maximum(first_position - window + 1, 0) // chunk_tokens, end


def _scores(q_MY: jax.Array, k_CY: jax.Array, settings: _Settings) -> jax.Array:
    scores_MC = _matmul_transposed(q_MY, k_CY) * settings.scale
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
