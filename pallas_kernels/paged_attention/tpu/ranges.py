"""Which keys a block of queries needs, row by row: the scalar side of the kernel.

The T axis is cut into blocks of `tile` query tokens. A row's tokens may lie in several blocks and a
block may hold tokens of several rows; each pair that overlaps is one item of work:

    tokens   0 . . . . . . . . . . . . . . . . . . 24
    rows     |--- row 0 ---|-1-|------ row 2 ------|
    blocks   |--- block 0 -----|--- block 1 -------|
    items     (0, row 0)  (0, row 1) (0, row 2) (1, row 2)

An item needs the row's positions [low, high): from what its first token still sees to its last
token. They are visited in chunks of whole pages that start at position 0 of every row.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax import lax

from pallas_kernels.paged_attention.batch import RaggedBatch


class Plan(NamedTuple):
    """Scalars in SMEM, all int32. Arrays outside the kernel, references inside.

    Attributes:
        page_table: `[R * P]`, flat because SMEM pads the last axis.
        kv_lens: `[R]`, 0 for rows this call leaves out.
        query_starts: `[R + 1]`.
        first_row: `[num_blocks]`, the first row with tokens in a block.
        end_row: `[num_blocks]`, one past the last.
    """

    page_table: jax.Array
    kv_lens: jax.Array
    query_starts: jax.Array
    first_row: jax.Array
    end_row: jax.Array


def plan_decode(batch: RaggedBatch, rows_per_block: int) -> Plan:
    """Query r is the one token of row r; rows with another number of new tokens are left out."""
    num_rows = batch.kv_lens_R.shape[0]
    num_new_R = batch.query_starts_R1[1:] - batch.query_starts_R1[:-1]
    first_row = jnp.arange(0, num_rows, rows_per_block, dtype=jnp.int32)
    return Plan(
        batch.page_table_RP.reshape(-1),
        jnp.where(num_new_R == 1, batch.kv_lens_R, 0),
        jnp.arange(num_rows + 1, dtype=jnp.int32),
        first_row,
        first_row + rows_per_block,
    )


def plan_tiles(batch: RaggedBatch, tile: int, num_blocks: int) -> Plan:
    """Tokens in order; rows with one new token are left out, `plan_decode` has them."""
    starts_R, ends_R = batch.query_starts_R1[:-1], batch.query_starts_R1[1:]
    block_start_J1 = tile * jnp.arange(num_blocks, dtype=jnp.int32)[:, None]
    is_before_JR = ends_R[None, :] <= block_start_J1
    has_begun_JR = starts_R[None, :] < block_start_J1 + tile
    return Plan(
        batch.page_table_RP.reshape(-1),
        jnp.where(ends_R - starts_R == 1, 0, batch.kv_lens_R),
        batch.query_starts_R1,
        jnp.sum(is_before_JR, axis=1, dtype=jnp.int32),
        jnp.sum(has_begun_JR, axis=1, dtype=jnp.int32),
    )


class Item(NamedTuple):
    """A block and one of its rows. All scalars.

    Attributes:
        block: which block of queries.
        row: which row of the batch.
        low: first position needed.
        high: one past the last; 0 where nothing is to be done.
        first_chunk: the chunk with `low`.
        end_chunk: one past the chunk with `high - 1`.
    """

    block: jax.Array
    row: jax.Array
    low: jax.Array
    high: jax.Array
    first_chunk: jax.Array
    end_chunk: jax.Array


_Search: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]
"""Block, row, and 1 once they have work."""


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Reads a `Plan` inside the kernel. Sizes in tokens; `window` 0 means none."""

    plan: Plan
    tile: int
    window: int
    chunk_tokens: int

    def first_position(self, row: jax.Array) -> jax.Array:
        """Position of the row's token `query_starts[row]`."""
        starts = self.plan.query_starts
        return self.plan.kv_lens[row] - (starts[row + 1] - starts[row])

    def item(self, block: jax.Array, row: jax.Array) -> Item:
        """The item of `row` in `block`; nothing to do where they do not overlap."""
        starts = self.plan.query_starts
        begin = jnp.maximum(starts[row], block * self.tile)
        end = jnp.minimum(starts[row + 1], (block + 1) * self.tile)
        shift = self.first_position(row) - starts[row]
        is_empty = (self.plan.kv_lens[row] == 0) | (end <= begin)
        high = jnp.where(is_empty, 0, end + shift)
        low = jnp.maximum(begin + shift - self.window + 1, 0) if self.window else jnp.int32(0)
        low = jnp.where(is_empty, 0, low)
        first_chunk = lax.div(low, jnp.int32(self.chunk_tokens))
        end_chunk = lax.div(high + self.chunk_tokens - 1, jnp.int32(self.chunk_tokens))
        return Item(block, row, low, high, first_chunk, end_chunk)

    def next_item(self, block: jax.Array, row: jax.Array) -> Item:
        """The first item with work after (block, row); without one, its block is `num_blocks`."""
        num_blocks, num_rows = self.plan.first_row.shape[0], self.plan.kv_lens.shape[0]

        def advance(state: _Search) -> _Search:
            block, row, _ = state
            is_block_over = row + 1 >= self.plan.end_row[block]
            block = jnp.where(is_block_over, block + 1, block)
            fresh_row = self.plan.first_row[jnp.minimum(block, num_blocks - 1)]
            row = jnp.where(is_block_over, fresh_row, row + 1)
            row = jnp.minimum(row, num_rows - 1)
            has_work = self.item(block, row).high > 0
            return block, row, has_work.astype(jnp.int32)

        def is_searching(state: _Search) -> jax.Array:
            block, _, has_work = state
            return (block < num_blocks) & (has_work == 0)

        start = (jnp.int32(block), jnp.int32(row), jnp.int32(0))
        block, row, _ = lax.while_loop(is_searching, advance, start)
        return self.item(block, row)
