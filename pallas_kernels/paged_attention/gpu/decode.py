"""Attention of one token a row over its pages: split-KV, two kernels.

`attend_splits` walks the pieces of `work_list.split_rows`, one KV head at a time, on as many
blocks as the chip has multiprocessors. In each block one warpgroup loads tiles of pages and
another computes, so loads of the next piece run while this one ends. `combine` joins the pieces.
See docs/kernels_gpu.md for the picture.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from pallas_kernels.paged_attention.gpu import softmax, tiles
from pallas_kernels.paged_attention.gpu.mosaic import (
    COLUMNS,
    MATMUL_ROWS,
    Interpreter,
    Ops,
    Ref,
    kernel_options,
    matmul_operand,
)
from pallas_kernels.paged_attention.gpu.softmax import Running, Scoring
from pallas_kernels.paged_attention.gpu.tiles import KEYS, VALUES, Ring, Source, take
from pallas_kernels.paged_attention.gpu.tuning import KernelShape
from pallas_kernels.paged_attention.gpu.widen import wide_types, widen
from pallas_kernels.paged_attention.gpu.work_list import END, FIRST, KV_LEN, ROW, Splits

QUERY_BUFFERS = 2
"""Queries of the next piece are loaded while this one is computed."""

COMPUTING_REGISTERS, LOADING_REGISTERS = 240, 40
"""Of a thread."""


def attend_splits(
    q_RKGH: jax.Array,
    pages_N2KZH: jax.Array,
    page_table_RP: jax.Array,
    splits: Splits,
    *,
    stored_group: int,
    scoring: Scoring,
    shape: KernelShape,
    interpret: Interpreter = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Attention of every row over each of its pieces.

    Args:
        q_RKGH: bfloat16 queries, the group padded to a multiple of 8 (at most 64).
        stored_group: G of the results: the group padded as `combine` wants it, no more than in `q`.

    Returns:
        Float32 weighted values `[W, K, G, H]`, and, `[W, K, 64]`, the largest score (in log2) and
        the sum of weights of each query of the group. Unused places are not written.
    """
    _, num_kv_heads, _, head_dim = q_RKGH.shape
    columns = math.gcd(head_dim, COLUMNS)
    num_places = splits.items_W4.shape[0]
    body = functools.partial(
        _attend_splits_kernel, ops=Ops(interpret is not None), scoring=scoring, shape=shape
    )
    body.__name__ = "decode_splits"  # pyright: ignore[reportAttributeAccessIssue]
    per_query = jax.ShapeDtypeStruct((num_places, num_kv_heads, MATMUL_ROWS), jnp.float32)
    call = plgpu.kernel(
        body,
        out_type=(
            jax.ShapeDtypeStruct((num_places, num_kv_heads, stored_group, head_dim), jnp.float32),
            per_query,
            per_query,
        ),
        scratch_types=[
            matmul_operand((QUERY_BUFFERS, MATMUL_ROWS, head_dim), q_RKGH.dtype),
            plgpu.Barrier(num_barriers=QUERY_BUFFERS),
            plgpu.Barrier(num_barriers=QUERY_BUFFERS),
            plgpu.SMEM((_store_buffers(head_dim, columns), MATMUL_ROWS, columns), jnp.float32),
            *tiles.ring_types(pages_N2KZH, shape.tile, shape.stages, num_readers=1),
            *tiles.ring_types(pages_N2KZH, shape.tile, shape.stages, num_readers=1),
            *wide_types(pages_N2KZH, shape.tile),
        ],
        grid=(shape.num_blocks,),
        grid_names=("block",),
        num_threads=2,
        thread_name="warpgroup",
        **kernel_options(interpret),
    )
    return call(q_RKGH, pages_N2KZH, page_table_RP, splits.items_W4, splits.count_1)


