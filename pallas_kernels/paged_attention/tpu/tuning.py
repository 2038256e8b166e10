"""Sizes of the kernel's pieces, from a table of measured ones or else from a rule."""

from __future__ import annotations

import dataclasses

from pallas_kernels.paged_attention.tpu.layout import LANES, WORD_BYTES, Layout


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much the kernel handles at once.

    Attributes:
        pages_per_chunk: pages copied together, a multiple of both strips.
        decode_strip: pages multiplied together in a decode block.
        tile_strip: pages multiplied together in a tile.
        tile: query tokens of a block of a mixed step, a power of two of at least 16.
    """

    pages_per_chunk: int
    decode_strip: int
    tile_strip: int
    tile: int


TABLE: dict[tuple[str, int, int, int], Sizes] = {}
"""(device kind as jax names it, head_dim, group, page size) to sizes measured on that chip.

Empty: nothing has been measured on a chip yet."""

CHUNK_BYTES = 2 << 20
"""One copy in flight while another chunk is multiplied: large enough to hide its latency."""
MAX_CHUNK_TOKENS = 2048
DECODE_STRIP_ROWS = 4096
"""Tokens times rows of lanes of one product. A decode product is short and waits mostly for its
own results, so few heads take more tokens at once."""
MIN_DECODE_STRIP_TOKENS, MAX_DECODE_STRIP_TOKENS = 256, 2048
TILE_STRIP_TOKENS = 256
"""Together with `QUERY_ROWS` it bounds the scores, and with them the code, of one product."""
QUERY_ROWS = 512
"""Rows of a tile's matmul, tokens times group."""
MIN_TILE, MAX_TILE = 16, 128
ROWS_PER_BLOCK = 8


def sizes_for(
    device_kind: str, layout: Layout, group: int, page_size: int, pages_per_row: int
) -> Sizes:
    """Sizes for these shapes: measured ones, else by rule.

    Args:
        device_kind: as in `jax.Device.device_kind`.
        layout: of the pages.
        group: query heads that share a KV head.
        page_size: Z.
        pages_per_row: columns of the page table.
    """
    measured = TABLE.get((device_kind, layout.head_dim, group, page_size))
    return measured or _rule(layout, group, page_size, pages_per_row)


def _rule(layout: Layout, group: int, page_size: int, pages_per_row: int) -> Sizes:
    token_bytes = layout.num_word_rows * LANES * WORD_BYTES
    chunk_pages = min(CHUNK_BYTES // token_bytes, MAX_CHUNK_TOKENS) // page_size
    tile_strip = max(1, min(TILE_STRIP_TOKENS // page_size, pages_per_row))
    decode_tokens = max(DECODE_STRIP_ROWS // layout.num_lane_rows, MIN_DECODE_STRIP_TOKENS)
    decode_pages = min(min(decode_tokens, MAX_DECODE_STRIP_TOKENS) // page_size, pages_per_row)
    decode_strip = tile_strip * max(1, decode_pages // tile_strip)
    num_strips = max(1, -(-min(chunk_pages, pages_per_row) // decode_strip))
    tile = _power_of_two_up_to(QUERY_ROWS // (group * layout.heads_per_row))
    tile = min(max(tile, MIN_TILE), MAX_TILE)
    return Sizes(num_strips * decode_strip, decode_strip, tile_strip, tile)


def _power_of_two_up_to(number: int) -> int:
    return 1 << max(0, number.bit_length() - 1)


def rows_per_block(num_rows: int) -> int:
    """Rows of a decode block: the largest divisor of the batch up to 8."""
    return next(size for size in range(ROWS_PER_BLOCK, 0, -1) if num_rows % size == 0)
