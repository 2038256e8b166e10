"""Attention of a ragged batch over paged keys and values, picked by platform.

`reference.py` is the specification; `cpu.py` is the path for CPUs. GPUs and TPUs take the
specification itself, which XLA compiles, until their kernels land; `describe` says so.
"""

from __future__ import annotations

import jax

from pallas_kernels.paged_attention import cpu, reference
from pallas_kernels.paged_attention.batch import RaggedBatch
from pallas_kernels.paged_attention.pages import (
    KVPages,
    kv_page_bytes,
    make_kv_pages,
    stored_dtype,
    write_kv,
)

__all__ = [
    "KVPages",
    "RaggedBatch",
    "attend",
    "describe",
    "kv_page_bytes",
    "make_kv_pages",
    "stored_dtype",
    "write_kv",
]


def attend(
    q_TQH: jax.Array,
    kv: KVPages,
    batch: RaggedBatch,
    *,
    scale: float,
    window: int = 0,
    softcap: float | None = None,
    is_decode: bool,
    platform: str = "",
) -> jax.Array:
    """Causal attention of every token over the pages of its row; see `reference.attend`.

    Args:
        is_decode: static promise that T == R and row r owns token r.
        platform: "cpu", "gpu" or "tpu"; "" takes jax's default backend.

    Returns:
        Float32 `o_TQH`; zeros for padding tokens.
    """
    if (platform or jax.default_backend()) == "cpu":
        return cpu.attend(
            q_TQH, kv, batch, scale=scale, window=window, softcap=softcap, is_decode=is_decode
        )
    return reference.attend(q_TQH, kv, batch, scale=scale, window=window, softcap=softcap)


def describe(platform: str) -> str:
    """One sentence for the log at start: which attention runs on `platform`."""
    if platform == "cpu":
        return "Attention: paged CPU path, cost grows with the lengths of sequences only."
    return (
        f"Attention: no kernel for {platform} yet; the plain XLA reference runs, and its memory "
        "grows with tokens x max_model_len."
    )
