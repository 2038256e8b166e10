"""Paged attention for Hopper GPUs in Pallas Mosaic GPU: decode and chunked prefill.

`reference.py` one folder up is the specification; docs/kernels_gpu.md explains the kernels.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.gpu import combine, decode, prefill, softmax, work_list
from pallas_kernels.paged_attention.gpu.mosaic import LOAD_ROWS, MATMUL_ROWS, Interpreter
from pallas_kernels.paged_attention.gpu.pages import kv_page_bytes, make_kv_pages, write_kv
from pallas_kernels.paged_attention.gpu.softmax import Scoring
from pallas_kernels.paged_attention.gpu.supported import supports
from pallas_kernels.paged_attention.gpu.tuning import (
    KernelShape,
    max_splits,
    most_pieces,
    num_multiprocessors,
    tuning,
)
from pallas_kernels.paged_attention.pages import KVScales

__all__ = ["attend", "kv_page_bytes", "make_kv_pages", "supports", "write_kv"]

GROUP_MULTIPLE = 8
"""Query heads of a KV head are padded to this: the rows a load into shared memory deals in."""


def attend(
    q_TQH: jax.Array,
    pages_N2KZH: jax.Array,
    batch: RaggedBatch,
    *,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    sinks_Q: jax.Array | None = None,
    scales: KVScales | None = None,
    is_decode: bool,
    num_blocks: int | None = None,
    interpret: Interpreter = None,
) -> jax.Array:
    """Causal attention of every token over the pages of its row; see `reference.attend`.

    Rows of one token go through the decode kernel, rows of several through the prefill kernel.

    Args:
        q_TQH: bfloat16 queries.
        pages_N2KZH: pages of one layer with this step's keys and values already written.
        scales: of 8-bit pages; they are multiplied into queries and results.
        sinks_Q: float32, one more logit per head in the denominator of the softmax.
        is_decode: static promise that T == R and row r owns token r.
        num_blocks: blocks of a kernel; None for one on each multiprocessor of the device.
        interpret: `mosaic.interpreter(...)` runs the kernels on a CPU.

    Returns:
        bfloat16 `o_TQH`; zeros for padding tokens.
    """
    if scales is not None:
        attend_unscaled = functools.partial(
            attend,
            scale=scale,
            window=window,
            softcap=softcap,
            sinks_Q=sinks_Q,
            is_decode=is_decode,
            num_blocks=num_blocks,
            interpret=interpret,
        )
        q_TQH = _per_kv_head(q_TQH, scales.k_K)
        return _per_kv_head(attend_unscaled(q_TQH, pages_N2KZH, batch), scales.v_K)
    scoring = Scoring(scale, window, softcap)
    num_blocks = num_blocks or num_multiprocessors()
    sinks_Q = _sinks_in_log2(sinks_Q, q_TQH.shape[1])
    if is_decode:
        return _attend_rows(
            q_TQH, pages_N2KZH, batch.page_table_RP, batch.kv_lens_R, sinks_Q,
            scoring=scoring, num_blocks=num_blocks, interpret=interpret,
        )  # fmt: skip
    o_TQH = _attend_chunks(
        q_TQH, pages_N2KZH, batch, sinks_Q,
        scoring=scoring, num_blocks=num_blocks, interpret=interpret,
    )  # fmt: skip
    first_R = batch.query_starts_R1[:-1]
    is_single_R = batch.query_starts_R1[1:] - first_R == 1
    o_RQH = _attend_rows(
        q_TQH[first_R], pages_N2KZH, batch.page_table_RP,
        jnp.where(is_single_R, batch.kv_lens_R, 0), sinks_Q,
        scoring=scoring, num_blocks=num_blocks, interpret=interpret,
    )  # fmt: skip
    nowhere = q_TQH.shape[0]
    return o_TQH.at[jnp.where(is_single_R, first_R, nowhere)].set(o_RQH, mode="drop")


def _attend_rows(
    q_RQH: jax.Array,
    pages_N2KZH: jax.Array,
    page_table_RP: jax.Array,
    kv_lens_R: jax.Array,
    sinks_Q: jax.Array,
    *,
    scoring: Scoring,
    num_blocks: int,
    interpret: Interpreter,
) -> jax.Array:
    """Rows of one token each, `[R, Q, H]`; zeros where kv_len is 0."""
    num_rows, num_heads, head_dim = q_RQH.shape
    _, _, num_kv_heads, page_size, _ = pages_N2KZH.shape
    group = num_heads // num_kv_heads
    sizes = tuning(head_dim, group, page_size, num_kv_heads)
    missing = -group % GROUP_MULTIPLE
    num_stored = combine.stored_group(group, head_dim)
    row_tokens = page_table_RP.shape[1] * page_size
    splits = work_list.split_rows(
        kv_lens_R,
        tile=sizes.decode_tile,
        window=scoring.window,
        split_tiles=sizes.split_tokens // sizes.decode_tile,
        most_pieces=most_pieces(num_kv_heads),
        max_splits=max_splits(
            num_rows, row_tokens, sizes.split_tokens, num_kv_heads, num_stored, head_dim
        ),
    )
    q_RKGH = q_RQH.reshape(num_rows, num_kv_heads, group, head_dim)
    o_WKGH, max_WKM, sum_WKM = decode.attend_splits(
        jnp.pad(q_RKGH, ((0, 0), (0, 0), (0, missing), (0, 0))),
        pages_N2KZH,
        page_table_RP,
        splits,
        scoring=scoring,
        stored_group=num_stored,
        shape=KernelShape(sizes.decode_tile, sizes.decode_stages, num_blocks),
        interpret=interpret,
    )
    sinks_KG = jnp.pad(
        sinks_Q.reshape(num_kv_heads, group),
        ((0, 0), (0, num_stored - group)),
        constant_values=softmax.LOWEST,
    )
    o_RKGH = combine.combine(
        o_WKGH, max_WKM, sum_WKM, splits.starts_R1, sinks_KG, group=group, interpret=interpret
    )
    return o_RKGH.reshape(q_RQH.shape)


def _attend_chunks(
    q_TQH: jax.Array,
    pages_N2KZH: jax.Array,
    batch: RaggedBatch,
    sinks_Q: jax.Array,
    *,
    scoring: Scoring,
    num_blocks: int,
    interpret: Interpreter,
) -> jax.Array:
    """Tokens of rows of several, and padding tokens; those of other rows are not written."""
    num_tokens, num_heads, head_dim = q_TQH.shape
    _, _, num_kv_heads, page_size, _ = pages_N2KZH.shape
    sizes = tuning(head_dim, num_heads // num_kv_heads, page_size, num_kv_heads)
    missing = max(MATMUL_ROWS - num_tokens, -num_tokens % LOAD_ROWS)
    q_TQH = jnp.pad(q_TQH, ((0, missing), (0, 0), (0, 0)))
    queries = work_list.tile_queries(
        batch.query_starts_R1,
        batch.kv_lens_R,
        num_tokens,
        query_tile=prefill.QUERY_TILE,
        kv_tile=sizes.prefill_tile,
        window=scoring.window,
    )
    o_TQH = prefill.attend_tiles(
        q_TQH,
        pages_N2KZH,
        batch.page_table_RP,
        queries,
        sinks_Q,
        scoring=scoring,
        shape=KernelShape(sizes.prefill_tile, sizes.prefill_stages, num_blocks),
        interpret=interpret,
    )
    return o_TQH[:num_tokens]


def _per_kv_head(x_TQH: jax.Array, scale_K: jax.Array) -> jax.Array:
    """Every query head times the scale of its KV head, in the dtype of `x_TQH`."""
    scale_Q = jnp.repeat(scale_K, x_TQH.shape[1] // scale_K.shape[0])
    return (x_TQH.astype(jnp.float32) * scale_Q[None, :, None]).astype(x_TQH.dtype)


def _sinks_in_log2(sinks_Q: jax.Array | None, num_heads: int) -> jax.Array:
    if sinks_Q is None:
        return jnp.full((num_heads,), softmax.LOWEST, jnp.float32)
    return sinks_Q.astype(jnp.float32) * softmax.LOG2_E
