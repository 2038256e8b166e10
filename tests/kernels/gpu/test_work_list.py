"""Work lists and what is asked of them before any kernel runs."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.paged_attention.gpu import kv_page_bytes, make_kv_pages, supports, work_list
from pallas_kernels.paged_attention.gpu.tuning import max_splits, most_pieces, tuning
from pallas_kernels.paged_attention.gpu.work_list import END, FIRST, ROW


def split(kv_lens, *, window=0, most_pieces=64, max_splits=64):
    return work_list.split_rows(
        jnp.asarray(kv_lens, jnp.int32),
        tile=64,
        window=window,
        split_tiles=2,
        most_pieces=most_pieces,
        max_splits=max_splits,
    )


def tiles_of(splits):
    items = np.asarray(splits.items_W4)[: int(splits.count_1[0])]
    return [(row, tile) for row, first, end, _ in items.tolist() for tile in range(first, end)]


def test_every_tile_of_every_row_is_computed_once():
    lengths = [0, 1, 64, 65, 500, 0, 129]
    expected = [(r, t) for r, n in enumerate(lengths) for t in range(-(-n // 64))]
    assert tiles_of(split(lengths)) == expected


def test_tiles_before_the_window_are_left_out():
    assert tiles_of(split([300], window=64)) == [(0, 3), (0, 4)]


def test_a_row_is_cut_alike_in_any_batch():
    alone, among = split([500]), split([77, 500, 4000])
    pieces = np.asarray(among.items_W4)
    of_row = pieces[pieces[:, ROW] == 1][:, [FIRST, END]]
    assert of_row.tolist() == np.asarray(alone.items_W4)[:4, [FIRST, END]].tolist()


def test_pieces_are_made_longer_until_they_fit():
    splits = split([64 * 40, 64 * 40], max_splits=7)
    assert len(tiles_of(splits)) == 80
    assert int(splits.count_1[0]) == 6  # 16 tiles a piece: 3 a row


def test_a_long_row_is_cut_into_longer_pieces_and_its_neighbours_are_not():
    splits = split([64 * 17, 64 * 4], most_pieces=4)
    assert tiles_of(splits) == [(0, t) for t in range(17)] + [(1, t) for t in range(4)]
    assert np.asarray(splits.starts_R1).tolist() == [0, 3, 5]  # pieces of 8 tiles, and of 2


def test_the_most_pieces_of_a_row_are_not_too_many():
    assert np.asarray(split([64 * 8], most_pieces=4).starts_R1).tolist() == [0, 4]


@pytest.mark.parametrize(("num_kv_heads", "tokens"), [(8, 32768), (1, 32768), (4, 131072)])
def test_the_list_has_a_place_for_every_piece_of_a_long_row(num_kv_heads, tokens):
    sizes = tuning(128, 4, 64, num_kv_heads)
    places = max_splits(1, tokens, sizes.split_tokens, num_kv_heads, 4, 128)
    splits = split([tokens], most_pieces=most_pieces(num_kv_heads), max_splits=places)
    assert int(splits.count_1[0]) == places == most_pieces(num_kv_heads)


def tiled(starts, lengths, num_tokens):
    queries = work_list.tile_queries(
        jnp.asarray(starts), jnp.asarray(lengths), num_tokens, query_tile=128, kv_tile=64, window=0
    )
    return np.asarray(queries.items_W8)[: int(queries.count_1[0])].tolist()


def test_tokens_of_long_rows_and_padding_are_tiled_once_and_single_tokens_never():
    items = tiled([0, 130, 131, 133], [130, 900, 2], 140)
    tokens = [t + token for _, token, first, end, *_ in items for t in range(first, end)]
    assert sorted(tokens) == [t for t in range(140) if t != 130]


def test_tiles_start_where_loads_may_and_positions_follow():
    rows = [0, 3, 36, 165, 294]
    items = tiled(rows, [3, 70, 129, 129], 296)
    assert all(token % 8 == 0 for _, token, *_ in items)
    for row, token, first, _, position, kv_len, *_ in items:
        if kv_len:
            own = token + first
            assert position + first == kv_len - (rows[row + 1] - own)


def test_the_list_has_a_place_for_every_tile_of_rows_that_start_anywhere():
    for length in (122, 128, 130):
        starts = [r * length for r in range(9)]
        items = tiled(starts, [length] * 8, starts[-1] + 7)
        tokens = [t + token for _, token, first, end, *_ in items for t in range(first, end)]
        assert sorted(tokens) == list(range(starts[-1] + 7))


@pytest.mark.parametrize("head_dim", [64, 96, 128, 192, 256])
@pytest.mark.parametrize("page_size", [64, 128])
def test_the_shapes_of_the_issue_are_supported(head_dim, page_size):
    assert supports(16, 1, head_dim, page_size, "bfloat16") is None


@pytest.mark.parametrize("kv_dtype", ["int8", "float8_e4m3fn", "float8_e5m2"])
def test_8_bit_pages_of_heads_up_to_192_are_supported(kv_dtype):
    assert supports(16, 1, 192, 64, "bfloat16", kv_dtype) is None


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ((32, 8, 80, 64, "bfloat16"), "80"),
        ((32, 8, 128, 16, "bfloat16"), "16"),
        ((32, 8, 128, 64, "float16"), "float16"),
        ((32, 1, 128, 64, "bfloat16"), "32"),
        ((16, 8, 256, 64, "bfloat16", "int8"), "8-bit pages of heads up to 192"),
    ],
)
def test_what_is_not_supported_is_named(shape, word):
    assert word in (supports(*shape) or "")


def test_page_bytes_are_those_of_the_array():
    pages = make_kv_pages(3, 64, 2, 128)
    assert pages.nbytes == 3 * kv_page_bytes(64, 2, 128)
