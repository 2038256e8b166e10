"""Who computes what: work lists computed on the device, so that no length ever visits the host.

A list has a fixed number of places and a count of those in use. The blocks of a kernel take its
items in turn: block b takes items b, b + num_blocks, b + 2 * num_blocks, ...
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention.gpu.mosaic import LOAD_ROWS

ROW, FIRST, END, KV_LEN = 0, 1, 2, 3
"""Columns of `Splits.items_W4`."""

NUM_DOUBLINGS = 16
"""Sizes that pieces may have."""


class Splits(NamedTuple):
    """The pages of every decode row cut into pieces, one after another. All int32.

    Attributes:
        items_W4: row, its KV tiles `[first, end)`, and its kv_len. Unused places are zeros.
        count_1: items in use.
        starts_R1: row r has items `[starts[r], starts[r + 1])`.
    """

    items_W4: jax.Array
    count_1: jax.Array
    starts_R1: jax.Array


def split_rows(
    kv_lens_R: jax.Array,
    *,
    tile: int,
    window: int,
    split_tiles: int,
    most_pieces: int,
    max_splits: int,
) -> Splits:
    """Cut rows into pieces of `split_tiles` tiles of `tile` tokens, long rows into longer ones.

    Where a row is cut depends on its own length alone, so its result has the same bits in any
    batch. Only if the pieces of all rows do not fit `max_splits` places are they made longer, by
    the smallest power of two that makes them fit.

    Args:
        kv_lens_R: tokens in pages, 0 for rows that take no part.
        window: as in `reference.attend`; tiles that no query sees are left out.
        most_pieces: of one row; its pieces are doubled until they are no more.
        max_splits: places of the list, at least one a row.
    """
    first_R = first_tile(kv_lens_R - 1, tile, window)
    end_R = (kv_lens_R + tile - 1) // tile
    num_tiles_R = jnp.where(kv_lens_R > 0, end_R - first_R, 0)
    size_R = _fitting(num_tiles_R, _doubled(num_tiles_R, split_tiles, most_pieces), max_splits)
    ends_R = jnp.cumsum(-(-num_tiles_R // size_R), dtype=jnp.int32)
    starts_R1 = jnp.pad(ends_R, (1, 0))
    place_W = jnp.arange(max_splits, dtype=jnp.int32)
    row_W = jnp.searchsorted(ends_R, place_W, side="right", method="compare_all")
    row_W = jnp.minimum(row_W.astype(jnp.int32), kv_lens_R.shape[0] - 1)
    first_W = first_R[row_W] + (place_W - starts_R1[row_W]) * size_R[row_W]
    end_W = jnp.minimum(first_W + size_R[row_W], end_R[row_W])
    items_W4 = jnp.stack([row_W, first_W, end_W, kv_lens_R[row_W]], axis=1)
    is_used_W = place_W < ends_R[-1]
    return Splits(jnp.where(is_used_W[:, None], items_W4, 0), ends_R[-1:], starts_R1)


def first_tile(position_X: jax.Array, tile: int, window: int) -> jax.Array:
    """The first tile that a query at each position sees."""
    if not window:
        return jnp.zeros_like(position_X)
    return jnp.maximum(position_X - window + 1, 0) // tile


def _doubled(num_tiles_R: jax.Array, split_tiles: int, most_pieces: int) -> jax.Array:
    """Tiles of a piece of each row: `split_tiles` doubled until the row has few enough of them."""
    sizes_X = split_tiles * 2 ** jnp.arange(NUM_DOUBLINGS, dtype=jnp.int32)
    is_few_RX = num_tiles_R[:, None] <= most_pieces * sizes_X[None, :]
    return sizes_X[jnp.argmax(is_few_RX, axis=1)]


def _fitting(num_tiles_R: jax.Array, size_R: jax.Array, max_splits: int) -> jax.Array:
    """Tiles of a piece of each row: `size_R`, or the smallest doubling of all that fits."""
    factor_X = 2 ** jnp.arange(NUM_DOUBLINGS, dtype=jnp.int32)
    sizes_XR = factor_X[:, None] * size_R[None, :]
    needed_X = jnp.sum(-(-num_tiles_R[None, :] // sizes_XR), axis=1, dtype=jnp.int32)
    return size_R * factor_X[jnp.argmax(needed_X <= max_splits)]


class QueryTiles(NamedTuple):
    """The tokens of every row that computes several, cut into tiles of queries. All int32.

    Attributes:
        items_W8: by the columns below. Unused places are zeros.
        count_1: items in use.
    """

    items_W8: jax.Array
    count_1: jax.Array


TILE_ROW, TOKEN, FIRST_OWN, END_OWN, POSITION, TILE_KV_LEN, FIRST_TILE, END_TILE = range(8)
"""Columns of `QueryTiles.items_W8`: the row; the first token of the tile on the T axis; which of
the tile's tokens are the row's, `[first, end)`; the position of the first token, as if it were the
row's; the row's kv_len; its KV tiles `[first, end)` that any of its tokens sees."""


def tile_queries(
    query_starts_R1: jax.Array,
    kv_lens_R: jax.Array,
    num_tokens: int,
    *,
    query_tile: int,
    kv_tile: int,
    window: int,
) -> QueryTiles:
    """Cut rows of two or more tokens into tiles, the last tile of a row (the longest work) first.

    Tiles start where loads may, at multiples of `LOAD_ROWS`: the first of a row may begin with up
    to seven tokens of others. Padding tokens are a last row without keys, so that the kernel
    writes zeros for them.

    Args:
        num_tokens: T.
    """
    start_X, num_new_X, kv_len_X = _rows_and_padding(query_starts_R1, kv_lens_R, num_tokens)
    others_X = jnp.where(num_new_X > 0, start_X % LOAD_ROWS, 0)
    covered_X = others_X + num_new_X
    ends_X = jnp.cumsum((covered_X + query_tile - 1) // query_tile, dtype=jnp.int32)
    num_rows = kv_lens_R.shape[0]
    most_rows = min(num_rows, num_tokens // 2) + 1
    place_W = jnp.arange((num_tokens + (LOAD_ROWS - 1) * most_rows) // query_tile + most_rows)
    row_W = jnp.searchsorted(ends_X, place_W, side="right", method="compare_all")
    row_W = jnp.minimum(row_W, num_rows).astype(jnp.int32)
    offset_W = (ends_X[row_W] - 1 - place_W).astype(jnp.int32) * query_tile
    others_W = others_X[row_W]
    first_own_W = jnp.maximum(others_W - offset_W, 0)
    end_own_W = jnp.minimum(covered_X[row_W] - offset_W, query_tile)
    kv_len_W = kv_len_X[row_W]
    position_W = kv_len_W - covered_X[row_W] + offset_W
    first_W = first_tile(position_W + first_own_W, kv_tile, window)
    end_W = jnp.where(kv_len_W > 0, (position_W + end_own_W + kv_tile - 1) // kv_tile, 0)
    # A padding token's position is negative: it sees nothing.
    columns = (
        jnp.minimum(row_W, num_rows - 1),
        start_X[row_W] - others_W + offset_W,
        first_own_W,
        end_own_W,
        position_W,
        kv_len_W,
        jnp.minimum(first_W, end_W),
        end_W,
    )
    is_used_W = place_W < ends_X[-1]
    items_W8 = jnp.where(is_used_W[:, None], jnp.stack(columns, axis=1), 0)
    return QueryTiles(items_W8, ends_X[-1:])


def _rows_and_padding(
    query_starts_R1: jax.Array, kv_lens_R: jax.Array, num_tokens: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Start, length and kv_len of all rows, and of the padding as one row more.

    Rows of a single token have no length here: they are decode's.
    """
    num_new_R = query_starts_R1[1:] - query_starts_R1[:-1]
    num_new_R = jnp.where(num_new_R > 1, num_new_R, 0)
    num_padding = num_tokens - query_starts_R1[-1:]
    return (
        query_starts_R1,
        jnp.concatenate([num_new_R, num_padding]),
        jnp.pad(kv_lens_R, (0, 1)),
    )
