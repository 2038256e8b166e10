"""Paged attention for CPUs: plain matmuls over chunks of pages, only as far as a row reaches.

    scores [M, C] = queries [M, H] @ keys [C, H]^T            out [M, H] += weights @ values

for every KV head of a few rows at once. Rows with one token, sorted by length, go in groups that
share every operation (XLA spreads large operations over the cores); the other rows go one by one
in tiles of their tokens. The softmax runs online over chunks that start at position 0 of every
row. A token's result has the same bits whether it is the one token of a decode row or sits
anywhere in a tile of a prefill: its chunks are the same, the matmuls are bit-equal per row for
every M >= 8, and a chunk in which it sees nothing changes nothing (weights 0, rescaling by 1).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.cpu_layouts import QueryLayout, score, weigh
from pallas_kernels.paged_attention.pages import KVScales, PlainPages, from_stored
from pallas_kernels.paged_attention.reference import MASKED
from pallas_kernels.row_sum import row_sum

CHUNK_TOKENS = 128
TILE_TOKENS = 16
GROUP_ROWS = 8
COMPUTED_AS = {"float16": "float32"}
"""CPUs multiply float16 slowly, and in an order that depends on the number of rows."""


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What is the same for every row of one call.

    Attributes:
        scale: multiplies the scores.
        k_scale_K11, v_scale_K11: of 8-bit pages; None for 1.
        sinks_Q: float32; None for none.
    """

    scale: float
    window: int
    softcap: float | None
    k_scale_K11: jax.Array | None
    v_scale_K11: jax.Array | None
    sinks_Q: jax.Array | None


class _Rows(NamedTuple):
    """Where the keys and values of B rows are."""

    page_ids_BP: jax.Array
    kv_len_B: jax.Array


class _Singles(NamedTuple):
    """The rows that have one token in this step: first in `order_R`, longest first.

    Attributes:
        order_R: a permutation of all rows.
        place_R: its inverse.
        num_singles: how many there are.
    """

    order_R: jax.Array
    place_R: jax.Array
    num_singles: jax.Array


def attend(
    q_TQH: jax.Array,
    kv: PlainPages,
    batch: RaggedBatch,
    *,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    sinks_Q: jax.Array | None = None,
    scales: KVScales | None = None,
    is_decode: bool,
) -> jax.Array:
    """Same contract as `reference.attend`; `is_decode` promises that row r owns just token r."""
    k_scale_K11, v_scale_K11 = (x_K[:, None, None] for x_K in scales) if scales else (None, None)
    settings = _Settings(scale, window, softcap, k_scale_K11, v_scale_K11, sinks_Q)
    batch = batch._replace(page_table_RP=_whole_chunks(batch.page_table_RP, kv.page_size))
    num_new_R = batch.query_starts_R1[1:] - batch.query_starts_R1[:-1]
    singles = _find_singles(num_new_R, batch.kv_lens_R)
    o_RQH = _attend_singles(q_TQH, kv, batch, singles, settings)
    if is_decode:
        o_TQH = o_RQH
    else:
        is_single_T = (num_new_R == 1)[batch.row_T]
        o_TQH = _attend_tiles(q_TQH, kv, batch, settings)
        o_TQH = jnp.where(is_single_T[:, None, None], o_RQH[batch.row_T], o_TQH)
    return jnp.where((batch.positions_T >= 0)[:, None, None], o_TQH, 0.0)


def _whole_chunks(page_table_RP: jax.Array, page_size: int) -> jax.Array:
    """The page table widened with the trash page to a whole number of chunks."""
    missing = -page_table_RP.shape[1] % _pages_per_chunk(page_size)
    return jnp.pad(page_table_RP, ((0, 0), (0, missing)))


