"""Writing a step's keys and values into their pages, in place.

Tokens come in tiles, which the pipeline brings into VMEM as packed words. A run of tokens that land
side by side in one page goes out together: a decode row is a run of one, a prefill chunk is cut
where pages and tiles end. A run is copied in parts of 1, 2, 4 ... tokens, the ones in its length,
because the size of a copy is best known while compiling. Padding is not written at all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.tpu.refs import Ref

TILE_TOKENS = 128


def write_words(
    kv: jax.Array, words_TWL: jax.Array, batch: RaggedBatch, interpret: Any
) -> jax.Array:
    """The pages with `words_TWL` in their places; donate `kv`, the result aliases it.

    Args:
        kv: pages `[N, Z, W, 128]` uint32.
        words_TWL: packed keys and values of the step's tokens.
        batch: where each token goes; padding goes nowhere.
        interpret: False for a chip, True or `pltpu.InterpretParams` for an interpreter.
    """
    num_tokens, *token_shape = words_TWL.shape
    tile = min(TILE_TOKENS, num_tokens)
    num_tiles = -(-num_tokens // tile)
    words_TWL = jnp.pad(words_TWL, ((0, num_tiles * tile - num_tokens), (0, 0), (0, 0)))
    grid_spec = pltpu.PrefetchScalarGridSpec(
        num_scalar_prefetch=3,
        grid=(num_tiles,),
        in_specs=[
            pl.BlockSpec((tile, *token_shape), _tile_index),
            pl.BlockSpec(memory_space=pl.ANY),
        ],
        out_specs=pl.BlockSpec(memory_space=pl.ANY),
        scratch_shapes=[pltpu.SemaphoreType.DMA(())],
    )
    call = pl.pallas_call(
        partial(_write_tile, num_tokens=num_tokens),
        out_shape=jax.ShapeDtypeStruct(kv.shape, kv.dtype),
        grid_spec=grid_spec,
        input_output_aliases={4: 0},
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary",), has_side_effects=True
        ),
        interpret=interpret,
        name="paged_kv_write",
    )
    return call(*_runs(batch, kv.shape[1], tile), words_TWL, kv)


def _runs(batch: RaggedBatch, page_size: int, tile: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Page, offset in it, and length of the run that each token begins or belongs to the rest of.

    The length at token t counts the tokens from t on that lie side by side with it, at most to the
    end of its page, its row and its tile; 0 for padding.
    """
    position_T = jnp.maximum(batch.positions_T, 0)
    index_T = jnp.arange(position_T.shape[0], dtype=jnp.int32)
    offset_T = lax.rem(position_T, page_size)
    page_T = batch.page_table_RP[batch.row_T, lax.div(position_T, page_size)]
    length_T = jnp.minimum(page_size - offset_T, tile - lax.rem(index_T, tile))
    length_T = jnp.minimum(length_T, batch.query_starts_R1[batch.row_T + 1] - index_T)
    return page_T, offset_T, jnp.where(batch.positions_T >= 0, length_T, 0)


def _tile_index(index: jax.Array, *_: Ref) -> tuple[Any, ...]:
    return index, 0, 0


def _write_tile(*refs: Ref, num_tokens: int) -> None:
    """Start the copies of all runs of one tile, then wait for them."""
    page_ref, offset_ref, length_ref, words_ref, _, out_ref, semaphore = refs
    tile, page_size = words_ref.shape[0], out_ref.shape[1]
    begin = pl.program_id(0) * tile
    end = jnp.minimum(begin + tile, num_tokens)
    longest = min(tile, page_size)
    powers = [1 << bit for bit in reversed(range(longest.bit_length()))]

    def each_run(act: Callable[[Any], None]) -> None:
        def copy_part(token: jax.Array, size: int) -> None:
            # The part of `size` follows those of the larger powers of two in the length.
            done = length_ref[token] & -(2 * size)
            source = words_ref.at[pl.ds(token - begin + done, size)]
            place = out_ref.at[page_ref[token], pl.ds(offset_ref[token] + done, size)]
            act(pltpu.make_async_copy(source, place, semaphore))

        def visit(token: jax.Array) -> jax.Array:
            for size in powers:
                pl.when(length_ref[token] & size != 0)(partial(copy_part, token, size))
            return token + jnp.maximum(length_ref[token], 1)

        lax.while_loop(lambda token: token < end, visit, begin)

    each_run(lambda copy: copy.start())
    each_run(lambda copy: copy.wait())
