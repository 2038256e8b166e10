"""Attention of rows of several tokens over their pages: chunks of prompts.

An item is 128 queries of one row and one head. In each block two warpgroups compute 64 queries
each over the same tiles of keys and values, which a third one loads ahead. As many blocks as the
chip has multiprocessors take the items in turn. See docs/kernels_gpu.md for the picture.
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

from pallas_kernels.paged_attention.gpu import softmax, tile_share, tiles
from pallas_kernels.paged_attention.gpu.mosaic import (
    COLUMNS,
    MATMUL_ROWS,
    Interpreter,
    Ops,
    Ref,
    kernel_options,
    loaded_from,
    matmul_operand,
)
from pallas_kernels.paged_attention.gpu.softmax import Running, Scoring
from pallas_kernels.paged_attention.gpu.tile_share import TileShare
from pallas_kernels.paged_attention.gpu.tiles import KEYS, VALUES, Ring, Source, take
from pallas_kernels.paged_attention.gpu.tuning import KernelShape
from pallas_kernels.paged_attention.gpu.widen import wide_types, widen
from pallas_kernels.paged_attention.gpu.work_list import (
    END_TILE,
    FIRST_TILE,
    TILE_ROW,
    TOKEN,
    QueryTiles,
)

NUM_COMPUTING = 2
"""Warpgroups that compute."""

COPY_ALIGNMENT = 128

QUERY_TILE = NUM_COMPUTING * MATMUL_ROWS

COMPUTING_REGISTERS, LOADING_REGISTERS = 232, 40
"""Of a thread; 2 * 232 + 40 = 3 * 168, what a block of three warpgroups starts with."""


def attend_tiles(
    q_TQH: jax.Array,
    pages_N2KZH: jax.Array,
    page_table_RP: jax.Array,
    queries: QueryTiles,
    sinks_Q: jax.Array,
    *,
    scoring: Scoring,
    shape: KernelShape,
    interpret: Interpreter = None,
) -> jax.Array:
    """Attention of the tokens of all tiles; zeros for padding tokens.

    Args:
        q_TQH: bfloat16, at least 64 tokens and a multiple of `LOAD_ROWS`.
        sinks_Q: float32 sinks in log2, `softmax.LOWEST` for none.

    Returns:
        bfloat16 `o_TQH`; tokens that no tile holds are not written.
    """
    head_dim = q_TQH.shape[2]
    columns = math.gcd(head_dim, COLUMNS)
    # A copy may start at any row in shared memory, and must start at a multiple of 128 bytes.
    is_aligned = columns * q_TQH.dtype.itemsize % COPY_ALIGNMENT == 0
    o_dtype = q_TQH.dtype if is_aligned else jnp.float32
    kv_tiles = (pages_N2KZH, shape.tile, shape.stages)
    body = functools.partial(
        _attend_tiles_kernel, ops=Ops(interpret is not None), scoring=scoring, shape=shape
    )
    body.__name__ = "prefill_tiles"  # pyright: ignore[reportAttributeAccessIssue]
    call = plgpu.kernel(
        body,
        out_type=jax.ShapeDtypeStruct(q_TQH.shape, o_dtype),
        scratch_types=[
            matmul_operand((NUM_COMPUTING, MATMUL_ROWS, head_dim), q_TQH.dtype),
            plgpu.SMEM((NUM_COMPUTING, MATMUL_ROWS, columns), o_dtype),
            plgpu.Barrier(num_barriers=NUM_COMPUTING),
            plgpu.Barrier(num_arrivals=NUM_COMPUTING, num_barriers=1),
            plgpu.Barrier(num_arrivals=NUM_COMPUTING, num_barriers=1),
            *tiles.ring_types(*kv_tiles, num_readers=NUM_COMPUTING),
            *tiles.ring_types(*kv_tiles, num_readers=NUM_COMPUTING),
            *wide_types(pages_N2KZH, shape.tile),
        ],
        grid=(shape.num_blocks,),
        grid_names=("block",),
        num_threads=NUM_COMPUTING + 1,
        thread_name="warpgroup",
        **kernel_options(interpret),
    )
    o_TQH = call(q_TQH, pages_N2KZH, page_table_RP, queries.items_W8, queries.count_1, sinks_Q)
    return o_TQH.astype(q_TQH.dtype)


class _Refs(NamedTuple):
    """Arguments, results and scratch of the kernel, in the order Pallas passes them.

    `*_full[s]` completes when a load into stage s has landed, `*_free[s]` when both computing
    warpgroups have read it; `prepared` when both have zeroed their half of a tile's rest, or
    widened their half of a tile. `*_wide` are there for 8-bit pages alone.
    """

    q: Ref
    pages: Ref
    table: Ref
    items: Ref
    count: Ref
    sinks: Ref
    o: Ref
    q_smem: Ref
    o_smem: Ref
    q_full: Ref
    q_free: Ref
    prepared: Ref
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

    def await_both(self) -> None:
        """Wait until both computing warpgroups have come to this point."""
        plgpu.barrier_arrive(self.prepared.at[0])
        plgpu.barrier_wait(self.prepared.at[0])

    @property
    def keys(self) -> Ring:
        """The ring that tiles of keys pass through."""
        return Ring(self.k_smem, self.k_full, self.k_free)

    @property
    def values(self) -> Ring:
        """The ring that tiles of values pass through."""
        return Ring(self.v_smem, self.v_full, self.v_free)

    def item(self, index: jax.Array, num_blocks: int) -> tuple[jax.Array, jax.Array]:
        """Place in the list and query head of this block's item `index`."""
        num_heads = self.q.shape[1]
        number = lax.axis_index("block") + index * num_blocks
        return lax.div(number, jnp.int32(num_heads)), take(number, num_heads)


