"""Paged attention in plain jnp: the specification every kernel is compared with.

It gathers each token's whole page row, so its memory grows with the width of the page table.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.pages import KVScales, PlainPages, from_stored

MASKED = -1e30
"""Score of a position that must not be seen: finite, so that a row of nothing stays a number."""


def attend(
    q_TQH: jax.Array,
    kv: PlainPages,
    batch: RaggedBatch,
    *,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    sinks_Q: jax.Array | None = None,
    scales: KVScales | None = None,
) -> jax.Array:
    """Causal attention of every token over the pages of its row.

    A token at position p sees positions `(p - window, p]`, or `[0, p]` when `window` is 0.

    Args:
        q_TQH: queries.
        kv: pages of one layer with this step's keys and values already written.
        batch: the step's tokens; padding tokens get zeros.
        scale: multiplies the scores.
        softcap: scores become `softcap * tanh(score / softcap)`.
        sinks_Q: one more logit of each head, which has a weight and no value.
        scales: keys and values are what 8-bit pages hold times these; None for 1.

    Returns:
        Float32 `o_TQH`.
    """
    num_tokens, num_heads, head_dim = q_TQH.shape
    k_scale_K, v_scale_K = scales or (None, None)
    k_TCKH = _gather(kv.k_NZX, kv, batch, head_dim, k_scale_K)
    v_TCKH = _gather(kv.v_NZX, kv, batch, head_dim, v_scale_K)
    num_kv_heads = k_TCKH.shape[2]
    q_TKGH = q_TQH.astype(jnp.float32).reshape(num_tokens, num_kv_heads, -1, head_dim)
    scores_TKGC = jnp.einsum("tkgh,tckh->tkgc", q_TKGH, k_TCKH, precision="highest") * scale
    if softcap is not None:
        scores_TKGC = softcap * jnp.tanh(scores_TKGC / softcap)
    sees_TC = visible(batch.positions_T, jnp.arange(k_TCKH.shape[1]), window)
    scores_TKGC = jnp.where(sees_TC[:, None, None, :], scores_TKGC, MASKED)
    weights_TKGC = _softmax(scores_TKGC, sinks_Q)
    weights_TKGC = jnp.where(sees_TC[:, None, None, :], weights_TKGC, 0.0)
    v_TCKH = jnp.where(sees_TC[:, :, None, None], v_TCKH, 0.0)  # 0 * NaN is NaN
    o_TKGH = jnp.einsum("tkgc,tckh->tkgh", weights_TKGC, v_TCKH, precision="highest")
    return o_TKGH.reshape(num_tokens, num_heads, head_dim)


def visible(query_position_X: jax.Array, key_position_C: jax.Array, window: int) -> jax.Array:
    """Whether the token at each query position sees each key position, bool `[X, C]`."""
    distance_XC = query_position_X[:, None] - key_position_C[None, :]
    sees_XC = distance_XC >= 0
    return sees_XC & (distance_XC < window) if window else sees_XC


def _softmax(scores_TKGC: jax.Array, sinks_Q: jax.Array | None) -> jax.Array:
    if sinks_Q is None:
        return jax.nn.softmax(scores_TKGC, axis=-1)
    sinks_KG1 = sinks_Q.astype(jnp.float32).reshape(*scores_TKGC.shape[1:3], 1)
    sinks_TKG1 = jnp.broadcast_to(sinks_KG1[None], (*scores_TKGC.shape[:3], 1))
    return jax.nn.softmax(jnp.concatenate([scores_TKGC, sinks_TKG1], axis=-1), axis=-1)[..., :-1]


def _gather(
    pages: jax.Array,
    kv: PlainPages,
    batch: RaggedBatch,
    head_dim: int,
    scale_K: jax.Array | None,
) -> jax.Array:
    """Every token's row of pages as float32 `[T, P*Z, K, H]`."""
    page_TP = batch.page_table_RP[batch.row_T]
    values = from_stored(pages[page_TP], kv.dtype).astype(jnp.float32)
    x_TCKH = values.reshape(values.shape[0], page_TP.shape[1] * kv.page_size, -1, head_dim)
    return x_TCKH if scale_K is None else x_TCKH * scale_K[None, None, :, None]