def _pages_per_chunk(page_size: int) -> int:
    return max(1, CHUNK_TOKENS // page_size)


def _find_singles(num_new_R: jax.Array, kv_lens_R: jax.Array) -> _Singles:
    is_single_R = num_new_R == 1
    order_R = jnp.argsort(jnp.where(is_single_R, -kv_lens_R, 1))
    return _Singles(order_R, jnp.argsort(order_R), jnp.sum(is_single_R.astype(jnp.int32)))


def _attend_singles(
    q_TQH: jax.Array, kv: PlainPages, batch: RaggedBatch, singles: _Singles, settings: _Settings
) -> jax.Array:
    """Rows with one token, in groups of about one length: `[R, Q, H]`, zeros for other rows."""
    num_rows = len(singles.order_R)
    group_rows = min(GROUP_ROWS, num_rows)
    missing = -num_rows % group_rows
    order_X = jnp.pad(singles.order_R, (0, missing))
    token_X = batch.query_starts_R1[order_X]

    def attend_group(group_index: jax.Array, o_XQH: jax.Array) -> jax.Array:
        start = group_index * group_rows
        place_B = start + jnp.arange(group_rows, dtype=jnp.int32)
        row_B = lax.dynamic_slice_in_dim(order_X, start, group_rows)
        token_B = lax.dynamic_slice_in_dim(token_X, start, group_rows)
        kv_len_B = jnp.where(place_B < singles.num_singles, batch.kv_lens_R[row_B], 0)
        rows = _Rows(batch.page_table_RP[row_B], kv_len_B)
        position_B1 = kv_len_B[:, None] - 1
        o_BXQH = _attend_rows(q_TQH[token_B][:, None], position_B1, rows, kv, settings)
        return lax.dynamic_update_slice_in_dim(o_XQH, o_BXQH[:, 0], start, axis=0)

    num_groups = (singles.num_singles + group_rows - 1) // group_rows
    o_XQH = jnp.zeros((num_rows + missing, *q_TQH.shape[1:]), jnp.float32)
    return lax.fori_loop(0, num_groups, attend_group, o_XQH)[singles.place_R]


def _attend_tiles(
    q_TQH: jax.Array, kv: PlainPages, batch: RaggedBatch, settings: _Settings
) -> jax.Array:
    """Tiles of tokens of one row, in order, for rows with more than one token.

    The last tile of a row may reach past it; what it writes there is overwritten by the tile of
    the next such row, or belongs to rows of one token.
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
        position_X = kv_len - num_new + offset + jnp.arange(TILE_TOKENS, dtype=jnp.int32)
        q_XQH = lax.dynamic_slice_in_dim(q_TQH, start, TILE_TOKENS)
        rows = _Rows(batch.page_table_RP[row][None], kv_len[None])
        o_BXQH = _attend_rows(q_XQH[None], position_X[None], rows, kv, settings)
        return lax.dynamic_update_slice_in_dim(o_TQH, o_BXQH[0], start, axis=0)

    o_TQH = jnp.zeros(q_TQH.shape, jnp.float32)
    return lax.fori_loop(0, tile_ends_R[-1], attend_tile, o_TQH)[:num_tokens]


def _tile_ends(batch: RaggedBatch) -> jax.Array:
    """Running number of tiles: row r has tiles `[ends[r - 1], ends[r])`; rows of one token none."""
    num_new_R = batch.query_starts_R1[1:] - batch.query_starts_R1[:-1]
    num_tiles_R = (num_new_R + TILE_TOKENS - 1) // TILE_TOKENS
    return jnp.cumsum(jnp.where(num_new_R == 1, 0, num_tiles_R))


def _attend_rows(
    q_BXQH: jax.Array,
    position_BX: jax.Array,
    rows: _Rows,
    kv: PlainPages,
    settings: _Settings,
) -> jax.Array:
    """Attention of X consecutive tokens of each of B rows, float32 `[B, X, Q, H]`.

    Rows with `kv_len` 0 are padding and get zeros.
    """
    layout = QueryLayout(q_BXQH, kv.width // q_BXQH.shape[3])
    dtype, num_kv_heads, head_dim = q_BXQH.dtype, layout.num_kv_heads, layout.head_dim
    q_BKMH = layout.q_BKMH.astype(COMPUTED_AS.get(str(dtype), dtype))
    position_B1M = layout.positions(position_BX)
    pages_per_chunk = _pages_per_chunk(kv.page_size)
    chunk_tokens = pages_per_chunk * kv.page_size

    def read(pages: jax.Array, chunk_index: jax.Array, is_written_BC: jax.Array) -> jax.Array:
        first_page = chunk_index * pages_per_chunk
        ids_BP = lax.dynamic_slice_in_dim(rows.page_ids_BP, first_page, pages_per_chunk, axis=1)
        stored_BCKH = pages[ids_BP].reshape(*is_written_BC.shape, num_kv_heads, head_dim)
        # Not yet written slots may hold NaN of an earlier owner, and 0 * NaN is NaN.
        stored_BCKH = jnp.where(is_written_BC[:, :, None, None], stored_BCKH, 0)
        return from_stored(stored_BCKH.swapaxes(1, 2), kv.dtype).astype(q_BKMH.dtype)

    def attend_chunk(chunk_index: jax.Array, state: _Softmax) -> _Softmax:
        position_C = chunk_index * chunk_tokens + jnp.arange(chunk_tokens, dtype=jnp.int32)
        is_written_BC = position_C[None, :] < rows.kv_len_B[:, None]
        k_BKCH, v_BKCH = (read(pages, chunk_index, is_written_BC) for pages in (kv.k_NZX, kv.v_NZX))
        scores_BKMC = _scaled(score(q_BKMH, k_BKCH), settings)
        sees_B1MC = _sees(position_B1M, position_C, settings.window)
        sees_B1MC = sees_B1MC & is_written_BC[:, None, None, :]
        scores_BKMC = jnp.where(sees_B1MC, scores_BKMC, MASKED)
        max_BKM1 = jnp.maximum(state.max_BKM1, jnp.max(scores_BKMC, axis=-1, keepdims=True))
        weights_BKMC = jnp.where(sees_B1MC, jnp.exp(scores_BKMC - max_BKM1), 0.0)
        keep_BKM1 = jnp.exp(state.max_BKM1 - max_BKM1)
        # A sum is never negative: the maximum only keeps LLVM from contracting this into an FMA,
        # which it does for some shapes and not for others.
        kept_BKM1 = jnp.maximum(state.sum_BKM1 * keep_BKM1, 0.0)
        sum_BKM1 = kept_BKM1 + row_sum(weights_BKMC)
        o_BKMH = state.o_BKMH * keep_BKM1 + weigh(weights_BKMC, v_BKCH)
        return _Softmax(max_BKM1, sum_BKM1, o_BKMH)

    per_row = (*q_BKMH.shape[:3], 1)
    # A sink is the start of the sum: weight 1 at its own maximum, and no value.
    sinks = None if settings.sinks_Q is None else layout.per_head(settings.sinks_Q)
    start = _Softmax(
        jnp.full(per_row, MASKED, jnp.float32) if sinks is None else sinks,
        jnp.full(per_row, 0.0 if sinks is None else 1.0, jnp.float32),
        jnp.zeros(q_BKMH.shape, jnp.float32),
    )
    first, end = _chunk_range(position_BX, rows.kv_len_B, chunk_tokens, settings.window)
    softmax = lax.fori_loop(first, end, attend_chunk, start)
    # Rows without keys are padding; a NaN sum is not zero and must reach the sampler's guard.
    o_BKMH = jnp.where(softmax.sum_BKM1 == 0, 0.0, softmax.o_BKMH / softmax.sum_BKM1)
    if settings.v_scale_K11 is not None:
        o_BKMH = o_BKMH * settings.v_scale_K11[None]
    return layout.tokens(o_BKMH)


class _Softmax(NamedTuple):
    """An online softmax over the chunks so far."""

    max_BKM1: jax.Array
    sum_BKM1: jax.Array
    o_BKMH: jax.Array


def _sees(position_B1M: jax.Array, position_C: jax.Array, window: int) -> jax.Array:
    """Whether the token of each matmul row sees each key position, bool `[B, 1, M, C]`."""
    distance_B1MC = position_B1M[..., None] - position_C[None, None, None, :]
    sees_B1MC = distance_B1MC >= 0
    return sees_B1MC & (distance_B1MC < window) if window else sees_B1MC


def _chunk_range(
    position_BX: jax.Array, kv_len_B: jax.Array, chunk_tokens: int, window: int
) -> tuple[jax.Array, jax.Array]:
    """Chunks `[first, end)` in which any token of any row sees anything."""
    num_seen = jnp.max(jnp.minimum(kv_len_B, position_BX[:, -1] + 1))
    end = (num_seen + chunk_tokens - 1) // chunk_tokens
    if not window:
        return jnp.zeros_like(end), end
    first_seen_B = jnp.maximum(position_BX[:, 0] - window + 1, 0)
    first_seen = jnp.min(jnp.where(kv_len_B > 0, first_seen_B, num_seen))
    return first_seen // chunk_tokens, end


def _scaled(scores_BKMC: jax.Array, settings: _Settings) -> jax.Array:
    if settings.k_scale_K11 is not None:
        scores_BKMC = scores_BKMC * settings.k_scale_K11[None]
    scores_BKMC = scores_BKMC * settings.scale
    if settings.softcap is None:
        return scores_BKMC
    return settings.softcap * jnp.tanh(scores_BKMC / settings.softcap)