def _attend_tiles_kernel(*all_refs: Ref, ops: Ops, scoring: Scoring, shape: KernelShape) -> None:
    """Two warpgroups compute, the third loads; stages follow from counts over all items."""
    refs = _Refs(*all_refs)
    warpgroup = lax.axis_index("warpgroup")
    num_items = refs.count[0] * refs.q.shape[1]
    num_mine = tiles.share(num_items, lax.axis_index("block"), shape.num_blocks)

    @pl.when(warpgroup < NUM_COMPUTING)
    def compute() -> None:
        plgpu.set_max_registers(COMPUTING_REGISTERS, action="increase")
        attend_item = functools.partial(_attend_item, refs, shape, ops, scoring)
        lax.fori_loop(0, num_mine, attend_item, jnp.int32(0))

    @pl.when(warpgroup == NUM_COMPUTING)
    def load() -> None:
        plgpu.set_max_registers(LOADING_REGISTERS, action="decrease")
        load_item = functools.partial(_load_item, refs, shape)
        num_tiles = lax.fori_loop(0, num_mine, load_item, jnp.int32(0))
        tiles.drain(num_tiles, refs.k_free, refs.v_free)
        tiles.drain(num_mine, refs.q_free)


def _attend_item(  # noqa: PLR0917
    refs: _Refs,
    shape: KernelShape,
    ops: Ops,
    scoring: Scoring,
    index: jax.Array,
    num_before: jax.Array,
) -> jax.Array:
    """Compute this warpgroup's share of item `index`.

    Returns:
        Tiles that went through the rings, `num_before` and this item's.
    """
    warpgroup, head_dim = lax.axis_index("warpgroup"), refs.q.shape[2]
    place, head = refs.item(index, shape.num_blocks)
    own = TileShare.of(refs.items, place, warpgroup * MATMUL_ROWS, refs.q.shape[0])
    attend_tile = functools.partial(_attend_tile, refs, ops, scoring, own, num_before)
    plgpu.barrier_wait(refs.q_full.at[warpgroup])
    state = softmax.start(ops, head_dim, refs.sinks[head])
    masked_from = own.first
    if not scoring.window:
        # Tiles that end before the first query need no mask.
        unmasked = lax.div(jnp.maximum(own.position + own.begin + 1, 0), jnp.int32(shape.tile))
        masked_from = jnp.minimum(unmasked, own.end)
        plain = functools.partial(attend_tile, is_masked=False)
        state = lax.fori_loop(own.first, masked_from, plain, state)
    masked = functools.partial(attend_tile, is_masked=True)
    state = lax.fori_loop(masked_from, own.end, masked, state)
    plgpu.barrier_arrive(refs.q_free.at[0])
    o_MH = state.o_MH * softmax.over_columns(softmax.reciprocal(state.sum_M), head_dim)
    # Read anew: kept in registers through the loop, it would push tiles out of them.
    done = TileShare.of(refs.items, place, warpgroup * MATMUL_ROWS, refs.q.shape[0])
    tile_share.store(o_MH.astype(refs.o.dtype), refs.o.at[:, head], refs.o_smem.at[warpgroup], done)
    return num_before + done.end - done.first


