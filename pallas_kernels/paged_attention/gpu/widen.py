"""8-bit tiles of keys and values become bfloat16 before the tensor cores read them.

    pages ──TMA──► ring of 8-bit tiles ──registers──► one tile of bfloat16 ──► matmul

A tile in flight takes half the room and half the bytes of memory, and is widened once, by all
who compute with it. They wait for each other before (the last wide tiles are no longer read) and
after (these are whole).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.eight_bits import is_eight_bit
from pallas_kernels.paged_attention.gpu.mosaic import Ops, Ref, matmul_operand, parts_of


def wide_types(pages_N2KZH: jax.Array, tile: int) -> tuple[Any, ...]:
    """Scratch types of the wide tiles of keys and values; none for pages of bfloat16."""
    if not is_eight_bit(str(pages_N2KZH.dtype)):
        return ()
    shape = (tile, pages_N2KZH.shape[4])
    return matmul_operand(shape, jnp.bfloat16), matmul_operand(shape, jnp.bfloat16)


def widen(
    ops: Ops,
    tile_ref: Ref,
    wide_ref: Ref,
    *,
    num_written: jax.Array | None = None,
    share: jax.Array | None = None,
) -> None:
    """Fill `wide_ref` `[C, H]` with the numbers of an 8-bit tile.

    Args:
        num_written: tokens from here on become 0: 0 * NaN would be NaN. None for keys, whose
            scores are masked.
        share: which of two warpgroups this is, each of which widens half; None widens all.
    """
    for index, (token, column, rows, columns) in enumerate(parts_of(tile_ref.shape)):

        @pl.when(True if share is None else share == index % 2)
        def widen_part(
            token: int = token, column: int = column, rows: int = rows, columns: int = columns
        ) -> None:
            part = (pl.ds(token, rows), pl.ds(column, columns))
            values = ops.load_wide(tile_ref.at[*part])
            if num_written is not None:
                is_written = ops.iota(columns, 0) + token < num_written
                values = jnp.where(is_written, values, jnp.zeros_like(values))
            wide_ref.at[*part][...] = values

    plgpu.commit_smem()
