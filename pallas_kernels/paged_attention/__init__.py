"""Attention of a ragged batch over paged keys and values, in four kinds (`kinds.py`).

`reference.py` is the specification of all of them; every kind has its own layout of pages, chosen
once when the pages are made, and `write_kv` and `attend` follow the pages they are given.
"""

from __future__ import annotations

import dataclasses

import jax

from pallas_kernels.paged_attention import cpu, pages, reference
from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.eight_bits import is_eight_bit
from pallas_kernels.paged_attention.kinds import (
    AttentionShape,
    Choice,
    GPUPages,
    KVPages,
    TPUPages,
    choose,
    kv_page_bytes,
    make_kv_pages,
    page_axes,
)
from pallas_kernels.paged_attention.pages import KVScales, PlainPages, stored_dtype

__all__ = [
    "AttentionShape",
    "Choice",
    "KVPages",
    "KVScales",
    "PlainPages",
    "RaggedBatch",
    "attend",
    "choose",
    "is_eight_bit",
    "kv_page_bytes",
    "make_kv_pages",
    "page_axes",
    "stored_dtype",
    "write_kv",
]


def write_kv(
    kv: KVPages,
    k_TKH: jax.Array,
    v_TKH: jax.Array,
    batch: RaggedBatch,
    scales: KVScales | None = None,
) -> KVPages:
    """Pages with this step's keys and values in their places; padding goes to page 0 or nowhere.

    Args:
        kv: pages of one layer; donate them, the result aliases them.
        k_TKH: keys after rotation, in the model's dtype.
        v_TKH: values, same dtype.
        batch: where each token goes.
        scales: of 8-bit pages, which hold numbers divided by them; None for 1.
    """
    if isinstance(kv, GPUPages):
        from pallas_kernels.paged_attention import gpu

        return GPUPages(gpu.write_kv(kv.pages_N2KZH, k_TKH, v_TKH, batch, scales), kv.dtype)
    if isinstance(kv, TPUPages):
        from pallas_kernels.paged_attention import tpu

        k_scale_K, v_scale_K = scales or (None, None)
        words_NZWL = tpu.write_kv(
            kv.words_NZWL,
            k_TKH,
            v_TKH,
            batch,
            kv_dtype=kv.dtype,
            k_scale_K=k_scale_K,
            v_scale_K=v_scale_K,
            interpret=kv.is_interpreted,
        )
        return dataclasses.replace(kv, words_NZWL=words_NZWL)
    return pages.write_kv(kv, k_TKH, v_TKH, batch, scales)


def attend(
    q_TQH: jax.Array,
    kv: KVPages,
    batch: RaggedBatch,
    *,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    sinks_Q: jax.Array | None = None,
    scales: KVScales | None = None,
    is_decode: bool,
    platform: str = "",
) -> jax.Array:
    """Causal attention of every token over the pages of its row; see `reference.attend`.

    Args:
        sinks_Q: one more logit of each head, which has a weight and no value.
        scales: those the pages were written with.
        is_decode: static promise that T == R and row r owns token r.
        platform: of plain pages: "cpu", "gpu" or "tpu"; "" takes jax's default backend.

    Returns:
        Float32 `o_TQH`; zeros for padding tokens.
    """
    if isinstance(kv, GPUPages):
        from pallas_kernels.paged_attention import gpu

        o_TQH = gpu.attend(
            q_TQH,
            kv.pages_N2KZH,
            batch,
            scale=scale,
            window=window,
            softcap=softcap,
            sinks_Q=sinks_Q,
            scales=scales,
            is_decode=is_decode,
        )
        return o_TQH.astype("float32")
    if isinstance(kv, TPUPages):
        from pallas_kernels.paged_attention import tpu

        k_scale_K, v_scale_K = scales or (None, None)
        return tpu.attend(
            q_TQH,
            kv.words_NZWL,
            batch,
            num_kv_heads=kv.num_kv_heads,
            scale=scale,
            window=window,
            softcap=softcap,
            sinks_Q=sinks_Q,
            is_decode=is_decode,
            kv_dtype=kv.dtype,
            k_scale_K=k_scale_K,
            v_scale_K=v_scale_K,
            interpret=kv.is_interpreted,
        )
    if (platform or jax.default_backend()) == "cpu":
        return cpu.attend(
            q_TQH,
            kv,
            batch,
            scale=scale,
            window=window,
            softcap=softcap,
            sinks_Q=sinks_Q,
            scales=scales,
            is_decode=is_decode,
        )
    return reference.attend(
        q_TQH,
        kv,
        batch,
        scale=scale,
        window=window,
        softcap=softcap,
        sinks_Q=sinks_Q,
        scales=scales,
    )