def _attend_tile(  # noqa: PLR0917
    refs: _Refs,
    ops: Ops,
    scoring: Scoring,
    own: TileShare,
    num_before: jax.Array,
    tile: jax.Array,
    state: Running,
    *,
    is_masked: bool,
) -> Running:
    """Take in KV tile `tile`. Only masked tiles may reach past a query or past kv_len."""
    warpgroup, keys, values = lax.axis_index("warpgroup"), refs.keys, refs.values
    num_stages, tile_tokens, _ = keys.smem.shape
    stage = take(num_before + tile - own.first, num_stages)
    start = tile * tile_tokens
    is_tail = start + tile_tokens > own.kv_len if is_masked else False

    # First of all, while few registers are in use.
    if refs.wide:
        refs.await_both()  # and be done with the last wide tiles
        num_written = own.kv_len - start if is_masked else None
        for ring, wide, written in zip((keys, values), refs.wide, (None, num_written), strict=True):
            plgpu.barrier_wait(ring.full.at[stage])
            widen(ops, ring.smem.at[stage], wide, num_written=written, share=warpgroup)
            plgpu.barrier_arrive(ring.free.at[stage])
        refs.await_both()
    else:

        @pl.when(is_tail)
        def clear() -> None:
            plgpu.barrier_wait(values.full.at[stage])
            softmax.clear_unwritten(ops, values.smem.at[stage], own.kv_len - start, warpgroup)
            refs.await_both()

        plgpu.barrier_wait(keys.full.at[stage])
    k_ref, v_ref = refs.wide or (keys.smem.at[stage], values.smem.at[stage])
    products_MC = ops.multiply_transposed(refs.q_smem.at[warpgroup], k_ref)
    if not refs.wide:
        plgpu.barrier_arrive(keys.free.at[stage])
    scores_MC = scoring.scores(products_MC)
    if is_masked:
        position_MC = ops.iota(tile_tokens, 0) + own.position
        distance_MC = position_MC - (ops.iota(tile_tokens, 1) + start)
        sees_MC = distance_MC >= 0
        if scoring.window:
            sees_MC &= distance_MC < scoring.window
        scores_MC = jnp.where(sees_MC, scores_MC, -jnp.inf)
    state, weights_MC = softmax.weigh(state, scores_MC)

    if not refs.wide:

        @pl.when(jnp.logical_not(is_tail) if is_masked else True)
        def wait_for_values() -> None:
            plgpu.barrier_wait(values.full.at[stage])

    o_MH = ops.add_product(state.o_MH, weights_MC.astype(refs.q.dtype), v_ref)
    if not refs.wide:
        plgpu.barrier_arrive(values.free.at[stage])
    return Running(state.max_M, state.sum_M, o_MH)


def _load_item(
    refs: _Refs, shape: KernelShape, index: jax.Array, num_before: jax.Array
) -> jax.Array:
    """Load the queries and tiles of item `index`; counts as `_attend_item` does."""
    place, head = refs.item(index, shape.num_blocks)
    first, end = refs.items[place, FIRST_TILE], refs.items[place, END_TILE]
    group = refs.q.shape[1] // refs.pages.shape[2]
    kv_head = lax.div(head, jnp.int32(group))
    source = Source(refs.pages, refs.table, refs.items[place, TILE_ROW], kv_head)

    def load_tile(tile: jax.Array, _: None) -> None:
        number = num_before + tile - first
        tiles.load_tile(source, KEYS, tile, refs.keys, number)
        tiles.load_tile(source, VALUES, tile, refs.values, number)

    # One tile is on its way before the queries of the last item are done with.
    after_one = jnp.minimum(first + 1, end)
    lax.fori_loop(first, after_one, load_tile, None)
    _load_queries(refs, index, place, head)
    lax.fori_loop(after_one, end, load_tile, None)
    return num_before + end - first


def _load_queries(refs: _Refs, index: jax.Array, place: jax.Array, head: jax.Array) -> None:
    """Load the 64 queries of each computing warpgroup once both are done with the last item's."""

    @pl.when(index > 0)
    def wait_until_free() -> None:
        plgpu.barrier_wait(refs.q_free.at[0])

    for computing in range(NUM_COMPUTING):
        start = refs.items[place, TOKEN] + computing * MATMUL_ROWS
        token = loaded_from(tile_share.first_loaded(start, refs.q.shape[0]))
        plgpu.copy_gmem_to_smem(
            refs.q.at[pl.ds(token, MATMUL_ROWS), head],
            refs.q_smem.at[computing],
            refs.q_full.at[computing],
        )
