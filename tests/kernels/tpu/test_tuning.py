"""Sizes by rule hold their promises for every shape."""

from __future__ import annotations

import pytest

from pallas_kernels.paged_attention.tpu import tuning
from pallas_kernels.paged_attention.tpu.layout import Layout


@pytest.mark.parametrize("page_size", [8, 16, 48, 64, 128, 256])
@pytest.mark.parametrize("num_kv_heads", [1, 8, 32])
@pytest.mark.parametrize("pages_per_row", [1, 3, 512])
def test_a_chunk_is_whole_strips_and_half_of_the_buffer_is_bounded(
    page_size: int, num_kv_heads: int, pages_per_row: int
) -> None:
    layout = Layout(num_kv_heads, 128, "bfloat16")
    sizes = tuning.sizes_for("TPU v6 lite", layout, 4, page_size, pages_per_row)
    assert sizes.pages_per_chunk % sizes.decode_strip == 0
    assert sizes.pages_per_chunk % sizes.tile_strip == 0
    assert sizes.pages_per_chunk * page_size * layout.num_word_rows * 512 <= 4 * tuning.CHUNK_BYTES


@pytest.mark.parametrize("group", range(1, 17))
def test_a_tile_is_a_power_of_two(group: int) -> None:
    tile = tuning.sizes_for("", Layout(1, 128, "bfloat16"), group, 64, 64).tile
    assert tile.bit_count() == 1
    assert tuning.MIN_TILE <= tile <= tuning.MAX_TILE


def test_a_measured_row_wins_over_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = tuning.Sizes(pages_per_chunk=6, decode_strip=3, tile_strip=2, tile=32)
    monkeypatch.setitem(tuning.TABLE, ("TPU v6 lite", 128, 4, 64), measured)
    layout = Layout(8, 128, "bfloat16")
    assert tuning.sizes_for("TPU v6 lite", layout, 4, 64, 64) is measured
    assert tuning.sizes_for("TPU v5 lite", layout, 4, 64, 64) is not measured


@pytest.mark.parametrize("num_rows", [1, 2, 3, 8, 12, 13, 256])
def test_decode_blocks_divide_the_batch(num_rows: int) -> None:
    size = tuning.rows_per_block(num_rows)
    assert num_rows % size == 0
    assert size <= tuning.ROWS_PER_BLOCK
