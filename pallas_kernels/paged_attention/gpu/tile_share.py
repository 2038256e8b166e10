"""What one warpgroup of the prefill kernel does with an item of the list: its share of the tile."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu.mosaic import MATMUL_ROWS, Ref
from pallas_kernels.paged_attention.gpu.work_list import (
    END_OWN,
    END_TILE,
    FIRST_OWN,
    FIRST_TILE,
    POSITION,
    TILE_KV_LEN,
    TOKEN,
)


class TileShare(NamedTuple):
    """One item of the list, as one warpgroup sees it.

    Attributes:
        token: first of the 64 tokens whose queries are loaded.
        begin: of these, the first that is the row's own; those before are computed and dropped.
        num_own: tokens of the row in this warpgroup's share.
        position: position of the first loaded token, as if it were the row's.
        kv_len, first, end: the row's length; KV tiles `[first, end)`.
    """

    token: jax.Array
    begin: jax.Array
    num_own: jax.Array
    position: jax.Array
    kv_len: jax.Array
    first: jax.Array
    end: jax.Array

    @classmethod
    def of(cls, items_ref: Ref, place: jax.Array, offset: jax.Array, num_tokens: int) -> TileShare:
        """The share that starts `offset` tokens into the tile."""
        start = items_ref[place, TOKEN] + offset
        token = first_loaded(start, num_tokens)
        skipped = start - token
        first_own = jnp.clip(items_ref[place, FIRST_OWN] - offset, 0, MATMUL_ROWS)
        end_own = jnp.clip(items_ref[place, END_OWN] - offset, 0, MATMUL_ROWS)
        return cls(
            token,
            skipped + first_own,
            end_own - first_own,
            items_ref[place, POSITION] + offset - skipped,
            items_ref[place, TILE_KV_LEN],
            items_ref[place, FIRST_TILE],
            items_ref[place, END_TILE],
        )


def first_loaded(start: jax.Array, num_tokens: int) -> jax.Array:
    """Where the load of 64 tokens from `start` on starts.

    Loads never reach past the T axis: near its end they start earlier, with somebody else's tokens.
    """
    return jnp.minimum(start, num_tokens - MATMUL_ROWS)


def store(o_MH: jax.Array, o_ref: Ref, o_smem: Ref, own: TileShare) -> None:
    """Write the own rows of a tile to `o_ref [T, H]`, a few columns at a time.

    Their number is known only now, the size of a copy must be known before: copies of 64, 32, ...
    1 rows write it as a binary number.
    """
    columns = o_smem.shape[1]
    for column in range(0, o_MH.shape[1], columns):
        o_smem[...] = o_MH[:, column : column + columns]
        plgpu.commit_smem()
        size = MATMUL_ROWS
        while size:
            # Rows before these are the larger powers of two in the number.
            done = own.num_own & ~jnp.int32(2 * size - 1)

            @pl.when((own.num_own & size) != 0)
            def copy(size: int = size, done: jax.Array = done, column: int = column) -> None:
                plgpu.copy_smem_to_gmem(
                    o_smem.at[pl.ds(own.begin + done, size)],
                    o_ref.at[pl.ds(own.token + own.begin + done, size), pl.ds(column, columns)],
                )

            size //= 2
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)
    plgpu.wait_smem_to_gmem(0)
