"""The attention kernel: blocks of queries against chunks of pages, pages copied one chunk ahead.

One grid step is one block of queries, all heads. It walks the rows that have tokens in the block
and, of each, the chunks of pages those tokens see (`ranges.py`). While a chunk is multiplied, the
next one, be it of another row or another block, is already on its way into the other half of the
buffer. The softmax runs online in float32, its state in VMEM until the block is done.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.paged_attention.tpu.copies import PageCopies
from pallas_kernels.paged_attention.tpu.layout import LANES
from pallas_kernels.paged_attention.tpu.ranges import Item, Plan, Ranges
from pallas_kernels.paged_attention.tpu.refs import Ref
from pallas_kernels.paged_attention.tpu.settings import Settings
from pallas_kernels.paged_attention.tpu.softmax import HIDDEN, RunningSoftmax, matmul
from pallas_kernels.paged_attention.tpu.words import load_head

VMEM_LIMIT_BYTES = 64 << 20


def attend_blocks(
    plan: Plan,
    q_JXMH: jax.Array,
    kv: jax.Array,
    sinks: jax.Array | None,
    settings: Settings,
    *,
    interpret: Any,
) -> jax.Array:
    """Run the kernel over all blocks.

    Args:
        plan: which rows and pages.
        q_JXMH: queries `[blocks, wide heads, M, wide dim]`.
        kv: pages `[N, Z, W, 128]`.
        sinks: float32 `[wide heads * group]` or None.
        settings: the static rest.
        interpret: False for a chip, True or `pltpu.InterpretParams` for an interpreter.

    Returns:
        Outputs in the shape and dtype of the queries.
    """
    num_blocks, num_heads, num_rows, wide_dim = q_JXMH.shape
    block_spec = pl.BlockSpec((None, num_heads, num_rows, wide_dim), _block_index)
    sink_specs = [] if sinks is None else [pl.BlockSpec(memory_space=pltpu.SMEM)]
    chunk_tokens = settings.pages_per_chunk * kv.shape[1]
    state = [(num_heads, num_rows, width) for width in (LANES, LANES, wide_dim)]
    grid_spec = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=len(plan),
        grid=(num_blocks,),
        in_specs=[block_spec, pl.BlockSpec(memory_space=pl.ANY), *sink_specs],
        out_specs=block_spec,
        scratch_shapes=[
            pltpu.VMEM((2, chunk_tokens, *kv.shape[2:]), kv.dtype),
            pltpu.SemaphoreType.DMA((2,)),
            pltpu.SMEM((1,), jnp.int32),
            *(pltpu.VMEM(shape, jnp.float32) for shape in state),
        ],
    )
    call = pl.pallas_call(
        partial(_attend_block, settings=settings, has_sinks=sinks is not None),
        out_shape=jax.ShapeDtypeStruct(q_JXMH.shape, q_JXMH.dtype),
        grid_spec=grid_spec,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary",), vmem_limit_bytes=VMEM_LIMIT_BYTES
        ),
        interpret=interpret,
        name="paged_attention_decode" if settings.is_decode else "paged_attention_tiles",
    )
    return call(*plan, q_JXMH, kv, *([] if sinks is None else [sinks]))


def _block_index(block: jax.Array, *_: Ref) -> tuple[Any, ...]:
    return block, 0, 0, 0


def _attend_block(*refs: Ref, settings: Settings, has_sinks: bool) -> None:
    """One grid step. `refs`: plan, queries, pages, sinks if any, outputs, scratch."""
    plan, rest = Plan(*refs[:5]), list(refs[5:])
    q_ref, kv_ref = rest.pop(0), rest.pop(0)
    sinks_ref = rest.pop(0) if has_sinks else None
    out_ref, chunks_ref, semaphores_ref, slot_ref, *state_refs = rest
    state = RunningSoftmax(*state_refs)
    block = _Block(
        index=pl.program_id(0),
        num_blocks=pl.num_programs(0),
        ranges=Ranges(plan, settings.tile, settings.window, chunks_ref.shape[1]),
        pages=PageCopies(
            plan.page_table, kv_ref, chunks_ref, semaphores_ref, settings.pages_per_row
        ),
        queries=q_ref,
        slot=slot_ref,
        state=state,
        settings=settings,
    )
    state.begin(sinks_ref, settings)
    block.walk()
    for head in range(settings.layout.num_wide_heads):
        out_ref[head] = state.result(head).astype(out_ref.dtype)


@dataclasses.dataclass(frozen=True)
class _Block:
    """One grid step's walk over its items. `slot` holds the buffer half that arrives next."""

    index: jax.Array
    num_blocks: jax.Array | int
    ranges: Ranges
    pages: PageCopies
    queries: Ref
    slot: Ref
    state: RunningSoftmax
    settings: Settings

    def walk(self) -> None:
        """All chunks of all rows; each chunk's copy was started by the one before it."""
        plan = self.ranges.plan

        @pl.when(self.index == 0)
        def _() -> None:
            self.slot[0] = 0
            before_all = (jnp.int32(0), plan.first_row[0] - 1)
            self._start_item(self.ranges.next_item(*before_all), jnp.int32(0))

        def visit_row(row: jax.Array, nothing: None) -> None:
            item = self.ranges.item(self.index, row)

            def visit_chunk(chunk: jax.Array, nothing: None) -> None:
                self._visit(item, chunk)
                return nothing

            return lax.fori_loop(item.first_chunk, item.end_chunk, visit_chunk, nothing)

        lax.fori_loop(plan.first_row[self.index], plan.end_row[self.index], visit_row, None)

    def _visit(self, item: Item, chunk: jax.Array) -> None:
        """Start the next chunk's copy, wait for this one's, multiply."""
        slot = self.slot[0]
        self.slot[0] = 1 - slot
        is_last = chunk + 1 == item.end_chunk

        @pl.when(is_last)
        def _() -> None:
            self._start_item(self.ranges.next_item(item.block, item.row), 1 - slot)

        @pl.when(jnp.logical_not(is_last))
        def _() -> None:
            self.pages.start(item, chunk + 1, 1 - slot)

        self.pages.wait(item, chunk, slot)
        self._multiply(item, chunk, slot)

    def _start_item(self, item: Item, slot: jax.Array) -> None:
        """Start the copy of an item's first chunk, if there is such an item."""

        @pl.when(item.block < self.num_blocks)
        def _() -> None:
            self.pages.start(item, item.first_chunk, slot)

    def _multiply(self, item: Item, chunk: jax.Array, slot: jax.Array) -> None:
        """The part of a chunk that the item needs, a strip of pages at a time."""
        strip_tokens, chunk_tokens = self.settings.strip_tokens, self.pages.chunks.shape[1]
        chunk_begin = chunk * chunk_tokens
        begin = jnp.maximum(item.low, chunk_begin)
        end = jnp.minimum(item.high, chunk_begin + chunk_tokens)

        def visit_strip(strip: jax.Array, nothing: None) -> None:
            position = strip * strip_tokens
            place = pl.ds(pl.multiple_of(position - chunk_begin, strip_tokens), strip_tokens)
            self._attend_strip(item, position, self.pages.chunks.at[slot, place])
            return nothing

        first_strip = lax.div(begin, jnp.int32(strip_tokens))
        lax.fori_loop(
            first_strip, lax.div(end + strip_tokens - 1, jnp.int32(strip_tokens)), visit_strip, None
        )

    def _attend_strip(self, item: Item, position: jax.Array, words: Ref) -> None:
        """All heads of one item against the tokens from `position` on, `words` `[C, W, 128]`."""
        settings, num_tokens = self.settings, words.shape[0]
        rows, num_rows = self._rows(item)
        sees_MC = self._visible(item, position, (num_rows, num_tokens))
        position_CL = position + lax.broadcasted_iota(jnp.int32, (num_tokens, LANES), 0)
        owned_CL = (position_CL >= item.low) & (position_CL < item.high)
        for head in range(settings.layout.num_wide_heads):
            k_CH, v_CH = load_head(
                words, head, owned_CL, settings.layout, is_interpreted=settings.is_interpreted
            )
            q_MH = self.queries[head, rows, :].astype(k_CH.dtype)
            scores_MC = matmul(q_MH, k_CH, contract=1) * settings.scale
            if settings.softcap is not None:
                scores_MC = settings.softcap * jnp.tanh(scores_MC / settings.softcap)
            self.state.add(head, rows, jnp.where(sees_MC, scores_MC, HIDDEN), v_CH)

    def _rows(self, item: Item) -> tuple[Any, int]:
        """Which of the block's M rows are multiplied, and how many: in a tile all of them."""
        if not self.settings.is_decode:
            return slice(None), self.queries.shape[1]
        group = self.settings.padded_group
        begin = (item.row - item.block * self.settings.tile) * group
        return pl.ds(pl.multiple_of(begin, group), group), group

    def _visible(self, item: Item, position: jax.Array, shape: tuple[int, int]) -> jax.Array:
        """Whether each query row sees each token from `position` on, bool `[M, C]`."""
        key_MC = position + lax.broadcasted_iota(jnp.int32, shape, 1)
        if self.settings.is_decode:
            return (key_MC >= item.low) & (key_MC < item.high)
        position_M1 = self._positions(item, shape[0])
        sees_MC = key_MC <= position_M1
        if self.settings.window:
            sees_MC &= key_MC > position_M1 - self.settings.window
        return sees_MC

    def _positions(self, item: Item, num_rows: int) -> jax.Array:
        """Position of each row of a tile, `[M, 1]`; -1, from where nothing is seen, if another
        row of the batch owns the token.
        """
        starts = self.ranges.plan.query_starts
        begin, end = starts[item.row], starts[item.row + 1]
        row_M1 = lax.broadcasted_iota(jnp.int32, (num_rows, 1), 0)
        token_M1 = item.block * self.settings.tile + (row_M1 & (self.settings.tile - 1))
        is_own_M1 = (token_M1 >= begin) & (token_M1 < end)
        return jnp.where(is_own_M1, self.ranges.first_position(item.row) + token_M1 - begin, -1)
