"""Copies of pages from device memory into one half of the chunk buffer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.paged_attention.tpu.ranges import Item
from pallas_kernels.paged_attention.tpu.refs import Ref


@dataclasses.dataclass(frozen=True)
class PageCopies:
    """Starts copies of the pages of a chunk and waits for them.

    Attributes:
        page_table: SMEM `[R * P]`.
        kv: pages in device memory `[N, Z, W, 128]`.
        chunks: VMEM `[2, C, W, 128]`.
        semaphores: one for each half of `chunks`.
        pages_per_row: P.
    """

    page_table: Ref
    kv: Ref
    chunks: Ref
    semaphores: Ref
    pages_per_row: int

    def start(self, item: Item, chunk: jax.Array, slot: jax.Array) -> None:
        """Begin to copy the pages of `chunk` that the item needs into half `slot`."""
        self._each_page(item, chunk, slot, lambda copy: copy.start())

    def wait(self, item: Item, chunk: jax.Array, slot: jax.Array) -> None:
        """Wait until the copies that `start` began have arrived."""
        self._each_page(item, chunk, slot, lambda copy: copy.wait())

    def _each_page(
        self, item: Item, chunk: jax.Array, slot: jax.Array, act: Callable[[Any], None]
    ) -> None:
        page_size = self.kv.shape[1]
        pages_per_chunk = self.chunks.shape[1] // page_size
        # The row's pages [begin, end) of this chunk hold positions of [item.low, item.high).
        chunk_begin = chunk * pages_per_chunk
        begin = jnp.maximum(lax.div(item.low, jnp.int32(page_size)), chunk_begin)
        end = lax.div(item.high + page_size - 1, jnp.int32(page_size))
        end = jnp.minimum(end, chunk_begin + pages_per_chunk)

        def visit(page: jax.Array, nothing: None) -> None:
            source = self.kv.at[self.page_table[item.row * self.pages_per_row + page]]
            place = pl.ds((page - chunk_begin) * page_size, page_size)
            act(
                pltpu.make_async_copy(source, self.chunks.at[slot, place], self.semaphores.at[slot])
            )
            return nothing

        lax.fori_loop(begin, end, visit, None)