class _Refs(NamedTuple):
    """Arguments, results and scratch of the kernel, in the order Pallas passes them.

    `*_full[s]` completes when a load into stage s has landed, `*_free[s]` when it has been read.
    `*_wide` are there for 8-bit pages alone.
    """

    q: Ref
    pages: Ref
    table: Ref
    items: Ref
    count: Ref
    o: Ref
    max: Ref
    sum: Ref
    q_smem: Ref
    q_full: Ref
    q_free: Ref
    o_smem: Ref
    k_smem: Ref
    k_full: Ref
    k_free: Ref
    v_smem: Ref
    v_full: Ref
    v_free: Ref
    k_wide: Ref | None = None
    v_wide: Ref | None = None

    @property
    def wide(self) -> tuple[Ref, ...]:
        """The wide tiles of keys and values; none if pages are as wide as the tensor cores'."""
        return () if self.k_wide is None else (self.k_wide, self.v_wide)

    @property
    def keys(self) -> Ring:
        """The ring that tiles of keys pass through."""
        return Ring(self.k_smem, self.k_full, self.k_free)

    @property
    def values(self) -> Ring:
        """The ring that tiles of values pass through."""
        return Ring(self.v_smem, self.v_full, self.v_free)


class _Share(NamedTuple):
    """The items of one block: all KV heads of a place of the list, one after another."""

    block: jax.Array
    num_blocks: int
    num_kv_heads: int

    def num_items(self, num_places: jax.Array) -> jax.Array:
        """How many of the items are this block's."""
        return tiles.share(num_places * self.num_kv_heads, self.block, self.num_blocks)

    def item(self, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Place in the list and KV head of item `index`."""
        number = self.block + index * self.num_blocks
        return lax.div(number, jnp.int32(self.num_kv_heads)), take(number, self.num_kv_heads)


def _attend_splits_kernel(*all_refs: Ref, ops: Ops, scoring: Scoring, shape: KernelShape) -> None:
    """Warpgroup 0 computes, warpgroup 1 loads ahead of it.

    Stage and query buffer follow from counts that run over all items of the block.
    """
    refs = _Refs(*all_refs)
    mine = _Share(lax.axis_index("block"), shape.num_blocks, refs.o.shape[1])
    num_mine = mine.num_items(refs.count[0])

    @pl.when(lax.axis_index("warpgroup") == 0)
    def compute() -> None:
        plgpu.set_max_registers(COMPUTING_REGISTERS, action="increase")
        attend_item = functools.partial(_attend_item, refs, mine, ops, scoring)
        lax.fori_loop(0, num_mine, attend_item, jnp.int32(0))
        plgpu.wait_smem_to_gmem(0)

    @pl.when(lax.axis_index("warpgroup") == 1)
    def load() -> None:
        plgpu.set_max_registers(LOADING_REGISTERS, action="decrease")
        load_item = functools.partial(_load_item, refs, mine)
        num_tiles = lax.fori_loop(0, num_mine, load_item, jnp.int32(0))
        tiles.drain(num_tiles, refs.k_free, refs.v_free)
        tiles.drain(num_mine, refs.q_free)


def _attend_item(  # noqa: PLR0917
    refs: _Refs, mine: _Share, ops: Ops, scoring: Scoring, index: jax.Array, num_before: jax.Array
) -> jax.Array:
    """Compute item `index`; tiles that went through the rings before it, and with it."""
    keys, values = refs.keys, refs.values
    num_stages, tile_tokens, head_dim = keys.smem.shape
    place, head = mine.item(index)
    first, end = refs.items[place, FIRST], refs.items[place, END]
    kv_len = refs.items[place, KV_LEN]
    buffer = take(index, QUERY_BUFFERS)
    plgpu.barrier_wait(refs.q_full.at[buffer])

    def attend_tile(tile: jax.Array, state: Running) -> Running:
        stage = take(num_before + tile - first, num_stages)
        start = tile * tile_tokens
        is_tail = start + tile_tokens > kv_len

        # First of all, while few registers are in use.
        if refs.wide:
            plgpu.commit_smem()  # all warps are done with the last wide tiles
            for ring, wide, num_written in zip(
                (keys, values), refs.wide, (None, kv_len - start), strict=True
            ):
                plgpu.barrier_wait(ring.full.at[stage])
                widen(ops, ring.smem.at[stage], wide, num_written=num_written)
                plgpu.barrier_arrive(ring.free.at[stage])
        else:

            @pl.when(is_tail)
            def clear() -> None:
                plgpu.barrier_wait(values.full.at[stage])
                softmax.clear_unwritten(ops, values.smem.at[stage], kv_len - start)

            plgpu.barrier_wait(keys.full.at[stage])
        k_ref, v_ref = refs.wide or (keys.smem.at[stage], values.smem.at[stage])
        products_MC = ops.multiply_transposed(refs.q_smem.at[buffer], k_ref)
        if not refs.wide:
            plgpu.barrier_arrive(keys.free.at[stage])
        position_MC = ops.iota(tile_tokens, 1) + start
        sees_MC = position_MC < kv_len
        if scoring.window:
            sees_MC &= position_MC >= kv_len - scoring.window
        scores_MC = jnp.where(sees_MC, scoring.scores(products_MC), -jnp.inf)
        state, weights_MC = softmax.weigh(state, scores_MC)

        if not refs.wide:

            @pl.when(jnp.logical_not(is_tail))
            def wait_for_values() -> None:
                plgpu.barrier_wait(values.full.at[stage])

        o_MH = ops.add_product(state.o_MH, weights_MC.astype(refs.q.dtype), v_ref)
        if not refs.wide:
            plgpu.barrier_arrive(values.free.at[stage])
        return Running(state.max_M, state.sum_M, o_MH)

    # combine starts from the sink: here the sum starts from nothing.
    state = softmax.start(ops, head_dim)._replace(sum_M=ops.rows(0.0))
    state = lax.fori_loop(first, end, attend_tile, state)
    plgpu.barrier_arrive(refs.q_free.at[buffer])
    refs.max.at[place, head][...] = state.max_M
    refs.sum.at[place, head][...] = state.sum_M
    _store(state.o_MH, refs.o.at[place, head], refs.o_smem)
    return num_before + end - first


def _load_item(refs: _Refs, mine: _Share, index: jax.Array, num_before: jax.Array) -> jax.Array:
    """Load the queries and tiles of item `index`; counts as `_attend_item` does."""
    place, head = mine.item(index)
    row = refs.items[place, ROW]
    first, end = refs.items[place, FIRST], refs.items[place, END]
    buffer = take(index, QUERY_BUFFERS)

    @pl.when(index >= QUERY_BUFFERS)
    def wait_for_buffer() -> None:
        plgpu.barrier_wait(refs.q_free.at[buffer])

    # The rest of the 64 rows is never written: rows of a matmul do not mix.
    own_rows = refs.q_smem.at[buffer, pl.ds(0, refs.q.shape[2])]
    plgpu.copy_gmem_to_smem(refs.q.at[row, head], own_rows, refs.q_full.at[buffer])
    source = Source(refs.pages, refs.table, row, head)

    def load_tile(tile: jax.Array, _: None) -> None:
        number = num_before + tile - first
        tiles.load_tile(source, KEYS, tile, refs.keys, number)
        tiles.load_tile(source, VALUES, tile, refs.values, number)

    lax.fori_loop(first, end, load_tile, None)
    return num_before + end - first


def _store_buffers(head_dim: int, columns: int) -> int:
    """Buffers that results leave through: two if the parts of a piece take turns evenly."""
    return 1 + (head_dim // columns + 1) % 2


def _store(o_MH: jax.Array, o_ref: Ref, o_smem: Ref) -> None:
    """Start to write the first rows of a tile to `o_ref [G, H]`, a few columns at a time.

    Nobody waits for the end of it: the next piece is computed meanwhile.
    """
    group, head_dim = o_ref.shape
    num_buffers, _, columns = o_smem.shape
    for part in range(head_dim // columns):
        buffer = o_smem.at[part % num_buffers]
        plgpu.wait_smem_to_gmem(num_buffers - 1, wait_read_only=True)
        buffer[...] = o_MH[:, part * columns : (part + 1) * columns]
        plgpu.commit_smem()
        place = o_ref.at[:, pl.ds(part * columns, columns)]
        plgpu.copy_smem_to_gmem(buffer.at[pl.ds(0, group)], place)
