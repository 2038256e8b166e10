"""Sizes the kernels are compiled with, by shape: a table, and a rule for what it does not name.

The table's rows compile without spills (tests/kernels/gpu); no card has timed them yet.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

SHARED_BYTES = 232_448 - 2_048
"""Shared memory of a block on Hopper, less what barriers and reductions take."""

STAGED_BYTES = 2 * 64 * 64 * 4
"""Of results on their way out, at most."""

PARTIAL_BYTES = 32 * 2**20
"""Memory for the pieces of split rows, beside one piece a row."""

NUM_MULTIPROCESSORS = 132
"""Of an H100 SXM; taken where the device does not say."""

MATMUL_ROWS = 64
ELEMENT_BYTES = 2


@dataclasses.dataclass(frozen=True)
class KernelShape:
    """What one kernel is compiled for.

    Attributes:
        tile: tokens of a KV tile; a multiple or a divisor of the page.
        stages: tiles of keys, and of values, in flight.
        num_blocks: blocks that share the work list.
    """

    tile: int
    stages: int
    num_blocks: int


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Sizes of both kernels.

    Attributes:
        decode_tile, prefill_tile: tokens of a KV tile.
        decode_stages, prefill_stages: tiles of keys, and of values, in flight.
        split_tokens: tokens of a piece of a decode row.
    """

    decode_tile: int
    decode_stages: int
    prefill_tile: int
    prefill_stages: int
    split_tokens: int


TABLE: dict[tuple[int, int, int, int], Tuning] = {
    (128, 4, 64, 8): Tuning(64, 5, 128, 2, 512),  # Llama-3.1-8B, Qwen3-8B
    (128, 8, 64, 1): Tuning(64, 5, 128, 2, 256),  # a 70B split over 8
    (256, 2, 64, 8): Tuning(64, 2, 64, 2, 512),  # Gemma-3-12B
}
"""(head_dim, query heads of a KV head, page, KV heads of the device) to sizes."""


def num_multiprocessors() -> int:
    """Multiprocessors of the GPU that is traced for: the described one if any, else the first."""
    described: Any = jax.sharding.get_abstract_mesh().abstract_device
    if described is not None:
        return described.num_cores or NUM_MULTIPROCESSORS
    return getattr(jax.devices()[0], "core_count", None) or NUM_MULTIPROCESSORS


def tuning(head_dim: int, group: int, page_size: int, num_kv_heads: int) -> Tuning:
    """Sizes for a shape: from the table, else as many stages as fit."""
    known = TABLE.get((head_dim, group, page_size, num_kv_heads))
    if known is not None:
        return known
    queries = 2 * MATMUL_ROWS * head_dim * ELEMENT_BYTES
    left = SHARED_BYTES - queries - STAGED_BYTES
    prefill_tile = 128 if head_dim <= 128 else 64

    def stages(tile: int, most: int) -> int:
        return min(most, left // (2 * tile * head_dim * ELEMENT_BYTES))

    return Tuning(
        decode_tile=64,
        decode_stages=stages(64, 6),
        prefill_tile=prefill_tile,
        prefill_stages=stages(prefill_tile, 3),
        # Few KV heads give few pieces of a single long row: make them shorter.
        split_tokens=512 if num_kv_heads >= 4 else 256,
    )


def most_pieces(num_kv_heads: int) -> int:
    """Pieces of one row: those of all its KV heads fill the chip once or twice.

    More would fill it no better, and be joined one after another.
    """
    return 32 if num_kv_heads >= 4 else 64


def max_splits(  # noqa: PLR0917
    num_rows: int,
    row_tokens: int,
    split_tokens: int,
    num_kv_heads: int,
    stored_group: int,
    head_dim: int,
) -> int:
    """Places for pieces of decode rows.

    Args:
        row_tokens: tokens that a row's page table can name.
    """
    piece_bytes = num_kv_heads * (stored_group * head_dim + 2 * MATMUL_ROWS) * 4
    most = num_rows * min(-(-row_tokens // split_tokens), most_pieces(num_kv_heads))
    return max(num_rows, min(most, num_rows + PARTIAL_BYTES // piece_bytes))
