"""Tiles of keys and values on their way from pages to shared memory: what the loaders share."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu.mosaic import Ref, matmul_operand

KEYS, VALUES = 0, 1


class Ring(NamedTuple):
    """Stages of shared memory that tiles pass through.

    Attributes:
        smem: `[stages, C, H]`.
        full: per stage, completes when a tile has landed.
        free: per stage, completes when every computing warpgroup has read it.
    """

    smem: Ref
    full: Ref
    free: Ref


class Source(NamedTuple):
    """Where the tiles of one KV head of one row come from."""

    pages: Ref
    table: Ref
    row: jax.Array
    head: jax.Array


def ring_types(
    pages_N2KZH: jax.Array, tile: int, num_stages: int, *, num_readers: int
) -> tuple[Any, Any, Any]:
    """Scratch types of the three parts of a `Ring` of tiles of `tile` tokens."""
    page_size, head_dim = pages_N2KZH.shape[3:]
    num_loads = loads_per_tile(tile, page_size)
    return (
        matmul_operand((num_stages, tile, head_dim), pages_N2KZH.dtype),
        plgpu.Barrier(num_arrivals=num_loads, num_barriers=num_stages),
        plgpu.Barrier(num_arrivals=num_readers, num_barriers=num_stages),
    )


def loads_per_tile(tile: int, page_size: int) -> int:
    """Loads that fill one tile: a page each if pages are smaller than tiles."""
    return max(1, tile // page_size)


def load_tile(source: Source, which: int, tile: jax.Array, ring: Ring, number: jax.Array) -> None:
    """Load tile `tile` of KEYS or VALUES as the `number`-th that passes through the ring."""
    num_stages, size, _ = ring.smem.shape
    stage = take(number, num_stages)

    @pl.when(number >= num_stages)
    def wait_until_free() -> None:
        plgpu.barrier_wait(ring.free.at[stage])

    page_size = source.pages.shape[3]
    for part in range(loads_per_tile(size, page_size)):
        source_ref = _part_of_page(source, which, tile, part, size)
        place = ring.smem.at[stage]
        if size > page_size:
            place = ring.smem.at[stage, pl.ds(part * page_size, page_size)]
        plgpu.copy_gmem_to_smem(source_ref, place, ring.full.at[stage])


def _part_of_page(source: Source, which: int, tile: jax.Array, part: int, size: int) -> Ref:
    """The page, or the part of one, that is part `part` of a tile of `size` tokens."""
    _, _, _, page_size, _ = source.pages.shape
    if size < page_size:
        tiles_per_page = page_size // size
        page = source.table[source.row, lax.div(tile, jnp.int32(tiles_per_page))]
        start = take(tile, tiles_per_page) * size
        return source.pages.at[page, which, source.head, pl.ds(start, size)]
    column = tile * (size // page_size) + part
    if part:
        # A row may end within the tile: the table need not have a column for the rest.
        column = jnp.minimum(column, source.table.shape[1] - 1)
    return source.pages.at[source.table[source.row, column], which, source.head]


def drain(num_used: jax.Array, *barriers: Ref) -> None:
    """Wait for the last use of each, so that the block ends with none outstanding."""
    for barrier in barriers:
        for index in range(barrier.shape[0]):

            @pl.when(index < num_used)
            def wait(barrier: Ref = barrier, index: int = index) -> None:
                plgpu.barrier_wait(barrier.at[index])


def take(count: jax.Array, size: int) -> jax.Array:
    """`count % size` for counts that are never negative."""
    return lax.rem(count, jnp.int32(size))


def share(num_items: jax.Array, block: jax.Array, num_blocks: int) -> jax.Array:
    """How many of the items are this block's, dealt out in turn."""
    rest = jnp.maximum(num_items - block + num_blocks - 1, 0)
    return lax.div(rest, jnp.int32(num_blocks))
